"""A fence around the tensors of a launch, so that a kernel that reads out of bounds can be examined without crashing.

While `memory_fence()` is active, Triton's interpreter reads 0 wherever a pointer has left the storage of the tensor that it was
made from, and drops what is stored there. A storage counts as a whole: guards around a tensor lie inside. Another tensor that
happens to lie next to it does not: the number of a tensor stands in the upper bits of its pointers, which pointer arithmetic
keeps. A pointer without a number, which the kernel loaded from memory, may point into any tensor of the launch.

Only diagnosis puts a fence up; in a campaign an out-of-bounds read must crash, as it does on a GPU. The fence also sees every
read, and keeps them if `keep_reads` is set.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fuzz_decode.launches.record import LaunchRecord, OutOfBoundsAccess


@dataclass(slots=True)
class Fence:
    """The storages of the running launch, and what was accessed outside of them.

    `names`, `starts` and `ends` list each storage twice, for pointers without its number and with it: all plain ones by address,
    then all numbered ones, so that one binary search finds the storage of either kind."""

    numbers: dict[int, int] = field(default_factory=dict)
    """Address of a storage -> its number, from 1 on."""
    names: list[str] = field(default_factory=list)
    """The kernel's name of the tensor in each storage."""
    starts: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 array: the first address of each storage, with its number in the upper bits."""
    ends: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 array: the address behind each storage, likewise."""
    record: LaunchRecord = field(default_factory=LaunchRecord)
    """What was accessed outside, in all launches, and what was read."""

    def enclose(self, tensors: Iterable[tuple[str, Any]]) -> None:
        """A launch begins, with these tensors by their names in the kernel."""
        storages = {t.untyped_storage().data_ptr(): (name, t.untyped_storage().nbytes()) for name, t in tensors}
        self.numbers = {start: number for number, start in enumerate(sorted(storages), 1)}
        self.names = [storages[start][0] for start in self.numbers] * 2
        lifts = [0] * len(storages) + [number << ADDRESS_BITS for number in self.numbers.values()]
        self.starts = np.array([*self.numbers] * 2, np.int64) + np.array(lifts, np.int64)
        self.ends = self.starts + np.array([storages[start][1] for start in self.numbers] * 2, np.int64)

    def number(self, tensor: Any) -> int:
        """What stands in the upper bits of the tensor's pointers; 0 if it is none of the launch's."""
        return self.numbers.get(tensor.untyped_storage().data_ptr(), 0) if hasattr(tensor, "untyped_storage") else 0

    def inside(self, pointers: Any, size: int, mask: Any, stored: bool) -> Any:
        """Which of these pointers to elements of `size` bytes lie within their storage. Others under the mask are noted."""
        at = np.asarray(pointers).view(np.int64)
        if not len(self.starts):
            return np.zeros(at.shape, bool)
        below = np.searchsorted(self.starts, at, side="right") - 1
        inside = (below >= 0) & (at <= self.ends[below] - size)
        outside = mask & ~inside
        record = self.record
        if record.reads is not None and not stored:
            read = mask & inside
            record.reads.append(np.unique(np.broadcast_to(at, read.shape)[read] & (2**ADDRESS_BITS - 1)))
        if outside.any():
            record.out_of_bounds_elements += int(outside.sum())
            first = int(np.broadcast_to(at, outside.shape)[outside][0])
            record.out_of_bounds = record.out_of_bounds or self._nearest(first, size, stored)
        return inside

    def _nearest(self, pointer: int, size: int, stored: bool) -> OutOfBoundsAccess:
        ranges = [(start, end - size) for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]
        gaps = [pointer - start if pointer < start else max(0, pointer - last) for start, last in ranges]
        nearest = min(range(len(gaps)), key=lambda index: abs(gaps[index]))
        elements = -(-abs(gaps[nearest]) // size)
        return OutOfBoundsAccess(self.names[nearest], -elements if gaps[nearest] < 0 else elements, stored)


ADDRESS_BITS = 48  # of a process's memory; pointers have 64


@contextlib.contextmanager
def memory_fence(*, keep_reads: bool = False) -> Iterator[LaunchRecord]:
    """Put a fence up in Triton's interpreter, and take it down again.

    The interpreter's own methods are replaced meanwhile, since a kernel reaches them through Triton's classes and no argument of
    ours could get there. That is all the state there is: what needs to know of the fence is given it.
    """
    from triton.runtime import interpreter

    fence = Fence(record=LaunchRecord(reads=[] if keep_reads else None))
    builder = interpreter.InterpreterBuilder
    changes = (
        (interpreter.GridExecutor, "_init_args_hst", _announcing),
        (interpreter, "_implicit_cvt", _numbering),
        (builder, "create_masked_load", _loading),
        (builder, "create_masked_store", _storing),
        (builder, "create_atomic_rmw", _updating),
        (builder, "create_atomic_cas", _exchanging),
    )
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for (owner, name, change), (_, _, original) in zip(changes, originals, strict=True):
        setattr(owner, name, change(fence, original))
    try:
        yield fence.record
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _announcing(fence: Fence, original: Any) -> Any:
    """Where the interpreter takes over a launch's arguments."""

    def announced(self: Any, args: Any, kwargs: Any) -> Any:
        positional, named = original(self, args, kwargs)
        fence.enclose(_tensors([*zip(self.arg_names, positional, strict=False), *named.items()]))
        return positional, named

    return announced


def _tensors(arguments: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The tensors among arguments, in tuples, descriptors and wrappers, too."""
    for name, value in arguments:
        if isinstance(value, tuple):
            yield from _tensors((name, part) for part in value)
        elif hasattr(value, "untyped_storage"):
            yield name, value
        elif hasattr(value, "base"):  # a descriptor, or a tensor under another dtype
            yield from _tensors([(name, value.base)])


def _numbering(fence: Fence, original: Any) -> Any:
    """Where the interpreter makes a pointer of a tensor; it converts the parts of tuples and descriptors by itself."""

    def numbered(argument: Any) -> Any:
        converted = original(argument)
        if hasattr(argument, "data_ptr"):
            lift = max((fence.number(tensor) for _, tensor in _tensors([("", argument)])), default=0) << ADDRESS_BITS
            converted.handle.data = converted.handle.data + np.uint64(lift)
        return converted

    return numbered


def _loading(fence: Fence, original: Any) -> Any:
    def load(self: Any, pointers: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), _bits(mask), stored=False)
        found = original(self, _plain(pointers), _both(mask, inside), *rest, **options)
        found.data = np.where(_bits(mask) & ~inside, np.zeros_like(found.data), found.data)
        return found

    return load


def _storing(fence: Fence, original: Any) -> Any:
    def store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), _bits(mask), stored=True)
        return original(self, _plain(pointers), value, _both(mask, inside), *rest, **options)

    return store


def _updating(fence: Fence, original: Any) -> Any:
    def update(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), _bits(mask), stored=True)
        return original(self, operation, _plain(pointers), value, _both(mask, inside), *rest)

    return update


def _exchanging(fence: Fence, original: Any) -> Any:
    """Has no mask: with one pointer out of bounds, nothing is exchanged."""

    def exchange(self: Any, pointers: Any, wanted: Any, value: Any, *rest: Any) -> Any:
        if fence.inside(pointers.data, _size(pointers), True, stored=True).all():
            return original(self, _plain(pointers), wanted, value, *rest)
        return type(wanted)(np.zeros_like(wanted.data), wanted.dtype.scalar)

    return exchange


def _both(mask: Any, inside: Any) -> Any:
    """The mask with what lies inside. Up to Triton 3.6 the mask of a descriptor is a plain array."""
    return mask & inside if isinstance(mask, np.ndarray) else type(mask)(mask.data & inside, mask.dtype)


def _bits(mask: Any) -> Any:
    return mask if isinstance(mask, np.ndarray) else mask.data


def _plain(pointers: Any) -> Any:
    """Without the numbers."""
    return type(pointers)(pointers.data & np.uint64(2**ADDRESS_BITS - 1), pointers.dtype)


def _size(pointers: Any) -> int:
    """Bytes of an element."""
    return max(1, int(pointers.get_element_ty().primitive_bitwidth) // 8)
