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

POISON = 0xFF  # a byte: all ones are a NaN in every float format, and -1 as an integer
# NaNs that no arithmetic produces, so that an element that a kernel computed as NaN differs from one that it never wrote: a GPU
# makes 0x7FFFFFFF, x86 0xFFC00000, and an operand that is passed on is poison, all ones
UNWRITTEN = {torch.float32: 0x7FDA5A5A, torch.float16: 0x7E5A, torch.bfloat16: 0x7FDA}
FILL_LIMIT = 2**24  # bytes; a larger CPU buffer is filled around its live rows only
FILLED_CHUNK = 64 * 1024  # bytes of such a buffer that are filled together: 16 pages of 4 KiB
_INTEGER_OF_SIZE = {2: torch.int16, 4: torch.int32}
_ALLOCATORS = {
    torch.empty,
    torch.empty_like,
    torch.empty_strided,
    torch.empty_permuted,
    Tensor.new_empty,
    Tensor.new_empty_strided,
}


def poison_out(problem: Problem) -> None:
    """Mark the whole buffer of `out` as unwritten, between two runs on one problem."""
    fill_unwritten(problem.buffers["out"].storage)


def is_unwritten(tensor: Tensor) -> Tensor:
    """Where `tensor` still holds the marker of `poison_out`, bit for bit."""
    return tensor.contiguous().view(_INTEGER_OF_SIZE[tensor.element_size()]) == UNWRITTEN[tensor.dtype]


@contextlib.contextmanager
def poisoned_allocations(fill: int = POISON) -> Iterator[None]:
    """While active, memory from torch.empty and its relatives is filled with the byte `fill`. A fresh process gets zeros from the
    operating system, which hide uninitialised scratch."""
    with _PoisonedAllocations(fill):
        yield


class _PoisonedAllocations(TorchFunctionMode):
    def __init__(self, fill: int) -> None:
        super().__init__()
        self.fill = fill

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _ALLOCATORS and result.dtype != torch.bool:  # any byte but 0 and 1 is undefined behaviour in a bool
            whole = torch.as_strided(result, (result.untyped_storage().nbytes() // result.element_size(),), (1,), 0)
            whole.view(torch.uint8).fill_(self.fill)
        return result


def is_filled_whole(buffer: Buffer) -> bool:
    """Whether a buffer is filled from end to end. Larger ones on the CPU span gigabytes of which a case touches a few pages: the
    operating system commits memory page by page, when it is first touched, so that what is not filled takes no memory."""
    return buffer.storage.device.type != "cpu" or buffer.storage.nbytes <= FILL_LIMIT


def fill_unused(storage: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Poison, or with `rng` finite noise: normal numbers, and ids of blocks that exist."""
    if rng is None or storage.numel() == 0:
        storage.view(torch.uint8).fill_(POISON)
    elif storage.dtype.is_floating_point:
        storage.copy_(torch.randn(storage.shape, generator=rng))
    else:
        storage.copy_(torch.randint(0, case.num_blocks, storage.shape, generator=rng))


def fill_unwritten(storage: Tensor) -> None:
    storage.view(_INTEGER_OF_SIZE[storage.element_size()]).fill_(UNWRITTEN[storage.dtype])


def fill_around_rows(buffer: Buffer, cache: Tensor, block: Tensor, slot: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Fill the chunks of a huge buffer that hold live rows (`cache[block, slot]`), and both guards."""
    itemsize = buffer.storage.element_size()
    strides, start = cache.stride(), int(cache.storage_offset())
    rows = block * strides[0] + slot * strides[1] + start
    heads, dims = torch.arange(cache.shape[2]) * strides[2], torch.arange(cache.shape[3]) * strides[3]
    chunks = (rows[:, None, None] + heads[:, None] + dims).flatten() * itemsize // FILLED_CHUNK
    for chunk in torch.unique(chunks).tolist():
        fill_unused(buffer.storage[chunk * FILLED_CHUNK // itemsize : (chunk + 1) * FILLED_CHUNK // itemsize], case, rng)
    fill_unused(buffer.storage[: buffer.guard], case, rng)
    fill_unused(buffer.storage[-buffer.guard :], case, rng)
