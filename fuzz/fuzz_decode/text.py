"""Untrusted text (from files, targets, paths), made safe to show."""

from __future__ import annotations

MAX_LINE = 4000  # characters


def printable(text: str) -> str:
    """The text with a question mark for each character that could control a terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: object, limit: int = MAX_LINE) -> str:
    """`printable` text without line breaks, shortened to `limit` characters."""
    line = printable(str(text).strip()).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
