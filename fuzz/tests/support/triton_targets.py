"""Targets whose Triton kernels do what only the native engine sees, after an honest computation in torch."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from sample_targets import honest
from torch import Tensor


@triton.jit
def store_from_two_programs(out, right):  # type: ignore[no-untyped-def]  # device code
    value = tl.load(right)
    tl.store(out, tl.where(tl.program_id(0) == 1, value, value * 2 + 1))


@triton.jit
def copy(source, wanted, first: tl.int64):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, 4)
    tl.store(wanted + at, tl.load(source + first + at))


@triton.jit
def copy_some(source, wanted, count):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, 4)
    tl.store(wanted + at, tl.load(source + at, mask=at < count))


@triton.jit
def power(x, y):  # type: ignore[no-untyped-def]  # device code
    for _ in range(3):
        x = x * y
    return x


@triton.jit
def combine(x, wanted):  # type: ignore[no-untyped-def]  # device code
    tl.store(wanted, tl.reduce(tl.load(x + tl.arange(0, 2)), 0, power))


@triton.jit
def follow(addresses, wanted):  # type: ignore[no-untyped-def]  # device code
    at = tl.load(addresses).to(tl.pointer_type(tl.float32)) + tl.arange(0, 4)
    tl.store(wanted + tl.arange(0, 4), tl.load(at))


@triton.jit
def three_or_nothing(x, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    tl.static_assert(COUNT == 3, "COUNT must be three")
    return tl.load(x)


@triton.jit
def call(x, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, three_or_nothing(x, COUNT))


@triton.jit
def finish(finished, wanted, COUNT: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    if tl.atomic_add(finished, 1) == COUNT - 1:
        tl.store(wanted, tl.load(wanted))


def misbehaves(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    """With one sequence, four elements behind the allocation of K are read, and not used. With two, two programs store different
    values to one element, and the one that comes last is right. With three, the last of four elements is stored from a lane
    without a value. With four, nothing is wrong: a kernel loads the address of another tensor. With five, a
    kernel does not compile. With six, programs are counted from whatever memory held."""
    out, _ = honest(q, k_cache, *rest)
    match len(q):
        case 1:
            behind = k_cache.untyped_storage().nbytes() // k_cache.element_size() - k_cache.storage_offset()
            copy[(1,)](k_cache, torch.empty(4, dtype=k_cache.dtype), behind)
        case 2:
            store_from_two_programs[(2,)](out, out.flatten()[:1].clone())
        case 3:
            copy_some[(1,)](out.clone(), out, 3)
        case 4:
            elsewhere = torch.ones(4)
            follow[(1,)](torch.tensor([elsewhere.data_ptr()]), torch.empty(4))
        case 5:
            call[(1,)](torch.zeros(1), COUNT=4)
        case 6:
            finish[(2,)](torch.empty(1, dtype=torch.int32), out, COUNT=2)
    return out


def combines_with_a_loop(q: Tensor, *rest: Any) -> Tensor:
    """Right; the native engine has no loops in functions that combine elements."""
    combine[(1,)](torch.ones(2), torch.empty(1))
    return honest(q, *rest)[0]
