"""The command line: a file for each subcommand. `add_to(commands)` declares its arguments, the rest turns them into calls.

Importing it is cheap: a subcommand imports what it needs when it is called.
"""

from fuzz_decode.cli.dispatch import main
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, INTERRUPTED, USAGE

__all__ = ["CLEAN", "FINDINGS", "INTERRUPTED", "USAGE", "main"]
