"""Elementwise operations for every type against torch and numpy, bit for bit where the result is exact."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import pytest
import torch
from native_kernels import evaluate, same
from torch import Tensor

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
COUNT = 64
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
}
RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}


def integers(dtype: torch.dtype, seed: int = 0, *, zero: bool = True) -> Tensor:
    limits, rng = torch.iinfo(dtype), torch.Generator().manual_seed(seed)
    values = torch.randint(-(2**62), 2**62, (COUNT,), generator=rng) >> torch.randint(0, 62, (COUNT,), generator=rng)
    edges = torch.tensor([limits.min, limits.max, -1, 1, limits.min + 1, 2])
    values[seed : seed + len(edges)] = edges
    if not zero:
        values[values.to(dtype) == 0] = 3
    return values.to(dtype)


def floats(dtype: torch.dtype, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    values = torch.randn(COUNT, generator=rng, dtype=torch.float64) * 2.0 ** torch.randint(-12, 12, (COUNT,), generator=rng)
    edges = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0**-14, 2.0**-24, 65504.0]
    values[seed : seed + len(edges)] = torch.tensor(edges, dtype=torch.float64)
    return values.to(dtype)


def numbers(values: Tensor) -> Any:
    return values.numpy()


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("symbol", ["+", "-", "*", "&", "|", "^"])
def test_integers_wrap(dtype: torch.dtype, symbol: str) -> None:
    a, b = integers(dtype), integers(dtype, 3)

    assert torch.equal(evaluate(f"a {symbol} b", dtype, a, b), OPERATORS[symbol](a, b))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_division_truncates(dtype: torch.dtype) -> None:
    a, b = integers(dtype), integers(dtype, 3, zero=False)

    assert torch.equal(evaluate("a // b", dtype, a, b), torch.div(a, b, rounding_mode="trunc"))
    assert torch.equal(evaluate("a % b", dtype, a, b), torch.fmod(a, b))


@pytest.mark.parametrize("name", ["uint8", "uint16", "uint32", "uint64"])
def test_unsigned_integers(name: str) -> None:
    signed = {"uint8": torch.int8, "uint16": torch.int16, "uint32": torch.int32, "uint64": torch.int64}[name]
    dtype = getattr(torch, name)
    a, b = integers(signed).view(dtype), integers(signed, 3, zero=False).view(dtype)
    x, y = numbers(a), numbers(b)

    for expression in ("a // b", "a % b", "tl.maximum(a, b)", "tl.minimum(a, b)", "a >> 3"):
        wanted = {"a // b": x // y, "a % b": x % y, "a >> 3": x >> x.dtype.type(3)}.get(expression)
        wanted = (np.maximum if "max" in expression else np.minimum)(x, y) if wanted is None else wanted
        assert np.array_equal(numbers(evaluate(expression, dtype, a, b)), wanted), expression
    for relation, compare in RELATIONS.items():
        assert np.array_equal(numbers(evaluate(f"(a {relation} b).to(tl.int32)", torch.int32, a, b)), compare(x, y))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_signed_integers(dtype: torch.dtype) -> None:
    a, b, bits = integers(dtype), integers(dtype, 3), torch.iinfo(dtype).bits
    places = (integers(dtype, 5).long() % bits).to(dtype)

    assert torch.equal(evaluate("tl.maximum(a, b)", dtype, a, b), torch.maximum(a, b))
    assert torch.equal(evaluate("tl.minimum(a, b)", dtype, a, b), torch.minimum(a, b))
    assert torch.equal(evaluate("a << b", dtype, a, places), a << places)
    assert torch.equal(evaluate("a >> b", dtype, a, places), a >> places)
    assert torch.equal(evaluate("~a", dtype, a), ~a)
    assert torch.equal(evaluate("-a", dtype, a), -a)
    assert torch.equal(evaluate("tl.abs(a)", dtype, a), torch.where(a < 0, -a, a))
    for relation, compare in RELATIONS.items():
        assert torch.equal(evaluate(f"(a {relation} b).to(tl.int32)", torch.int32, a, b), compare(a, b).int())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("symbol", ["+", "-", "*", "/"])
def test_floats_round_to_their_type(dtype: torch.dtype, symbol: str) -> None:
    a, b = floats(dtype), floats(dtype, 3)
    assert same(evaluate(f"(a {symbol} b).to(out.dtype.element_ty)", dtype, a, b), OPERATORS[symbol](a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_comparisons(dtype: torch.dtype) -> None:
    a, b = floats(dtype), floats(dtype, 3)
    b[20:30] = a[20:30]

    for relation, compare in RELATIONS.items():
        assert torch.equal(evaluate(f"(a {relation} b).to(tl.int32)", torch.int32, a, b), compare(a, b).int())
    assert torch.equal(evaluate("tl.where(a < b, a, b)", dtype, a, b).nan_to_num(), torch.where(a < b, a, b).nan_to_num())


@pytest.mark.parametrize("dtype", FLOATS)
def test_minimum_and_maximum_know_nan(dtype: torch.dtype) -> None:
    a, b = floats(dtype), floats(dtype, 3)

    assert torch.equal(evaluate("tl.maximum(a, b)", dtype, a, b).nan_to_num(7), torch.fmax(a, b).nan_to_num(7))
    assert torch.equal(evaluate("tl.minimum(a, b)", dtype, a, b).nan_to_num(7), torch.fmin(a, b).nan_to_num(7))
    spread = "propagate_nan=tl.PropagateNan.ALL"
    assert torch.equal(evaluate(f"tl.maximum(a, b, {spread})", dtype, a, b).nan_to_num(7), torch.maximum(a, b).nan_to_num(7))
    assert torch.equal(evaluate(f"tl.minimum(a, b, {spread})", dtype, a, b).nan_to_num(7), torch.minimum(a, b).nan_to_num(7))


FUNCTIONS = {
    **{f"tl.{name}(a)": getattr(torch, name) for name in ("exp", "exp2", "log", "log2", "sqrt", "rsqrt", "sin", "cos", "erf")},
    **{
        f"libdevice.{name}(a)": getattr(torch, name)
        for name in ("tanh", "sinh", "cosh", "expm1", "log1p", "log10", "atan", "tan")
    },
    "tl.sqrt_rn(a)": torch.sqrt,
    "tl.sigmoid(a)": torch.sigmoid,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("expression", FUNCTIONS)
def test_functions_are_within_two_units_of_the_last_place(dtype: torch.dtype, expression: str) -> None:
    if dtype == torch.float64 and "tl." in expression and ("_rn" in expression or "sigmoid" in expression):
        pytest.skip("float32 only")
    a = (torch.randn(1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3).to(dtype)
    if any(name in expression for name in ("log", "sqrt")):
        a = a.abs()

    found, wanted = evaluate(expression, dtype, a), FUNCTIONS[expression](a.double())

    unit = torch.finfo(dtype).eps * 2.0 ** torch.floor(torch.log2(wanted.abs().clamp_min(1e-30)))
    units = ((found.double() - wanted) / unit).abs().max()
    assert units <= (4 if dtype == torch.float64 else 2), units


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_functions(dtype: torch.dtype) -> None:
    a, b, c = floats(dtype), floats(dtype, 3), floats(dtype, 5)

    assert same(evaluate("tl.floor(a)", dtype, a), a.floor())
    assert same(evaluate("tl.ceil(a)", dtype, a), a.ceil())
    assert same(evaluate("tl.abs(a)", dtype, a), a.abs())
    assert torch.equal(evaluate("-a", dtype, a).nan_to_num(7), (-a).nan_to_num(7))  # up to Triton 3.6 this is 0 - a
    fused = evaluate("tl.fma(a, b, c)", dtype, a, b, c)
    if dtype == torch.float32:
        assert same(fused, (a.double() * b.double() + c.double()).float())
        assert same(evaluate("tl.div_rn(a, b)", dtype, a, b), a / b)
        assert same(evaluate("tl.clamp(a, -1.0, 2.0)", dtype, a[5:37]), a[5:37].clamp(-1, 2))


@pytest.mark.parametrize("source", [*FLOATS, *FLOAT8])
@pytest.mark.parametrize("target", [*FLOATS, *FLOAT8])
def test_float_conversions(source: torch.dtype, target: torch.dtype) -> None:
    if {source, target} & set(FLOAT8) and torch.float64 in (source, target):
        pytest.skip("Triton has no such conversion")
    if source in FLOAT8 and target in FLOAT8:
        pytest.skip("through float32 in the front end")
    a = torch.arange(256, dtype=torch.uint8).view(source) if source in FLOAT8 else floats(torch.float64).to(source)
    largest = torch.finfo(target).max
    wide = a.double()
    wanted = wide.clamp(-largest, largest) if target in FLOAT8 else wide

    found = evaluate("a.to(out.dtype.element_ty)", target, a)

    rounded = wanted.to(target) if source == torch.float64 and target != torch.float16 else wanted.float().to(target)
    if source == torch.float64 and target in (torch.float16, torch.bfloat16):
        rounded = nearest(wide, target)
    assert same(found.float() if target in FLOAT8 else found, rounded.float() if target in FLOAT8 else rounded)


def nearest(values: Tensor, dtype: torch.dtype) -> Tensor:
    """float64 to a 16-bit type, rounded once."""
    if dtype == torch.float16:
        return torch.from_numpy(values.numpy().astype(np.float16))
    candidates = torch.stack([values.float().to(dtype)] + [towards(values, dtype, end) for end in (-math.inf, math.inf)])
    distance = (candidates.double() - values).abs().nan_to_num(0)
    return candidates.gather(0, distance.argmin(0)[None])[0]


def towards(values: Tensor, dtype: torch.dtype, end: float) -> Tensor:
    rounded = values.float().to(dtype)
    return torch.nextafter(rounded, torch.full_like(rounded, end))


@pytest.mark.parametrize("target", [torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_rounding_toward_zero(target: torch.dtype) -> None:
    a = floats(torch.float32)[5:37].contiguous()

    found = evaluate("a.to(out.dtype.element_ty, fp_downcast_rounding='rtz')", target, a).float()

    assert bool((found.abs() <= a.abs()).all())
    largest = torch.finfo(target).max
    nearest_of = a.clamp(-largest, largest).to(target).float()
    assert bool(((found == nearest_of) | (nearest_of.abs() > a.abs())).all())


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("target", FLOATS)
def test_integers_to_floats(dtype: torch.dtype, target: torch.dtype) -> None:
    a = integers(dtype)

    found = evaluate("a.to(out.dtype.element_ty)", target, a)

    exact = a.numpy().astype({torch.float16: np.float16, torch.float32: np.float32}.get(target, np.float64))
    wanted = torch.from_numpy(exact)
    assert same(found, nearest(wanted, target) if target == torch.bfloat16 else wanted)


def test_floats_to_integers_saturate() -> None:
    a = torch.tensor([0.0, 1.9, -1.9, 3e9, -3e9, math.inf, -math.inf, math.nan])

    assert evaluate("a.to(tl.int32)", torch.int32, a).tolist() == [0, 1, -1, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 0]
    assert evaluate("a.to(tl.uint32)", torch.uint32, a).tolist() == [0, 1, 0, 3_000_000_000, 0, 2**32 - 1, 0, 0]
    assert evaluate("a.to(tl.int64)", torch.int64, a)[:5].tolist() == [0, 1, -1, 3_000_000_000, -3_000_000_000]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_to_integers(dtype: torch.dtype) -> None:
    a = torch.tensor([0.0, 1.9, -1.9, 100.5, -100.5, 7, -7, 0.25]).to(dtype)

    assert torch.equal(evaluate("a.to(tl.int32)", torch.int32, a), a.int())
    assert torch.equal(evaluate("a.to(tl.int8)", torch.int8, a), a.to(torch.int8))


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", INTEGERS)
def test_integer_widths(source: torch.dtype, target: torch.dtype) -> None:
    a = integers(source)

    assert torch.equal(evaluate("a.to(out.dtype.element_ty)", target, a), a.to(target))


def test_truth_values() -> None:
    a, b = integers(torch.int32) > 0, integers(torch.int32, 3) > 0
    x, y = a.to(torch.int8), b.to(torch.int8)
    before = "a = a != 0\nb = b != 0"

    for symbol in ("&", "|", "^"):
        found = evaluate(f"(a {symbol} b).to(tl.int32)", torch.int32, x, y, before=before)
        assert torch.equal(found, OPERATORS[symbol](a, b).int())
    assert torch.equal(evaluate("a.to(tl.float32)", torch.float32, x, before="a = a != 0"), a.float())
    assert torch.equal(evaluate("tl.where(a, 3, b)", torch.int32, x, y, before="a = a != 0"), torch.where(a, 3, y.int()))


def test_bits_are_kept() -> None:
    a = floats(torch.float32)

    assert torch.equal(evaluate("a.to(tl.int32, bitcast=True)", torch.int32, a), a.view(torch.int32))
    assert torch.equal(evaluate("tl.umulhi(a, b)", torch.int32, *(integers(torch.int32, n) for n in (0, 3))), high_product())


def high_product() -> Tensor:
    a, b = (integers(torch.int32, n).numpy().view(np.uint32).astype(np.uint64) for n in (0, 3))
    return torch.from_numpy((a * b >> np.uint64(32)).astype(np.uint32).view(np.int32))
