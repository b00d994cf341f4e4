"""The problem of a case for one target: with data that do not overflow the arithmetic that it declares."""

from __future__ import annotations

import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.values import make_values, without_overflow
from fuzz_decode.targets.target import Target

HEADROOM = 15 / 16  # of the largest number of a format: sums are rounded


def prepare(case: Case, target: Target, device: str, memory: str = "poisoned") -> Problem:
    """Lay the case out on `device`, with finite numbers where the target needs them. One that sums q.k in the dtype of q gets a
    q that is small enough."""
    case = target.as_declared(case)
    values = make_values(case)
    if target.arithmetic_of(case).score_sums == "input":
        values = without_overflow(case, values, HEADROOM * torch.finfo(getattr(torch, case.dtype)).max)
    return build_problem(case, device, values, memory)
