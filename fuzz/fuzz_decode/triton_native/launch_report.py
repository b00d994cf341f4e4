"""What is noticed while a grid of programs runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fuzz_decode.launches.record import OutOfBoundsAccess, UndefinedUse


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """What was noticed while a grid ran."""

    outside: OutOfBoundsAccess | None = None
    outside_elements: int = 0
    """How many elements were accessed outside, in all programs."""
    undefined: tuple[UndefinedUse, ...] = ()
    """The first of each kind with each tensor."""
    undefined_elements: int = 0
    failed_assertion: str | None = None
    """The message of the first `tl.device_assert` that did not hold."""
    reads: Any = None
    """Sorted int64 array of the distinct addresses that were read inside of the storages, if `keep_reads` was set."""
