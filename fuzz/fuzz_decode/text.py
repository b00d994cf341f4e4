"""Text for people: untrusted text (from files, targets, paths) made safe to show, a plain form for terminals that have few
characters, numbers with nouns, names that are close."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Iterable

MAX_LINE = 4000  # characters
PLAIN = "fuzz-decode.plain"  # error handler of an encoding: what it lacks gets a plain form of the same width
_FORMS = {"±": "~", "█": "#", "▒": "%", "░": ".", "✓": "v", "◄": "<", "✗": "x", "⋮": ":", "·": ".", "─": "-", "│": "|"}
CLOSE = 0.7  # of 1: how alike two names are, so that one is suggested for the other


def printable(text: str) -> str:
    """The text with a question mark for each character that could control a terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def one_line(text: object, limit: int = MAX_LINE) -> str:
    """`printable` text without line breaks, shortened to `limit` characters."""
    line = printable(str(text).strip()).replace("\n", " ")
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def plain(text: str, encoding: str | None) -> str:
    """The text as a terminal of that encoding can show it."""
    name = encoding or "ascii"
    return text.encode(name, PLAIN).decode(name)


def _plain_form(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_FORMS.get(char, "?") for char in lacking), error.end


codecs.register_error(PLAIN, _plain_form)


def counted(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`; did you mean replay?`, to end a sentence about a wrong word; empty if no name is close to it."""
    known = list(names)
    begun = [name for name in known if len(word) > 1 and name.startswith(word)]
    close = difflib.get_close_matches(word, known, 1, CLOSE) or begun[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
