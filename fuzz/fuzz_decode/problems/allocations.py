"""Memory that a target allocates: it comes dirty, and launches learn what of it is not written yet.

In doubt memory is written: whatever torch does with a tensor, except to look at its shape or to make a view, counts as a write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fuzz_decode.launches.unwritten import Allocations, follow_allocations
from fuzz_decode.problems.poison import POISON

TRUE = 0x01  # a byte of a bool; any but 0 and 1 is undefined behaviour there
_ALLOCATORS = {
    torch.empty,
    torch.empty_like,
    torch.empty_strided,
    torch.empty_permuted,
    Tensor.new_empty,
    Tensor.new_empty_strided,
}
_PROPERTIES = (
    *("shape", "dtype", "device", "layout", "ndim", "itemsize", "nbytes", "is_cuda", "is_cpu", "is_meta", "requires_grad"),
    *("T", "mT", "H", "mH"),
)
_METHODS = (
    *("size", "stride", "dim", "ndimension", "numel", "nelement", "element_size", "storage_offset", "is_contiguous", "__len__"),
    *("get_device", "is_floating_point", "new_zeros", "zeros_like", "new_ones", "ones_like", "new_full", "full_like", "detach"),
    *("view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "permute", "t"),
    *("transpose", "swapaxes", "swapdims", "movedim", "narrow", "select", "split", "chunk", "unbind", "unfold", "diagonal"),
    *("as_strided", "contiguous", "__getitem__", "__iter__"),
)


@contextlib.contextmanager
def poisoned_allocations(fill: int = POISON) -> Iterator[None]:
    """While active, memory from torch.empty and its relatives is filled with the byte `fill`. A fresh process gets zeros from the
    operating system, which hide uninitialised scratch."""
    with follow_allocations() as allocations, _PoisonedAllocations(fill, allocations):
        yield


class _PoisonedAllocations(TorchFunctionMode):
    def __init__(self, fill: int, allocations: Allocations) -> None:
        super().__init__()
        self.fill, self.allocations = fill, allocations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _ALLOCATORS:
            self._fill(result, is_new=not kwargs or kwargs.get("out") is None)
        elif self.allocations and func not in _READERS:
            for tensor in _tensors((args, kwargs)):
                self.allocations.pop(_address(tensor), None)
        return result

    def _fill(self, tensor: Tensor, *, is_new: bool) -> None:
        fill = TRUE if tensor.dtype == torch.bool else self.fill
        storage = tensor.untyped_storage()
        whole = torch.as_strided(tensor, (storage.nbytes() // tensor.element_size(),), (1,), 0)
        whole.view(torch.uint8).fill_(fill)
        if is_new and tensor.device.type == "cpu":
            self.allocations.add(tensor, storage.data_ptr(), storage.nbytes(), fill)


def _readers() -> Iterator[Any]:
    """Functions of torch that write none of their arguments, as torch passes them to a TorchFunctionMode."""
    for name in _PROPERTIES:
        yield getattr(Tensor, name).__get__
    for name in _METHODS:
        yield from (getattr(place, name) for place in (Tensor, torch) if hasattr(place, name))


_READERS = frozenset(_readers())


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in the arguments of a function, which may be in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _address(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # of sparse tensors, and those that stand for others
        return 0
