"""A fence around what a launch was given, so that a kernel that reads wildly can be examined without dying of it.

While `fenced()` is active, Triton's interpreter reads 0 at every address outside the storages of the running launch's tensors
and drops what is stored there. Storages count whole: guards around a tensor lie inside. Only diagnosis puts a fence up; in a
campaign a wild read must crash, as it does on a GPU. An address that the kernel itself loaded from memory is wild, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Wild:
    """An access outside every storage: the kernel's name of the tensor whose storage is nearest, and how many elements after
    its last one (negative: before its first one) it was."""

    tensor: str
    elements: int
    stored: bool

    @property
    def words(self) -> str:
        """`reads memory far from what it was given, 7 elements before k_cache's storage`."""
        side = "before" if self.elements < 0 else "after"
        verb = "writes" if self.stored else "reads"
        return f"{verb} memory far from what it was given, {abs(self.elements)} elements {side} {self.tensor}'s storage"


@dataclass(slots=True)
class Fence:
    """The storages of the running launch, by address, and the first access outside of them and how many elements there were."""

    names: list[str] = field(default_factory=list)
    starts: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    ends: Any = field(default_factory=lambda: np.zeros(0, np.int64))
    wild: Wild | None = None
    wild_elements: int = 0

    def enclose(self, tensors: Iterable[tuple[str, Any]]) -> None:
        """A launch begins, with these tensors by their names in the kernel."""
        storages = {t.untyped_storage().data_ptr(): (name, t.untyped_storage().nbytes()) for name, t in tensors}
        ordered = sorted(storages.items())
        self.names = [name for _, (name, _) in ordered]
        self.starts = np.array([start for start, _ in ordered], np.int64)
        self.ends = np.array([start + size for start, (_, size) in ordered], np.int64)

    def inside(self, addresses: Any, size: int, mask: Any, stored: bool) -> Any:
        """Which of the addresses of elements of so many bytes lie within a storage; the others that the mask wants are wild."""
        if not len(self.starts):
            return np.zeros(np.shape(addresses), bool)
        at = np.asarray(addresses).view(np.int64)  # beyond 2**63 is before everything
        below = np.searchsorted(self.starts, at, side="right") - 1
        inside = (below >= 0) & (at <= self.ends[below] - size)
        outside = mask & ~inside
        if outside.any():
            self.wild_elements += int(outside.sum())
            self.wild = self.wild or self._nearest(int(np.broadcast_to(at, outside.shape)[outside][0]), size, stored)
        return inside

    def _nearest(self, address: int, size: int, stored: bool) -> Wild:
        gaps = [
            start - address if address < start else address - end + size
            for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]
        nearest = min(range(len(gaps)), key=gaps.__getitem__)
        elements = -(-gaps[nearest] // size)
        return Wild(self.names[nearest], -elements if address < int(self.starts[nearest]) else elements, stored)


_standing: list[Fence] = []


def standing() -> bool:
    """Whether a fence is up: memory outside all storages then reads as 0."""
    return bool(_standing)


@contextlib.contextmanager
def fenced() -> Iterator[Fence]:
    """Put a fence up in Triton's interpreter, and take it down again. Needs the interpreter that TRITON_INTERPRET switches on."""
    from triton.runtime import interpreter

    fence, builder, executor = Fence(), interpreter.InterpreterBuilder, interpreter.GridExecutor
    originals = [(owner, name, getattr(owner, name)) for owner, name in ((executor, "_init_args_hst"), *_accesses(builder))]
    executor._init_args_hst = _announcing(fence, executor._init_args_hst)
    builder.create_masked_load = _loading(fence, builder.create_masked_load)
    builder.create_masked_store = _storing(fence, builder.create_masked_store)
    builder.create_atomic_rmw = _updating(fence, builder.create_atomic_rmw)
    _standing.append(fence)
    try:
        yield fence
    finally:
        _standing.remove(fence)
        for owner, name, original in originals:
            setattr(owner, name, original)


def _accesses(builder: Any) -> list[tuple[Any, str]]:
    return [(builder, name) for name in ("create_masked_load", "create_masked_store", "create_atomic_rmw")]


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


def _loading(fence: Fence, original: Any) -> Any:
    def load(self: Any, pointers: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), mask.data, stored=False)
        if inside.all():
            return original(self, pointers, mask, *rest, **options)
        found = original(self, pointers, type(mask)(mask.data & inside, mask.dtype), *rest, **options)
        found.data = np.where(mask.data & ~inside, np.zeros_like(found.data), found.data)
        return found

    return load


def _storing(fence: Fence, original: Any) -> Any:
    def store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), mask.data, stored=True)
        return original(self, pointers, value, type(mask)(mask.data & inside, mask.dtype), *rest, **options)

    return store


def _updating(fence: Fence, original: Any) -> Any:
    def update(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **options: Any) -> Any:
        inside = fence.inside(pointers.data, _size(pointers), mask.data, stored=True)
        return original(self, operation, pointers, value, type(mask)(mask.data & inside, mask.dtype), *rest, **options)

    return update


def _size(pointers: Any) -> int:
    """Bytes of an element."""
    return max(1, int(pointers.get_element_ty().primitive_bitwidth) // 8)
