"""Whether this engine computes as torch does. Run once when a worker starts: a dtype that fails is not fuzzed on the CPU."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES

SIZE = 64
SIDE = 16


def refused(*, interpreted: bool = True) -> dict[str, str]:
    """Dtype -> what is wrong with its arithmetic, or with reading it, if it is a dtype of caches. Empty: all are right. Only the
    interpreter can differ from the compiler in what Python's constructs mean, and older compilers do not take all of them."""
    constructs = _wrong_constructs() if interpreted else None
    verdicts = {name: constructs or _wrong(getattr(torch, name)) for name in DTYPES}
    verdicts |= {name: _misread(getattr(torch, name)) for name in CACHE_DTYPES}
    return {name: what for name, what in verdicts.items() if what}


def _wrong_constructs() -> str | None:
    """The first rule of `compiler_semantics` that does not hold."""
    expected = {
        "and": 6,
        "or": 4,
        "not": 7,
        "a chained comparison": 4,
        "max and min": 90,
        "an annotated width": 3 * 2**30,
        "a float argument": 1,
        "a number in a tuple": 1,
        "an annotated number": 1,
        "a number in a ternary": 1,
        "the variable of a loop": 2**31,
    }
    found, half = torch.zeros(len(expected), dtype=torch.int64), torch.tensor([1.001], dtype=torch.float16)
    try:
        _constructs[(1,)](found, torch.arange(16, dtype=torch.int32), half, 2**30, 6, 0.333)
    except Exception as error:  # whatever an unknown interpreter raises, it cannot be used
        return f"{type(error).__name__}: {error}"[:200]
    wrong = [name for name, value in zip(expected, found.tolist(), strict=True) if value != expected[name]]
    return f"{wrong[0]} differs from Triton's compiler" if wrong else None


def _wrong(dtype: torch.dtype) -> str | None:
    """The first operation that differs from torch."""
    wide = _values()
    x, y = wide.to(dtype), wide.flip(0).to(dtype)
    try:
        got = _computed(wide, x, y)
    except Exception as error:  # whatever an unknown interpreter raises, it cannot be used for this dtype
        return f"{type(error).__name__}: {error}"[:200]
    expected = {
        "rounding": x,
        "widening": x.float(),
        "addition": x + y,
        "multiplication": x * y,
        "negation": -x,
        "comparison": (x < y).float(),
        "maximum": torch.fmax(x, y),
    }
    for name, exact in expected.items():
        if not torch.equal(got[name].nan_to_num(nan=12345.0), exact.nan_to_num(nan=12345.0)):
            return f"{name} differs from torch"
    a, b = _matrix(dtype, 0), _matrix(dtype, 1)
    product, total = _dot_and_sum(a, b)
    if not torch.allclose(product, a.float() @ b.float(), rtol=1e-5, atol=1e-5):
        return "dot differs from torch"
    if not torch.allclose(total.float(), a.float().sum(1), rtol=0.0, atol=16 * SIDE * torch.finfo(dtype).eps):
        return "sum differs from torch"
    return None


def _misread(dtype: torch.dtype) -> str | None:
    """The first format to which one of the 256 codes is widened to another number than by torch."""
    stored = torch.arange(256, dtype=torch.uint8).view(dtype)
    for wanted in (torch.float32, torch.float16, torch.bfloat16):
        widened = torch.empty(256, dtype=wanted)
        try:
            _widen[(1,)](stored, widened, SIZE=256)
        except Exception as error:  # whatever an unknown interpreter raises, it cannot be used for this dtype
            return f"{type(error).__name__}: {error}"[:200]
        if not torch.equal(widened.nan_to_num(nan=12345.0, posinf=6e4), stored.to(wanted).nan_to_num(nan=12345.0, posinf=6e4)):
            return f"widening to {str(wanted).removeprefix('torch.')} differs from torch"
    return None


def _values() -> Tensor:
    """float32: ordinary numbers, ties of the rounding, subnormals, extremes, infinities and NaN [SIZE]."""
    ties = [1 + k * 2.0**-9 for k in range(1, 9)] + [1 + k * 2.0**-12 for k in range(1, 9)]
    small = [2.0**-126 * k / 64 for k in range(1, 9)] + [2.0**-24 * k / 4 for k in range(1, 9)] + [2.0**-133, 2.0**-134, 3e-41]
    edges = [0.0, -0.0, 1.0, -1.0, 65504.0, 65519.0, 65520.0, 3.39e38, math.inf, -math.inf, math.nan]
    listed = ties + small + edges
    rest = torch.randn(SIZE - len(listed), generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.tensor(listed), rest])


def _matrix(dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _computed(wide: Tensor, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    names = ("rounding", "widening", "addition", "multiplication", "negation", "comparison", "maximum")
    out = {name: torch.empty_like(wide if name in ("widening", "comparison") else x) for name in names}
    _elementwise[(1,)](wide, x, y, *out.values(), SIZE=SIZE)
    return out


def _dot_and_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    product, total = torch.empty(SIDE, SIDE), torch.empty(SIDE, dtype=a.dtype)
    _matrices[(1,)](a, b, product, total, SIDE=SIDE)
    return product, total


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _elementwise(  # type: ignore[no-untyped-def]  # device code
    wide, x_ptr, y_ptr, rounding, widening, addition, multiplication, negation, comparison, maximum, SIZE: tl.constexpr
):
    at = tl.arange(0, SIZE)
    x, y = tl.load(x_ptr + at), tl.load(y_ptr + at)
    tl.store(rounding + at, tl.load(wide + at).to(x.dtype))
    tl.store(widening + at, x.to(tl.float32))
    tl.store(addition + at, x + y)
    tl.store(multiplication + at, x * y)
    tl.store(negation + at, -x)
    tl.store(comparison + at, (x < y).to(tl.float32))
    tl.store(maximum + at, tl.maximum(x, y).to(x.dtype))


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _widen(stored, widened, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    tl.store(widened + at, tl.load(stored + at).to(widened.dtype.element_ty))


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _matrices(a_ptr, b_ptr, product, total, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    row, column = tl.arange(0, SIDE)[:, None], tl.arange(0, SIDE)[None, :]
    a, b = tl.load(a_ptr + row * SIDE + column), tl.load(b_ptr + row * SIDE + column)
    tl.store(product + row * SIDE + column, tl.dot(a, b, input_precision="ieee"))
    tl.store(total + tl.arange(0, SIDE), tl.sum(a, 1))


@triton.jit  # type: ignore[untyped-decorator]  # Triton has no types
def _constructs(out, x, half, wide: tl.int64, n, third):  # type: ignore[no-untyped-def]  # device code
    v, h = tl.load(x + tl.arange(0, 16)), tl.load(half)
    exact = h.to(tl.float32) * third
    one, number = 1, 0.333
    annotated: tl.float32 = 0.333
    tl.store(out, tl.sum(((v > 2) and (v < 9)).to(tl.int64), 0))
    tl.store(out + 1, tl.sum(((v < 1) or (v > 12)).to(tl.int64), 0))
    tl.store(out + 2, tl.sum(tl.where(not (v > n), 1, 0), 0))
    tl.store(out + 3, tl.sum((2 < v <= n).to(tl.int64), 0))
    tl.store(out + 4, tl.sum(min(max(v, 5), n), 0))
    tl.store(out + 5, wide * 3)
    tl.store(out + 6, (h * third == exact).to(tl.int64))
    tl.store(out + 7, (h * number * one == exact).to(tl.int64))
    tl.store(out + 8, (h * annotated == exact).to(tl.int64))
    tl.store(out + 9, (h * (0.333 if n > 2 else 0.5) == exact).to(tl.int64))
    for i in range(0, wide, 2**29):
        tl.store(out + 10, i * 4)
