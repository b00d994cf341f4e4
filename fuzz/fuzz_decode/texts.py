"""Text that nobody vouches for (from files, targets, paths), made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a question mark for whatever could steer a terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: object, limit: int = 300) -> str:
    """The same without line breaks, cut off where it is longer than `limit` characters."""
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
