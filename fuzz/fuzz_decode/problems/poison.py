"""What fills memory that a case does not reference: NaN, an unwritten marker, or finite noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.problem import Buffer, Problem

CHUNK = 64 * 1024
POISON = 0xFF  # all ones is a NaN in every float format, and -1 as an integer
UNWRITTEN = {torch.float32: 0x7FDA5A5A, torch.float16: 0x7E5A, torch.bfloat16: 0x7FDA}  # NaNs that no arithmetic makes
_BITS = {2: torch.int16, 4: torch.int32}
_EMPTY = {torch.empty, torch.empty_like, torch.empty_strided, torch.empty_permuted, Tensor.new_empty, Tensor.new_empty_strided}


def poison_out(problem: Problem) -> None:
    """Mark the whole buffer of `out` as unwritten, between two runs on one problem."""
    _fill_unwritten(problem.buffers["out"].storage)


def is_unwritten(tensor: Tensor) -> Tensor:
    """Where `tensor` still holds the mark of `poison_out`, bit for bit."""
    return tensor.contiguous().view(_BITS[tensor.element_size()]) == UNWRITTEN[tensor.dtype]


@contextlib.contextmanager
def poisoned_allocations(dirt: int = POISON) -> Iterator[None]:
    """While active, memory that torch.empty and its relatives hand out is filled with the byte `dirt`: fresh processes get
    zeros, which hide uninitialised scratch."""
    with _DirtyEmpty(dirt):
        yield


class _DirtyEmpty(TorchFunctionMode):
    def __init__(self, dirt: int) -> None:
        super().__init__()
        self.dirt = dirt

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _EMPTY and result.dtype != torch.bool:
            whole = torch.as_strided(result, (result.untyped_storage().nbytes() // result.element_size(),), (1,), 0)
            whole.view(torch.uint8).fill_(self.dirt)
        return result


def _poison(storage: Tensor) -> None:
    storage.view(torch.uint8).fill_(POISON)


def _fill_unused(storage: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Poison, or with `rng` finite noise: normal numbers, and ids of blocks that exist."""
    if rng is None or storage.numel() == 0:
        _poison(storage)
    elif storage.dtype.is_floating_point:
        storage.copy_(torch.randn(storage.shape, generator=rng))
    else:
        storage.copy_(torch.randint(0, case.num_blocks, storage.shape, generator=rng))


def _fill_unwritten(storage: Tensor) -> None:
    storage.view(_BITS[storage.element_size()]).fill_(UNWRITTEN[storage.dtype])


def _fill_around(buffer: Buffer, cache: Tensor, block: Tensor, slot: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Fill the chunks of a huge buffer that hold live rows, and both guards."""
    itemsize = buffer.storage.element_size()
    strides, start = cache.stride(), int(cache.storage_offset())
    rows = block * strides[0] + slot * strides[1] + start
    heads, dims = torch.arange(cache.shape[2]) * strides[2], torch.arange(cache.shape[3]) * strides[3]
    places = (rows[:, None, None] + heads[:, None] + dims).flatten() * itemsize // CHUNK
    for chunk in torch.unique(places).tolist():
        _fill_unused(buffer.storage[chunk * CHUNK // itemsize : (chunk + 1) * CHUNK // itemsize], case, rng)
    _fill_unused(buffer.storage[: buffer.guard], case, rng)
    _fill_unused(buffer.storage[-buffer.guard :], case, rng)
