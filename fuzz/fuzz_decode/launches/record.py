"""What an engine notices while it runs the programs of launches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.text import counted


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a kernel, and the program that ran it."""

    file: str
    line: int
    program: tuple[int, int, int]

    @property
    def words(self) -> str:
        """`line 42 of decode.py, program (3, 0, 0)`."""
        return f"line {self.line} of {Path(self.file).name}, program {self.program}"


@dataclass(frozen=True, slots=True)
class OutOfBoundsAccess:
    """An access outside of the storage of its tensor. A load gives 0 there, a store is dropped."""

    tensor: str
    """The kernel's name of the tensor that the pointer was made from, or whose storage is nearest."""
    elements: int
    """How many elements after the last one of the storage it was; negative: before the first one."""
    stored: bool
    """Whether it was a store or an atomic operation, not a load."""
    bytes: int = 0
    """The same in bytes from the storage's end; negative: from its start."""
    place: Place | None = None
    """None: not known."""

    @property
    def words(self) -> str:
        """`reads out of bounds, 7 elements before k_cache's storage`."""
        verb = "writes" if self.stored else "reads"
        return f"{verb} out of bounds, {counted(abs(self.elements), 'element')} {self.side} {self.tensor}'s storage"

    @property
    def side(self) -> str:
        return "before" if self.elements < 0 else "after"


@dataclass(frozen=True, slots=True)
class UnwrittenRead:
    """A load from memory that the target allocated, and that holds no value."""

    tensor: str
    """The kernel's name of the tensor, its dtype and its shape: `counter, int32 [4]`."""
    place: Place
    stored: bool = False
    """Whether an undefined value was stored there. If not, nothing was."""

    @property
    def name(self) -> str:
        return self.tensor.partition(",")[0]


@dataclass(frozen=True, slots=True)
class UndefinedUse:
    """A use of a value that may be anything: it depends on a masked lane of a load without `other`, or on unwritten memory."""

    use: str
    """What was done with it: "store", "address", "mask" or "branch"."""
    tensor: str
    """The kernel's name of the tensor that was stored to or addressed; empty for a branch."""
    place: Place
    storage: int = 0
    """The address of the storage of that tensor; 0: none."""
    unwritten: UnwrittenRead | None = None
    """The load that the value comes from, unless that is one with a masked lane."""


@dataclass(slots=True)
class LaunchRecord:
    """What was noticed in the launches of some calls: the first of its kind, and how many elements there were."""

    out_of_bounds: OutOfBoundsAccess | None = None
    out_of_bounds_elements: int = 0
    undefined: list[UndefinedUse] = field(default_factory=list)
    """The first of each kind with each tensor."""
    undefined_elements: int = 0
    reads: list[Any] | None = None
    """Arrays of addresses that were read inside of the storages; None: they are not kept."""
    unsupported: str = ""
    """Why the engine could not run a kernel, in a sentence; empty: it ran all of them."""

    def add_undefined(self, use: UndefinedUse) -> None:
        if all((use.use, use.tensor, use.storage) != (known.use, known.tensor, known.storage) for known in self.undefined):
            self.undefined.append(use)
