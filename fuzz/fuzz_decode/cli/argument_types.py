"""Types of command-line arguments: each turns text into a value, or raises the sentence that argparse shows."""

from __future__ import annotations

import argparse
import re

from fuzz_decode.campaign.option_values import DTYPE_NAMES, NATURAL, PLACES, POSITIVE, SECONDS, SEQUENCE, ValueRule
from fuzz_decode.cases.domain import DTYPES, FINITE_PLACES

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    return _whole_number(text, POSITIVE)


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    return _whole_number(text, NATURAL)


def sequence(text: str) -> int:
    """The number of calls in a row."""
    return _whole_number(text, SEQUENCE)


def dtypes(text: str) -> tuple[str, ...]:
    """Names of dtypes, with commas between."""
    named = tuple(text.split(","))
    if not DTYPE_NAMES.allows(named):
        raise argparse.ArgumentTypeError(f"must be names among {', '.join(DTYPES)}, with commas between, not {text!r}")
    return named


def places(text: str) -> tuple[str, ...]:
    """Names of places in memory, with commas between."""
    named = tuple(text.split(","))
    if not PLACES.allows(named):
        raise argparse.ArgumentTypeError(f"must be names among {', '.join(FINITE_PLACES)}, with commas between, not {text!r}")
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
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not SECONDS.allows(seconds):
        raise argparse.ArgumentTypeError(f"must be a time such as 90, 90s, 10m or 8h, not {text!r}")
    return seconds


def _whole_number(text: str, rule: ValueRule) -> int:
    number = int(text) if re.fullmatch(r"\d{1,18}", text) else None
    if not rule.allows(number):
        raise argparse.ArgumentTypeError(f"must be {rule.words}, not {text!r}")
    return int(text)
