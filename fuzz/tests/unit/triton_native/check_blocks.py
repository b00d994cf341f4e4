"""Operations on whole blocks and control flow against torch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import triton
import triton.language as tl
from native_kernels import evaluate, evaluate_shaped, function_of, launch
from torch import Tensor

from fuzz_decode.triton_native.execute import LaunchReport, Unsupported

SHAPES = [(16,), (4, 8), (8, 4), (2, 4, 8), (1, 16), (16, 1)]


def values(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_reductions(shape: tuple[int, ...]) -> None:
    a = values(*shape)
    for axis in range(len(shape)):
        count = a.numel() // shape[axis]
        for name, wanted in {
            "sum": a.sum(axis),
            "max": a.amax(axis),
            "min": a.amin(axis),
            "argmax": first_place(a, axis),
            "argmin": first_place(-a, axis),
        }.items():
            dtype = torch.int32 if name.startswith("arg") else torch.float32
            found = evaluate_shaped(f"tl.{name}(a, {axis})", dtype, count, a)
            assert torch.equal(found, wanted.reshape(-1).to(dtype)), (name, axis)


def first_place(a: Tensor, axis: int) -> Tensor:
    """torch's argmax may name any place of ties; Triton names the first."""
    places = torch.arange(a.shape[axis]).reshape([-1 if k == axis else 1 for k in range(a.dim())]).expand_as(a)
    return torch.where(a == a.amax(axis, keepdim=True), places, a.shape[axis]).amin(axis)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_reductions_of_integers(dtype: torch.dtype) -> None:
    a = values(32, dtype=dtype)

    assert evaluate_shaped("tl.max(a)", dtype, 1, a).item() == a.max().item()
    assert evaluate_shaped("tl.xor_sum(a)", dtype, 1, a).item() == torch.tensor(reduce_xor(a)).to(dtype).item()
    assert evaluate_shaped("tl.sum(a)", torch.int64, 1, a).item() == a.sum().item()


def reduce_xor(a: Tensor) -> int:
    total = 0
    for value in a.tolist():
        total ^= value
    return total


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_in_narrow_floats_round_at_each_step(dtype: torch.dtype) -> None:
    a = torch.randn(64, generator=torch.Generator().manual_seed(1)).to(dtype)
    terms = a
    while len(terms) > 1:
        half = len(terms) // 2
        terms = (terms[:half].float() + terms[half:].float()).to(dtype)

    assert torch.equal(evaluate_shaped("tl.sum(a)", dtype, 1, a), terms)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reverse", [False, True])
def test_scans(shape: tuple[int, ...], reverse: bool) -> None:
    a = values(*shape)
    for axis in range(len(shape)):
        turned = a.flip(axis) if reverse else a
        wanted = turned.cumsum(axis).flip(axis) if reverse else turned.cumsum(axis)
        found = evaluate(f"tl.cumsum(a, {axis}, reverse={reverse})", torch.float32, a)
        assert torch.equal(found, wanted.reshape(-1))


SCAN = """
@triton.jit
def step(x, m, y, n):
    return x * n + y, m * n

@triton.jit
def kernel(p_a, p_b, out, N: tl.constexpr, REVERSE: tl.constexpr):
    at = tl.arange(0, N)
    h, _ = tl.associative_scan((tl.load(p_a + at), tl.load(p_b + at)), 0, step, reverse=REVERSE)
    tl.store(out + at, h)
"""


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_of_two_values_that_does_not_commute(reverse: bool) -> None:
    a, b, out = values(16), values(16, seed=1) % 3 - 1, torch.zeros(16)

    launch(function_of(SCAN), p_a=a, p_b=b, out=out, N=16, REVERSE=reverse)

    x, m = (a.flip(0), b.flip(0)) if reverse else (a, b)
    h, wanted = 0.0, []
    for value, factor in zip(x.tolist(), m.tolist(), strict=True):
        h = h * factor + value
        wanted.append(h)
    assert out.tolist() == (wanted[::-1] if reverse else wanted)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_transposition(order: tuple[int, int, int]) -> None:
    a = values(2, 4, 8)

    assert torch.equal(evaluate(f"tl.permute(a, {order})", torch.float32, a), a.permute(order).reshape(-1))


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.float32, torch.int64])
def test_moves_of_any_size(dtype: torch.dtype) -> None:
    a, b = values(8, 4, dtype=dtype), values(8, 4, dtype=dtype, seed=1)

    assert torch.equal(evaluate("a.T", dtype, a), a.T.reshape(-1))
    assert torch.equal(evaluate_shaped("tl.join(a, b)", dtype, 64, a, b), torch.stack([a, b], -1).reshape(-1))
    assert torch.equal(evaluate_shaped("tl.interleave(a, b)", dtype, 64, a, b), torch.stack([a, b], -1).reshape(-1))
    assert torch.equal(
        evaluate_shaped("tl.cat(a.reshape([32]), b.reshape([32]), can_reorder=True)", dtype, 64, a, b),
        torch.cat([a, b]).reshape(-1),
    )
    halves = "x, y = tl.split(a.reshape([16, 2]))"
    assert torch.equal(evaluate_shaped("x", dtype, 16, a, before=halves), a.reshape(16, 2)[:, 0])
    assert torch.equal(evaluate_shaped("y", dtype, 16, a, before=halves), a.reshape(16, 2)[:, 1])


def test_broadcasts_along_every_axis() -> None:
    a, b, c = values(4), values(8, seed=1), values(2, seed=2)

    found = evaluate_shaped("c[:, None, None] + a[None, :, None] * b[None, None, :]", torch.float32, 64, a, b, c)

    assert torch.equal(found, (c[:, None, None] + a[None, :, None] * b).reshape(-1))
    assert torch.equal(evaluate_shaped("a[:, None] - b[None, :]", torch.float32, 32, a, b), (a[:, None] - b).reshape(-1))
    assert torch.equal(
        evaluate_shaped("tl.where((a > 0)[:, None], b[None, :], 5.0)", torch.float32, 32, a, b),
        torch.where((a > 0)[:, None], b, torch.tensor(5.0)).reshape(-1),
    )
    assert torch.equal(evaluate_shaped("(a[:, None] + b[None, :]).T", torch.float32, 32, a, b), (a + b[:, None]).reshape(-1))
    assert torch.equal(evaluate_shaped("tl.sum(a[:, None] + b[None, :], 1)", torch.float32, 4, a, b), (a[:, None] + b).sum(1))


def test_sorting() -> None:
    a = torch.randn(64, generator=torch.Generator().manual_seed(0))

    assert torch.equal(evaluate("tl.sort(a)", torch.float32, a), a.sort().values)
    assert torch.equal(evaluate("tl.sort(a, descending=True)", torch.float32, a), a.sort(descending=True).values)
    assert torch.equal(evaluate("tl.flip(a, 0)", torch.float32, a), a.flip(0))


@pytest.mark.skipif(not hasattr(tl, "gather"), reason="this release of Triton has no gather")
def test_gather_and_histogram() -> None:
    a, index = values(8, 4), torch.randint(0, 8, (8, 4), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    whole = torch.randint(0, 8, (32,), generator=torch.Generator().manual_seed(0), dtype=torch.int32)

    assert torch.equal(evaluate("tl.gather(a, b, 0)", torch.float32, a, index), a.gather(0, index.long()).reshape(-1))
    assert torch.equal(evaluate("tl.gather(a, b % 4, 1)", torch.float32, a, index), a.gather(1, index.long() % 4).reshape(-1))
    assert evaluate_shaped("tl.histogram(a, 8)", torch.int32, 8, whole).tolist() == torch.bincount(whole, minlength=8).tolist()


DOT_TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8]


@pytest.mark.parametrize("dtype", DOT_TYPES)
@pytest.mark.parametrize(("rows", "inner", "columns"), [(16, 32, 16), (32, 64, 32), (16, 128, 64)])
def test_dot(dtype: torch.dtype, rows: int, inner: int, columns: int) -> None:
    if dtype == torch.float64 and triton.__version__ < "3.5":
        pytest.skip("this release of Triton has no dot of float64")
    a, b = values(rows, inner, dtype=dtype), values(inner, columns, dtype=dtype, seed=1)
    wanted = a.double() @ b.double()
    result = {torch.int8: torch.int32, torch.float64: torch.float64}.get(dtype, torch.float32)

    found = evaluate_shaped(
        "tl.dot(a, b, input_precision='ieee')" if dtype == torch.float32 else "tl.dot(a, b)", result, rows * columns, a, b
    )

    assert torch.equal(found.double(), wanted.reshape(-1))


def test_dot_with_an_accumulator_in_float16_and_in_batches() -> None:
    a, b, c = (values(2, 16, 16, dtype=torch.float16, seed=seed) for seed in range(3))

    found = evaluate("tl.dot(a, b, c.to(tl.float32))", torch.float32, a, b, c)
    narrow = evaluate("tl.dot(a, b, out_dtype=tl.float16)", torch.float16, a, b)

    assert torch.equal(found.double(), (a.double() @ b.double() + c.double()).reshape(-1))
    assert torch.equal(narrow, (a.double() @ b.double()).half().reshape(-1))


@pytest.mark.parametrize("precision", ["tf32", "tf32x3", "ieee"])
def test_precisions_of_dot(precision: str) -> None:
    a, b = values(16, 16), values(16, 16, seed=1)

    assert torch.equal(evaluate(f"tl.dot(a, b, input_precision='{precision}')", torch.float32, a, b), (a @ b).reshape(-1))


CONTROL = """
@triton.jit(noinline=True)
def collatz(n):
    if n % 2 == 0:
        return n // 2
    return 3 * n + 1

@triton.jit
def kernel(numbers, steps, largest, limit):
    i = tl.program_id(0) + tl.program_id(1) * tl.num_programs(0)
    n = tl.load(numbers + i)
    if n < 1:
        tl.store(steps + i, -1)
        return
    count, top = 0, n
    while n != 1 and count < limit:
        n = collatz(n)
        if n > top:
            top = n
        else:
            top = top + 0
        count += 1
    tl.store(steps + i, count)
    tl.store(largest + i, top)
"""


@pytest.mark.parametrize("order", ["forward", "backward", 7])
def test_control_flow(order: str | int) -> None:
    numbers = torch.tensor([1, 2, 3, 6, 7, 9, 27, -3, 0, 19, 40, 97], dtype=torch.int32)
    steps, largest = torch.zeros_like(numbers), torch.zeros_like(numbers)

    launch(function_of(CONTROL), (4, 3), {"order": order}, numbers=numbers, steps=steps, largest=largest, limit=60)

    for number, count, top in zip(numbers.tolist(), steps.tolist(), largest.tolist(), strict=True):
        assert (count, top) == (collatz(number, 60) if number >= 1 else (-1, 0))


def collatz(n: int, limit: int) -> tuple[int, int]:
    count, top = 0, n
    while n != 1 and count < limit:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        count, top = count + 1, max(top, n)
    return count, top


CARRIED = """
@triton.jit
def kernel(out, n, N: tl.constexpr):
    at = tl.arange(0, N)
    a, b, c = at, at * 10, tl.zeros([N], tl.int32)
    for i in range(0, n):
        a, b = b, a
        for j in range(i, 0, -1):
            c += a + j
            if j % 2 == 0:
                a, c = c, a
    tl.store(out + at, a)
    tl.store(out + N + at, b)
    tl.store(out + 2 * N + at, c)
"""


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_values_that_loops_exchange(n: int) -> None:
    out = torch.zeros(48, dtype=torch.int32)

    launch(function_of(CARRIED), out=out, n=n, N=16)

    at = torch.arange(16, dtype=torch.int32)
    a, b, c = at, at * 10, torch.zeros(16, dtype=torch.int32)
    for i in range(n):
        a, b = b, a
        for j in range(i, 0, -1):
            c = c + a + j
            if j % 2 == 0:
                a, c = c, a
    assert torch.equal(out, torch.cat([a, b, c]))


DESCRIPTOR = """
@triton.jit
def kernel(x, y, n, m, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    source = tl.make_tensor_descriptor(x, (n, m), (m, 1), (ROWS, COLUMNS))
    target = tl.make_tensor_descriptor(y, (n, m), (m, 1), (ROWS, COLUMNS))
    for row in range(0, n, ROWS):
        for column in range(0, m, COLUMNS):
            target.store((row, column), source.load((row, column)) * 2)
"""


@pytest.mark.skipif(not hasattr(tl, "make_tensor_descriptor"), reason="this release of Triton has no descriptors")
def test_tensor_descriptors() -> None:
    x = torch.arange(20 * 24.0).reshape(20, 24)
    y = torch.zeros_like(x)

    report = launch(function_of(DESCRIPTOR), x=x, y=y, n=20, m=24, ROWS=16, COLUMNS=16)

    assert torch.equal(y, 2 * x)
    assert report == LaunchReport()


ATOMICS = """
@triton.jit
def kernel(counts, floats, halves, lock, old, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.atomic_add(counts + at % 4, at)
    tl.atomic_max(counts + 4, tl.program_id(0))
    tl.atomic_min(counts + 5 + at * 0, at - 3)
    tl.atomic_or(counts + 6, 1 << tl.program_id(0))
    tl.atomic_add(floats + at % 2, at.to(tl.float32), mask=at < 8)
    tl.atomic_add(halves, 0.5)
    before = tl.atomic_cas(lock, tl.program_id(0), tl.program_id(0) + 1)
    tl.store(old + tl.program_id(0), before)
    tl.atomic_xchg(lock + 1, tl.program_id(0))
"""


def test_atomic_operations() -> None:
    counts, lock, old = (torch.zeros(8, dtype=torch.int32) for _ in range(3))
    floats, halves = torch.zeros(2), torch.zeros(1, dtype=torch.float16)

    launch(function_of(ATOMICS), (4,), counts=counts, floats=floats, halves=halves, lock=lock, old=old, N=16)

    assert counts.tolist() == [96, 112, 128, 144, 3, -3, 15, 0]
    assert (floats.tolist(), halves.tolist()) == ([4 * 12.0, 4 * 16.0], [2.0])
    assert (lock[:2].tolist(), old[:4].tolist()) == ([4, 3], [0, 1, 2, 3])


TABLE = """
@triton.jit
def kernel(table, out, N: tl.constexpr):
    at = tl.arange(0, N)
    rows = tl.load(table + at // 8).to(tl.pointer_type(tl.float32))
    tl.store(out + at, tl.load(rows + at % 8))
"""


def test_pointers_from_memory() -> None:
    rows, out = [torch.arange(8.0) + 10 * number for number in range(2)], torch.zeros(16)
    table = torch.tensor([row.data_ptr() for row in rows])

    known = launch(function_of(TABLE), options={"others": rows}, table=table, out=out, N=16)
    unknown = launch(function_of(TABLE), table=table, out=torch.zeros(16), N=16)

    assert torch.equal(out, torch.cat(rows))
    assert known.outside is None
    assert unknown.outside_elements == 16


UNSUPPORTED = """
@triton.jit
def kernel(out, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(out + at, tl.inline_asm_elementwise("mov.b32 $0, $1;", "=r,r", [at], dtype=tl.int32, is_pure=True, pack=1))
"""


def test_what_is_unsupported_is_named_with_its_line() -> None:
    with pytest.raises(Unsupported, match=r"tt.elementwise_inline_asm \(.*kernels_\d+.py, line 9\)"):
        launch(function_of(UNSUPPORTED), out=torch.zeros(16, dtype=torch.int32), N=16)


def test_softmax_of_rows() -> None:
    a = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    before = "e = tl.exp(a - tl.max(a, 1)[:, None])"

    found = evaluate("e / tl.sum(e, 1)[:, None]", torch.float32, a, before=before)

    assert math.isclose((found - a.softmax(1).reshape(-1)).abs().max().item(), 0, abs_tol=1e-6)


TWO_RETURNS = """
@triton.jit
def kernel(x, y, SECOND: tl.constexpr):
    i = tl.program_id(0)
    n = tl.load(x + i)
    if n < 0:
        return
    if SECOND:
        if n * 3 > 7:
            return
    for _ in range(n):
        tl.atomic_add(y + i, 1)
"""


@pytest.mark.parametrize("second", [False, True])
def test_returns_share_a_block_that_is_not_the_last(second: bool) -> None:
    x, y = torch.tensor([-1, 2, 5, 0, 1]), torch.zeros(5, dtype=torch.int32)

    launch(function_of(TWO_RETURNS), (5,), x=x, y=y, SECOND=second)

    assert y.tolist() == [0, 2, 0 if second else 5, 0, 1]
