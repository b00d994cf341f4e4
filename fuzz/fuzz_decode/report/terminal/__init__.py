"""Reports for the terminal, drawn with Rich."""
