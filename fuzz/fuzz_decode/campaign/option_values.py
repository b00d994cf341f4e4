"""What values the options of a campaign can take. The command line parses text into them, Python passes them as they are."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fuzz_decode.cases.call_sequence import MAX_CALLS
from fuzz_decode.cases.domain import DTYPES, FINITE_PLACES
from fuzz_decode.errors import UsageError
from fuzz_decode.text import one_line

DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("auto", "native", "interpreter")
DEFAULT_ITERS = 300
DEFAULT_SECONDS = 60.0  # for a case, and for minimizing a finding
LARGEST = 10**18 - 1


class Unset(Enum):
    """An argument that is not given, where None is a value."""

    UNSET = "not given"

    def __repr__(self) -> str:
        return self.name


UNSET = Unset.UNSET


def number_of_cases(iters: int | Unset | None, time: float | None, default: int) -> int | None:
    """`iters` if it is given, else the default, or no limit where there is one of time."""
    if isinstance(iters, Unset):
        return default if time is None else None
    return iters


@dataclass(frozen=True, slots=True)
class ValueRule:
    """The values that an option can take."""

    words: str
    """completes the sentence "it must be ..." """
    allows: Callable[[Any], bool]
    convert: Callable[[Any], Any]
    """makes the built-in type of an allowed value, which may be a NumPy number or a list"""

    def checked(self, name: str, value: object) -> Any:
        """The value of the option `name`. Raises UsageError if it is not allowed."""
        if not self.allows(value):
            raise UsageError(f"{name} must be {self.words}, not {one_line(repr(value), 80)}")
        return self.convert(value)


def whole_number(low: int, high: int | None = None) -> ValueRule:
    """Whole numbers from `low` to `high`. True is none, although Python counts it among the integers."""

    def allows(value: Any) -> bool:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        return whole and low <= int(value) <= (LARGEST if high is None else high)

    limits = f"{low} or more" if high is None else f"{low} to {high}"
    return ValueRule(f"a whole number, {limits}", allows, int)


def _is_duration(value: Any) -> bool:
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return number and 0 < value < math.inf  # NaN is not above 0


def _are_dtypes(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and bool(value) and all(name in DTYPES for name in value)


def _are_places(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(place in FINITE_PLACES for place in value)


POSITIVE = whole_number(1)
NATURAL = whole_number(0)
SEQUENCE = whole_number(2, MAX_CALLS)
SECONDS = ValueRule("a number of seconds above 0", _is_duration, float)
DEVICE = ValueRule(f"one of {', '.join(DEVICES)}", lambda value: value in DEVICES, str)
ENGINE = ValueRule(f"one of {', '.join(ENGINES)}", lambda value: value in ENGINES, str)
DTYPE_NAMES = ValueRule(f"names among {', '.join(DTYPES)}, in a tuple", _are_dtypes, tuple)
PLACES = ValueRule(f"names among {', '.join(FINITE_PLACES)}, in a tuple", _are_places, tuple)
