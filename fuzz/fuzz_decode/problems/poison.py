"""What fills memory that a case does not reference: NaN, integers, an unwritten marker, finite garbage or finite noise."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.garbage import fill_with_garbage, has_garbage_background
from fuzz_decode.problems.problem import Buffer, Problem

POISON = 0xFF  # a byte: all ones are a NaN in every float format, and -1 as an integer
GARBAGE = 0x47  # a byte: 51015 in float32 and bfloat16, 7.3 in float16, and a large integer
# NaNs that no arithmetic produces, so that an element that a kernel computed as NaN differs from one that it never wrote: a GPU
# makes 0x7FFFFFFF, x86 0xFFC00000, and an operand that is passed on is poison, all ones
UNWRITTEN = {torch.float32: 0x7FDA5A5A, torch.float16: 0x7E5A, torch.bfloat16: 0x7FDA}
FILL_LIMIT = 2**24  # bytes; a larger CPU buffer is filled around its live rows only
FILLED_CHUNK = 64 * 1024  # bytes of such a buffer that are filled together: 16 pages of 4 KiB
_INTEGER_OF_SIZE = {2: torch.int16, 4: torch.int32}
Fill = Callable[[Tensor], object]  # fills a part of a buffer, flat


def poison_out(problem: Problem) -> None:
    """Mark the whole buffer of `out` as unwritten, between two runs on one problem."""
    fill_unwritten(problem.buffers["out"].storage)


def is_unwritten(tensor: Tensor) -> Tensor:
    """Where `tensor` still holds the marker of `poison_out`, bit for bit."""
    return tensor.contiguous().view(_INTEGER_OF_SIZE[tensor.element_size()]) == UNWRITTEN[tensor.dtype]


def is_filled_whole(buffer: Buffer) -> bool:
    """Whether a buffer is filled from end to end. Larger ones on the CPU span gigabytes of which a case touches a few pages: the
    operating system commits memory page by page, when it is first touched, so that what is not filled takes no memory."""
    return buffer.storage.device.type != "cpu" or buffer.storage.nbytes <= FILL_LIMIT


def allocation_fill(case: Case) -> int:
    """The byte that fills what a target allocates."""
    return GARBAGE if "allocations" in case.finite else POISON


def integer_beyond(case: Case, name: str) -> int:
    """The integer around the block table, or beyond the lengths: a number that a kernel could take for one of theirs, or not."""
    valid = case.num_blocks - 1 if name == "block_table" else max(1, *case.seq_lens)
    return {"minus one": -1, "zero": 0, "valid": valid}[case.beyond]


def background(case: Case, name: str, buffer: Buffer, largest: float) -> Fill:
    """What fills a buffer before anything else: integers, NaN, or garbage up to `largest`."""
    if not buffer.storage.dtype.is_floating_point:
        return functools.partial(torch.fill_, value=integer_beyond(case, name))
    finite = has_garbage_background(case, filled_whole=is_filled_whole(buffer))
    return functools.partial(fill_with_garbage, largest=largest) if finite else fill_with_poison


def noise(case: Case, rng: torch.Generator) -> Fill:
    """Finite noise: normal numbers, and ids of blocks that exist."""

    def fill(storage: Tensor) -> None:
        if storage.dtype.is_floating_point:
            storage.copy_(torch.randn(storage.shape, generator=rng))
        else:
            storage.copy_(torch.randint(0, case.num_blocks, storage.shape, generator=rng))

    return fill


def fill_with_poison(storage: Tensor) -> None:
    storage.view(torch.uint8).fill_(POISON)


def fill_unwritten(storage: Tensor) -> None:
    storage.view(_INTEGER_OF_SIZE[storage.element_size()]).fill_(UNWRITTEN[storage.dtype])


def fill_around_rows(buffer: Buffer, cache: Tensor, block: Tensor, slot: Tensor, fill: Fill) -> None:
    """Fill the chunks of a huge buffer that hold live rows (`cache[block, slot]`), and both guards."""
    itemsize = buffer.storage.element_size()
    strides, start = cache.stride(), int(cache.storage_offset())
    rows = block * strides[0] + slot * strides[1] + start
    heads, dims = torch.arange(cache.shape[2]) * strides[2], torch.arange(cache.shape[3]) * strides[3]
    chunks = (rows[:, None, None] + heads[:, None] + dims).flatten() * itemsize // FILLED_CHUNK
    for chunk in torch.unique(chunks).tolist():
        fill(buffer.storage[chunk * FILLED_CHUNK // itemsize : (chunk + 1) * FILLED_CHUNK // itemsize])
    fill(buffer.storage[: buffer.guard])
    fill(buffer.storage[-buffer.guard :])
