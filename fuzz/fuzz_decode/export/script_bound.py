"""The error bound of a correct kernel as a few numbers, which a script can hold and a reader can judge.

The bound of `fuzz_decode_reference` is a number for each element. This one is `share * sum_j p_j |v_j| + unit * |out| + floor`,
with a share and a floor for each row and head. It is nowhere below that bound, and close to it where sums are not negligible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.export.literals import rounded_up
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import DEVICES, Target
from fuzz_decode_reference import Rounding, error_bound
from fuzz_decode_reference.bound import SLACK
from fuzz_decode_reference.gather_attention import Options, gather_rows, weighted_sum

NEGLIGIBLE = 1e-3  # of the largest sum of a row: smaller sums are covered by the floor
UNBOUNDED = 1e30  # an element without a bound, since nothing is known of its weights


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of the bound, rounded up to two digits; tensors are float64."""

    unit: float
    """Of |out|."""
    share: Tensor
    """[num_rows, num_q_heads], of sum_j p_j |v_j|"""
    floor: Tensor
    """[num_rows, num_q_heads]"""
    lse: Tensor
    """[num_rows, num_q_heads]: the largest error of lse."""


def limits(problem: Problem, target: Target) -> dict[str, Limits]:
    """The limits of the target on the case by device: a GPU may multiply float32 as tf32."""
    case = problem.case
    rounding = {device: rounding_of(target.arithmetic_of(case), case, interpreted=device == "cpu") for device in DEVICES}
    sums = _sums(problem)
    by_rounding = {each: _limits(problem, each, *sums) for each in set(rounding.values())}
    return {device: by_rounding[rounding[device]] for device in DEVICES}


def _limits(problem: Problem, rounding: Rounding, exact: Tensor, sums: Tensor) -> Limits:
    """The limits of one rounding: `floor` covers the part of the bound that `share` and `unit` do not."""
    bound = error_bound(*problem.arguments(), rounding, **problem.options())
    unit = rounded_up(SLACK * rounding.out)
    rest = (bound.out - unit * exact.abs()).nan_to_num(UNBOUNDED).clamp(min=0.0, max=UNBOUNDED)
    counts = sums > NEGLIGIBLE * sums.amax(dim=-1, keepdim=True)
    share = _rounded_up(torch.where(counts, rest / sums, 0.0).amax(dim=-1).clamp(max=UNBOUNDED))
    floor = (rest - share[..., None] * sums).amax(dim=-1).clamp(min=SLACK * rounding.out_tiny)
    return Limits(unit, share, _rounded_up(floor), _rounded_up(bound.lse.nan_to_num(UNBOUNDED).clamp(max=UNBOUNDED)))


def _sums(problem: Problem) -> tuple[Tensor, Tensor]:
    """out, and the same sum over |V|: both [num_rows, num_q_heads, value_head_dim] float64."""
    exact = torch.zeros(problem.out.shape, dtype=torch.float64)
    sums = torch.zeros_like(exact)
    for rows, batch in gather_rows(*problem.arguments(), Options(**problem.options())):
        exact[rows], _ = batch.attend()
        sums[rows] = weighted_sum(batch.weights, batch.v.abs()) * batch.v_scale
    return exact, sums


def _rounded_up(numbers: Tensor) -> Tensor:
    return torch.tensor([rounded_up(number) for number in numbers.flatten().tolist()], dtype=torch.float64).view(numbers.shape)
