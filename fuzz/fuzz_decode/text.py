"""Text for people: untrusted text (from files, targets, paths) made safe to show, numbers with nouns, names that are close."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_LINE = 4000  # characters
CLOSE = 0.7  # of 1: how alike two names are, so that one is suggested for the other


def printable(text: str) -> str:
    """The text with a question mark for each character that could control a terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: object, limit: int = MAX_LINE) -> str:
    """`printable` text without line breaks, shortened to `limit` characters."""
    line = printable(str(text).strip()).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def counted(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`; did you mean replay?`, to end a sentence about a wrong word; empty if no name is close to it."""
    known = list(names)
    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    close = difflib.get_close_matches(word, known, 1, CLOSE) or begun[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
