"""Text that nobody vouches for (from files, targets, paths), made fit to be shown."""

from __future__ import annotations

LONGEST = 4000  # characters of a line


def printable(text: str) -> str:
    """The text with a question mark for whatever could steer a terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: object, limit: int = LONGEST) -> str:
    """The same without line breaks, cut off where it is longer than `limit` characters."""
    line = printable(str(text).strip()).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
