"""Programs that wait for others, and programs that are interleaved."""

from __future__ import annotations

import pytest
import torch
from native_kernels import function_of, launch

from fuzz_decode.triton_native.execute import LaunchReport

ORDERS = ["forward", "backward", 1, 3, 5]

NEIGHBOURS = """
@triton.jit
def kernel(flags, x, out, n, N: tl.constexpr):
    i, at = tl.program_id(0), tl.arange(0, N)
    j = (i + 1) % n
    value = tl.load(x + at, mask=at <= i)
    tl.atomic_xchg(flags + i, 1)
    while tl.atomic_cas(flags + j, 1, 1) != 1:
        pass
    tl.store(out + i, tl.sum(tl.where(at <= i, value, 0)))
"""


@pytest.mark.parametrize("order", ORDERS)
def test_programs_that_wait_for_each_other(order: str | int) -> None:
    n = 40
    flags, x, out = torch.zeros(n, dtype=torch.int32), torch.ones(64, dtype=torch.int32), torch.zeros(n, dtype=torch.int32)

    report = launch(function_of(NEIGHBOURS), (n,), {"order": order}, flags=flags, x=x, out=out, n=n, N=64)

    assert out.tolist() == list(range(1, n + 1))
    assert report == LaunchReport()


LOCKED = """
@triton.jit
def kernel(lock, total, turns, N: tl.constexpr):
    at = tl.arange(0, N)
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    for _ in range(turns):
        tl.store(total + at, tl.load(total + at) + at)
    tl.atomic_xchg(lock, 0)
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("turns", [3, 15_000])
def test_a_spin_lock(order: str | int, turns: int) -> None:
    lock, total = torch.zeros(1, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)

    launch(function_of(LOCKED), (24,), {"order": order}, lock=lock, total=total, turns=turns, N=16)

    assert torch.equal(total, torch.arange(16, dtype=torch.int32) * 24 * turns)


LAST_ONE_ADDS = """
@triton.jit
def kernel(x, parts, arrived, out, n, N: tl.constexpr):
    i, at = tl.program_id(0), tl.arange(0, N)
    tl.store(parts + i * N + at, tl.load(x + i * N + at) * 2)
    if tl.atomic_add(arrived, 1) == n - 1:
        total = tl.zeros([N], tl.int32)
        for j in range(n):
            total += tl.load(parts + j * N + at)
        tl.store(out + at, total)
"""


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_program_adds_what_all_have_stored(order: str | int) -> None:
    x, parts, out = torch.arange(30 * 16, dtype=torch.int32), torch.full((480,), -1, dtype=torch.int32), torch.zeros(16).int()
    arrived = torch.zeros(1, dtype=torch.int32)

    launch(function_of(LAST_ONE_ADDS), (30,), {"order": order}, x=x, parts=parts, arrived=arrived, out=out, n=30, N=16)

    assert torch.equal(out, 2 * x.reshape(30, 16).sum(0).int())


LOST_UPDATE = """
@triton.jit
def kernel(total):
    tl.store(total, tl.load(total) + 1)
"""


@pytest.mark.parametrize(("order", "is_lost"), [("forward", False), ("backward", False), (1, True), (3, True)])
def test_an_update_that_is_not_atomic_is_lost_where_programs_are_interleaved(order: str | int, is_lost: bool) -> None:
    total = torch.zeros(1, dtype=torch.int32)

    launch(function_of(LOST_UPDATE), (20,), {"order": order}, total=total)

    assert (total.item() < 20) is is_lost
