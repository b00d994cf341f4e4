"""Memory that the target of the running call allocated, and that nothing is known to have written but kernels.

Kernels mark what they store. Where anything else may have written, the allocation is taken out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MOST_BYTES = 2**24  # of the allocations of a call: they are kept until it ends, so that no other one gets their addresses


@dataclass(slots=True, eq=False)
class Allocation:
    tensor: Tensor
    bytes: int
    fill: int
    """What each byte was filled with."""
    version: int | None
    """Of the tensor when it was filled; None: torch counts none."""
    marks: Any = None
    """An array with a mark for each byte, once a kernel gets the allocation."""


class Allocations(dict[int, Allocation]):
    """Those of a call by their addresses."""

    def add(self, tensor: Tensor, address: int, size: int, fill: int) -> None:
        if 0 < size <= MOST_BYTES - sum(each.bytes for each in self.values()):
            self[address] = Allocation(tensor, size, fill, _version(tensor))

    def unwritten_at(self, address: int) -> Allocation | None:
        """The allocation of which some may not be written; None: all is, since torch changed it in a way that nobody followed."""
        found = self.get(address)
        if found is not None and _version(found.tensor) != found.version:
            del self[address]
            return None
        return found


_followed: list[Allocations] = []  # of calls, the innermost last


@contextlib.contextmanager
def follow_allocations() -> Iterator[Allocations]:
    """Launches know what is added meanwhile."""
    _followed.append(Allocations())
    try:
        yield _followed[-1]
    finally:
        _followed.pop()


def allocations() -> Allocations:
    """Those of the running call."""
    return _followed[-1] if _followed else Allocations()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version
