"""Finite garbage: numbers in memory that weighs nothing, for a target that multiplies it by 0 and so needs finite ones there.

They are large, of both signs and differ, so that a result that one of them weighs anything in is spoiled. They overflow neither a
dtype nor the sums of a kernel that rounds to the dtype of q, as long as what is multiplied by 0 stays 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.values import Values, live_tokens

PERIOD = 4093  # numbers until they repeat: a prime, so that neighbouring rows differ
LARGE = 1024.0  # live values are at most 128
HEADROOM = 0.5  # of the largest number of a dtype


def garbage(count: int, largest: float) -> Tensor:
    """[count] float32: numbers of both signs whose magnitudes lie between half of `largest` and `largest`."""
    number = torch.arange(PERIOD)
    sign = 1 - 2 * (number * 1117 % PERIOD % 2)
    pattern = sign * (PERIOD + number * 2531 % PERIOD) / (2 * PERIOD) * largest
    return pattern.repeat(count // PERIOD + 1)[:count]


def garbage_like(tensor: Tensor, largest: float) -> Tensor:
    """Garbage of the shape, dtype and device of a tensor."""
    return garbage(tensor.numel(), largest).view(tensor.shape).to(tensor)


def fill_with_garbage(storage: Tensor, largest: float) -> None:
    """Fill a flat tensor, of any size, as `garbage` does."""
    pattern = garbage(PERIOD, largest).to(storage)
    periods = storage.numel() // PERIOD
    storage[: periods * PERIOD].view(periods, PERIOD).copy_(pattern)
    storage[periods * PERIOD :].copy_(pattern[: storage.numel() - periods * PERIOD])


def largest_garbage(case: Case, values: Values) -> dict[str, float]:
    """The largest number for K's and V's memory: q.k of every row, and K and V times their scales, stay finite in q's dtype."""
    dtype, cache_dtype = (
        torch.finfo(getattr(torch, name)).max * HEADROOM for name in (case.dtype, case.cache_dtype or case.dtype)
    )
    k_scale, v_scale = case.k_scale or 1.0, case.v_scale or 1.0
    sums = float(values.q.abs().double().sum(dim=-1).max()) * max(1.0, k_scale, case.softmax_scale * k_scale)
    k = min(LARGE, cache_dtype, dtype / k_scale, dtype / max(1.0, sums))
    v = min(LARGE, cache_dtype, dtype / v_scale)
    if case.v is None:  # in K's buffer
        return {"k": min(k, v), "v": min(k, v)}
    return {"k": k, "v": v}


@dataclass(frozen=True, slots=True)
class CacheGarbage:
    """What of a cache is garbage, in the order in which it is written. All else is NaN, until live rows are written over it."""

    largest: float
    background: bool
    """Whether the memory that is filled first, around the cache and in it, is garbage."""
    pool: bool | None
    """Whether every block is garbage then, each the same; None: as the background."""
    used: Tensor
    """[n] ids of the blocks that are NaN then."""
    block: Tensor
    """[m] block of each slot that is garbage then."""
    slot: Tensor
    """[m]"""


def has_garbage_background(case: Case, *, filled_whole: bool) -> bool:
    """Whether a buffer is filled with garbage first. One that is filled in parts has other blocks' slots and gaps between rows in
    them: both are garbage if one is to be."""
    return "padding" in case.finite or ("unreferenced" in case.finite and not filled_whole)


def cache_garbage(case: Case, largest: float, *, filled_whole: bool) -> CacheGarbage:
    """That of K or V."""
    pool, background = "unreferenced" in case.finite, has_garbage_background(case, filled_whole=filled_whole)
    blocks = torch.tensor(case.blocks(), dtype=torch.long)
    page, slot = unused_slots(case, case.finite)
    used = blocks if (pool if filled_whole else background) else blocks[:0]
    return CacheGarbage(largest, background, pool if filled_whole and pool != background else None, used, blocks[page], slot)


def unused_slots(case: Case, places: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Page and slot of every token slot of a page in use that is the tail of some sequence, or before its window, and that no
    sequence sees: as far as these are among the places."""
    size, tokens = case.block_size, live_tokens(case)
    slots = []
    for row, length in zip(case.pages(), case.seq_lens, strict=True):
        keys = (torch.tensor(row, dtype=torch.long)[:, None] * size + torch.arange(size)).flatten()
        slots += [keys[length:]] if "tail" in places else []
        slots += [keys[:length]] if "before_window" in places and case.window is not None else []
    keys = torch.unique(torch.cat([torch.empty(0, dtype=torch.long), *slots]))
    keys = keys[~torch.isin(keys, tokens.page * size + tokens.slot)]
    return keys // size, keys % size
