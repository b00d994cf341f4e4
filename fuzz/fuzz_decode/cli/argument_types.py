"""Types of command-line arguments: from a text to its value, or to the sentence that says what it must be."""

from __future__ import annotations

import argparse
import re

from fuzz_decode.cases.call_sequence import MAX_CALLS
from fuzz_decode.cases.domain import DTYPES


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    return _whole(text, 0)


def sequence(text: str) -> int:
    """The number of calls in a row."""
    return _whole(text, 2, MAX_CALLS)


def dtypes(text: str) -> tuple[str, ...]:
    """Names of dtypes, with commas between."""
    named = tuple(text.split(","))
    if not set(named) <= set(DTYPES):
        raise argparse.ArgumentTypeError(f"must be names among {', '.join(DTYPES)}, with commas between, not {text!r}")
    return named


def names(text: str) -> tuple[str, ...]:
    """Names, with commas between."""
    named = tuple(text.split(","))
    if not all(named):
        raise argparse.ArgumentTypeError(f"must be names with commas between, not {text!r}")
    return named


def duration(text: str) -> float:
    """Seconds, from 90, 90s, 10m or 8h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 90, 90s, 10m or 8h, not {text!r}")
    return seconds


def _whole(text: str, low: int, high: int | None = None) -> int:
    if not re.fullmatch(r"\d{1,18}", text) or int(text) < low or (high is not None and int(text) > high):
        limits = f"{low} or more" if high is None else f"{low} to {high}"
        raise argparse.ArgumentTypeError(f"must be a whole number, {limits}, not {text!r}")
    return int(text)
