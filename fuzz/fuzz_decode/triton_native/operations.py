"""The operations of a kernel in Triton IR, and what they are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fuzz_decode.triton_native.locations import Line
from fuzz_decode.triton_native.unsupported import Unsupported

POINTER = "pointer"


@dataclass(frozen=True, slots=True)
class Type:
    """A scalar (no shape) or a block."""

    dtype: str
    """i1, i8, ..., f32, f8E4M3FN, ..., or POINTER."""
    shape: tuple[int, ...] | None = None
    pointee: str = ""

    @property
    def count(self) -> int:
        count = 1
        for length in self.shape or ():
            count *= length
        return count


@dataclass(slots=True)
class Operation:
    name: str
    results: list[str]
    types: list[Type]
    """Of the results."""
    operands: list[str]
    text: str
    """What is printed between the name and the types."""
    line: Line
    regions: list[Region] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    """Of a loop: the names that are bound in it."""
    targets: list[tuple[str, list[str]]] = field(default_factory=list)
    """Of a branch: labels with the arguments of their blocks."""
    sources: list[Type] = field(default_factory=list)
    """Types of the operands, where they are printed before an arrow."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first operand."""
        return self.sources[0].shape or ()

    def integer(self, key: str, default: int | None = None) -> int:
        """An attribute of the form `axis = 1 : i32`."""
        found = re.search(rf"\b{key} = (-?\d+)", self.text)
        if found is None and default is None:
            raise Unsupported(f"{self.name} without {key}", self.line)
        return int(found[1]) if found else default or 0


@dataclass(slots=True)
class Block:
    label: str
    arguments: list[str]
    types: list[Type]
    operations: list[Operation] = field(default_factory=list)


Region = list[Block]


@dataclass(slots=True)
class Function:
    name: str
    parameters: list[str]
    types: list[Type]
    blocks: Region
    public: bool
