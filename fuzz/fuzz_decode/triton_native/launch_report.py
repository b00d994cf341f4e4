"""What is noticed while a grid of programs runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class OutsideAccess:
    """The first access of a launch outside of the storage of its tensor. A load gives 0 there, a store is dropped."""

    tensor: str
    """The kernel's name of the tensor argument that the pointer was made from, or whose storage is nearest."""
    elements: int
    """How many elements after the last one of the storage it was; negative: before the first one."""
    bytes: int
    """The same in bytes from the storage's end; negative: from its start."""
    stored: bool
    """Whether it was a store or an atomic operation, not a load."""
    program: tuple[int, int, int]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class UndefinedUse:
    """The first use in a launch of a value that depends on a masked lane of a load without `other`."""

    use: str
    """"store", "address", "mask" or "branch"."""
    tensor: str
    """The kernel's name of the tensor that was stored to or addressed; empty for a branch."""
    program: tuple[int, int, int]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """What was noticed while a grid ran."""

    outside: OutsideAccess | None = None
    outside_elements: int = 0
    """How many elements were accessed outside, in all programs."""
    undefined: UndefinedUse | None = None
    undefined_elements: int = 0
    failed_assertion: str | None = None
    """The message of the first `tl.device_assert` that did not hold."""
    reads: Any = None
    """Sorted int64 array of the distinct addresses that were read inside of the storages, if `keep_reads` was set."""
