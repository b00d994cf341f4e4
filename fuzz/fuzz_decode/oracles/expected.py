"""The reference's answer to a problem, and the error that a target may have."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import CACHE_DTYPES
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Arithmetic, Target
from fuzz_decode_reference import ErrorBound, Rounding, attention_and_bound
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

TANH_APPROX = 2.0**-11  # largest relative error of tanh.approx.f32, PTX ISA


@dataclass(frozen=True, slots=True)
class Expected:
    """The exact answer, float64 on the CPU."""

    out: Tensor
    """[num_rows, num_q_heads, value_head_dim]"""
    lse: Tensor
    """[num_rows, num_q_heads], natural log"""
    bound: ErrorBound
    """The largest allowed error of each element of both."""


def expect(problem: Problem, target: Target, device: str | None = None) -> Expected:
    """The reference's answer, on the CPU, and the error that the target may have on `device` (the problem's own, if None)."""
    case = problem.case
    arithmetic = target.arithmetic_of(case)
    rounding = rounding_of(arithmetic, case, interpreted=(device or problem.q.device.type) == "cpu")
    out, lse, bound = attention_and_bound(*problem.arguments(), rounding, **problem.options())
    return Expected(out.cpu(), lse.cpu(), ErrorBound(bound.out.cpu(), bound.lse.cpu()))


def rounding_of(arithmetic: Arithmetic, case: Case, *, interpreted: bool) -> Rounding:
    """The unit roundoffs of a kernel at the case's dtypes. Triton's interpreter multiplies float32 as it is."""
    dtype = case.dtype
    weights = dtype if arithmetic.probabilities == "input" else arithmetic.probabilities
    dots = UNIT_ROUNDOFF["tf32"] if arithmetic.dots == "tf32" and dtype == "float32" and not interpreted else 0.0
    dequantises = case.cache_dtype is not None and arithmetic.dequantised == "input"
    return Rounding(
        out=UNIT_ROUNDOFF[dtype],
        out_tiny=TINY[dtype],
        probabilities=UNIT_ROUNDOFF[weights] + 2 * dots,
        probabilities_tiny=TINY[weights],
        scores=2 * dots + (2 * UNIT_ROUNDOFF[dtype] if arithmetic.scores == "input" else 0.0),
        score_sums=UNIT_ROUNDOFF[dtype if arithmetic.score_sums == "input" else "float32"],
        tanh=TANH_APPROX if arithmetic.tanh == "approx" else 0.0,
        scaled_after_sum=arithmetic.scaled_after_sum,
        dequantised=UNIT_ROUNDOFF[dtype] if dequantises else 0.0,
        dequantised_tiny=TINY[dtype] if dequantises else 0.0,
        denominator=UNIT_ROUNDOFF[weights] if weights in CACHE_DTYPES else 0.0,
        largest_term=_largest(dtype) if arithmetic.scores == "input" else math.inf,
        largest_sum=_largest(dtype) if arithmetic.score_sums == "input" else math.inf,
    )


def _largest(dtype: str) -> float:
    """The largest number of a format."""
    return float(torch.finfo(getattr(torch, dtype)).max)
