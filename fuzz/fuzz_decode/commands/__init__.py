"""The subcommands, a file each: `add_to(commands)` declares its arguments, the rest turns them into calls. Light until called."""
