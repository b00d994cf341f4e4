"""Functions of scalars that are applied to blocks, functions of libdevice, and scaled products, against torch."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import triton.language as tl
from native_kernels import evaluate, evaluate_shaped, function_of, launch
from torch import Tensor

from fuzz_decode.triton_native.execute import LaunchReport, Unsupported

BRANCHES = """
@triton.jit
def larger_in_size(x, y):
    if x * x > y * y:
        if x > 5.0:
            result = x
        else:
            result = x + 0.0
    else:
        result = y
    return result

@triton.jit
def kernel(x, out, n, N: tl.constexpr, SCAN: tl.constexpr):
    at = tl.arange(0, N)
    value = tl.load(x + at, mask=at < n)
    if SCAN:
        tl.store(out + at, tl.associative_scan(value, 0, larger_in_size), mask=at < n)
    else:
        tl.store(out, tl.reduce(tl.where(at < n, value, 0.0), 0, larger_in_size))
"""


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("n", [1, 11, 16])
def test_combinations_with_branches(scan: bool, n: int) -> None:
    x, out = torch.randn(16, generator=torch.Generator().manual_seed(0)) * 4, torch.zeros(16)

    report = launch(function_of(BRANCHES), x=x, out=out, n=n, N=16, SCAN=scan)

    best, wanted = 0.0, []
    for value in x[:n].tolist():
        best = max(best, value, key=abs)
        wanted.append(best)
    assert out[:n].tolist() == (wanted if scan else [wanted[-1], *[0.0] * (n - 1)])
    assert report == LaunchReport()


def test_a_combination_that_reaches_an_undefined_lane_is_reported() -> None:
    source = BRANCHES.replace("tl.where(at < n, value, 0.0)", "value")

    report = launch(function_of(source), x=torch.ones(16), out=torch.zeros(16), n=11, N=16, SCAN=False)

    assert [use.use for use in report.undefined] == ["store"]


MAPPED = """
@triton.jit
def of_two(a, b, c, d):
    if a > c:
        if a > 2 * c:
            return a // c, d
        a = a + 1
    elif c > 4:
        b = b * 2
    return a - c, b

@triton.jit
def of_one(a, c):
    if a > c:
        return a * c
    return c

@triton.jit
def kernel(x, y, one, pairs, N: tl.constexpr):
    at = tl.arange(0, N)
    a, c = tl.load(x + at), tl.load(y + at)
    tl.store(one + at, tl.map_elementwise(of_one, a, c))
    tl.store(pairs + at, tl.map_elementwise(of_two, a, c, pack=2)[0])
"""


@pytest.mark.skipif(not hasattr(tl, "map_elementwise"), reason="this release of Triton has no map")
def test_functions_of_elements() -> None:
    x, y = torch.arange(16, dtype=torch.int32) % 7, torch.arange(16, dtype=torch.int32) % 5 + 1
    one, pairs = torch.zeros_like(x), torch.zeros_like(x)

    launch(function_of(MAPPED), x=x, y=y, one=one, pairs=pairs, N=16)

    assert torch.equal(one, torch.where(x > y, x * y, y))
    wanted = []
    for a, b, c, d in zip(*(each[start::2].tolist() for each in (x, y) for start in (0, 1)), strict=True):
        wanted += of_two(a, b, c, d)
    assert pairs.tolist() == wanted


def of_two(a: int, b: int, c: int, d: int) -> list[int]:
    if a > c:
        if a > 2 * c:
            return [a // c, d]
        a += 1
    elif c > 4:
        b *= 2
    return [a - c, b]


LOOP = """
@triton.jit
def power(x, y):
    for _ in range(3):
        x = x * y
    return x

@triton.jit
def kernel(x, out):
    tl.store(out, tl.reduce(tl.load(x + tl.arange(0, 16)), 0, power))
"""


def test_a_combination_with_a_loop_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"scf.for in a function that combines or maps elements \(.*, line \d+\)"):
        launch(function_of(LOOP), x=torch.ones(16), out=torch.ones(1))


FUNCTIONS: dict[str, tuple[torch.dtype, Callable[[Tensor], Tensor]]] = {
    "isnan": (torch.int32, lambda a: a.isnan()),
    "isinf": (torch.int32, lambda a: a.isinf()),
    "finitef": (torch.int32, lambda a: a.isfinite()),
    "signbit": (torch.int32, lambda a: a.signbit()),
    "saturatef": (torch.float32, lambda a: a.nan_to_num(0).clamp(0, 1)),
    "llrint": (torch.int64, lambda a: a[4:].round()),
    "llround": (torch.int64, lambda a: (a[4:].abs() + 0.5).floor() * a[4:].sign()),
    "float2int_rn": (torch.int32, lambda a: a[4:].round()),
    "float2int_rd": (torch.int32, lambda a: a[4:].floor()),
    "float2int_ru": (torch.int32, lambda a: a[4:].ceil()),
    "float2int_rz": (torch.int32, lambda a: a[4:].trunc()),
    "float2ll_rz": (torch.int64, lambda a: a[4:].trunc()),
    "float_as_int": (torch.int32, lambda a: a.view(torch.int32)),
    "ilogb": (torch.int32, lambda a: a[8:].abs().log2().floor()),
    "logb": (torch.float32, lambda a: a[8:].abs().log2().floor()),
    "normcdf": (torch.float32, lambda a: torch.erfc(a.double() * -(0.5**0.5)) / 2),
    "tanh": (torch.float32, lambda a: a.tanh()),
    "fast_expf": (torch.float32, lambda a: a.exp()),
    "rsqrt_rn": (torch.float32, lambda a: a.rsqrt()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_library_functions(name: str) -> None:
    dtype, function = FUNCTIONS[name]
    edges = [math.nan, math.inf, -math.inf, -math.nan, 0.5, -2.5, 1.5, -0.0]
    a = torch.tensor([*edges, *(torch.randn(24, generator=torch.Generator().manual_seed(0)) * 9).tolist()])
    wanted = function(a).to(dtype)

    found = evaluate(f"libdevice.{name}(a)", dtype, a)

    assert torch.allclose(found[-len(wanted) :].double(), wanted.double(), rtol=2e-7, atol=1e-44, equal_nan=True)


def test_library_functions_of_two() -> None:
    a, b = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    n = torch.arange(32, dtype=torch.int32) * 9 - 150
    i, j = torch.arange(32, dtype=torch.int32) - 7, 2**31 - 1 - torch.arange(32, dtype=torch.int32)

    assert torch.equal(evaluate("libdevice.nextafter(a, b)", torch.float32, a, b), a.nextafter(b))
    assert torch.equal(evaluate("libdevice.ldexp(a, b)", torch.float32, a, n), (a.double() * 2.0 ** n.double()).float())
    assert torch.equal(evaluate("libdevice.fma_rn(a, b, a)", torch.float32, a, b), (a.double() * b.double() + a.double()).float())
    assert torch.allclose(evaluate("libdevice.norm3d(a, b, a)", torch.float32, a, b), torch.stack([a, b, a]).norm(dim=0))
    assert torch.allclose(evaluate("libdevice.rhypot(a, b)", torch.float32, a, b), 1 / a.hypot(b))
    assert torch.equal(evaluate("libdevice.hadd(a, b)", torch.int32, i, j), (i.long() + j >> 1).int())
    assert torch.equal(evaluate("libdevice.rhadd(a, b)", torch.int32, i, j), (i.long() + j + 1 >> 1).int())
    assert evaluate("libdevice.ffs(a)", torch.int32, i).tolist() == [(n & -n).bit_length() for n in i.tolist()]
    assert torch.equal(evaluate("libdevice.int_as_float(a)", torch.float32, a.view(torch.int32)), a)
    assert torch.equal(evaluate("libdevice.int2float_rn(a)", torch.float32, j), j.float())


def test_a_rounding_that_the_machine_does_not_have_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"the library function fadd_rz \(.*, line \d+\)"):
        evaluate("libdevice.add_rz(a, a)", torch.float32, torch.ones(16))


PROMISES = """
@triton.jit
def kernel(x, out, n):
    tl.assume(n > 0)
    tl.device_print("n", n)
    tl.debug_barrier()
    at = tl.arange(0, 16)
    tl.store(out + at, tl.load(x + at) + n)
"""


def test_promises_prints_and_barriers_do_nothing() -> None:
    out = torch.zeros(16)

    assert launch(function_of(PROMISES), x=torch.ones(16), out=out, n=2) == LaunchReport()
    assert out.tolist() == [3.0] * 16


@pytest.mark.skipif(not hasattr(tl, "atomic_load"), reason="this release of Triton has no atomic loads")
def test_atomic_loads_and_stores() -> None:
    source = """
@triton.jit
def kernel(x, out):
    at = tl.arange(0, 16)
    tl.atomic_store(out + at, tl.atomic_load(x + at) * 2, mask=at < 12)
"""
    x, out = torch.arange(16.0), torch.zeros(16)

    assert launch(function_of(source), x=x, out=out) == LaunchReport()
    assert torch.equal(out, torch.where(x < 12, x * 2, 0))


NIBBLES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
SCALED = """
sa = tl.load(p_c + tl.arange(0, 32)[:, None] * {groups} + tl.arange(0, {groups})[None, :])
sb = tl.load(p_d + tl.arange(0, 16)[:, None] * {groups} + tl.arange(0, {groups})[None, :])
"""


def decoded(codes: Tensor, format: str) -> Tensor:
    """Along the last axis."""
    if format != "e2m1":
        return codes.view({"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}[format]).float()
    halves = torch.stack([codes & 15, codes >> 4], -1).flatten(-2).long()
    return NIBBLES[halves & 7] * torch.where(halves > 7, -1.0, 1.0)


@pytest.mark.skipif(not hasattr(tl, "dot_scaled"), reason="this release of Triton has no scaled dot")
@pytest.mark.parametrize(("left", "right"), [("e2m1", "e2m1"), ("e4m3", "e2m1"), ("e5m2", "e4m3"), ("e2m1", "e5m2")])
def test_scaled_products(left: str, right: str) -> None:
    generator = torch.Generator().manual_seed(0)
    bytes_of = {"e2m1": 64, "e4m3": 128, "e5m2": 128}
    a = torch.randint(0, 120, (32, bytes_of[left]), generator=generator, dtype=torch.uint8)
    b = torch.randint(0, 120, (16, bytes_of[right]), generator=generator, dtype=torch.uint8)
    a_scale, b_scale = (torch.randint(110, 140, (n, 4), generator=generator, dtype=torch.uint8) for n in (32, 16))
    expression = f"tl.dot_scaled(a, sa, '{left}', tl.trans(b), sb, '{right}')"

    found = evaluate_shaped(expression, torch.float32, 512, a, b, a_scale, b_scale, before=SCALED.format(groups=4))

    x, y = decoded(a, left).double(), decoded(b, right).double()
    factors = [2.0 ** (scale.double() - 127).repeat_interleave(32, 1) for scale in (a_scale, b_scale)]
    wanted = (x * factors[0]) @ (y * factors[1]).T
    bound = (x * factors[0]).abs() @ (y * factors[1]).abs().T * 1e-5
    assert bool(((found.reshape(32, 16) - wanted).abs() <= bound).all())


@pytest.mark.skipif(not hasattr(tl, "dot_scaled"), reason="this release of Triton has no scaled dot")
def test_a_scaled_product_with_one_scale() -> None:
    a = torch.randn(16, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    b = torch.randn(32, 16, generator=torch.Generator().manual_seed(1)).to(torch.float8_e4m3fn)
    scale = torch.arange(120, 136, dtype=torch.uint8).reshape(16, 1)

    found = evaluate_shaped("tl.dot_scaled(a, None, 'bf16', b, c, 'e4m3')", torch.float32, 256, a, b.view(torch.uint8), scale)

    wanted = (a.double() @ b.double()) * 2.0 ** (scale.double().T - 127)
    assert torch.allclose(found.reshape(16, 16).double(), wanted, rtol=1e-5, atol=1e-4)
