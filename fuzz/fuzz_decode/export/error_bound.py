"""What a correct kernel may be off by, as a few numbers that a script can hold and a reader can judge.

The harness's bound is a number for each element. Here it is `share * sum_j p_j |v_j| + unit * |out| + floor`, with a share and a
floor for each row and head, which is no less than the bound anywhere, and about the same where it matters.
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

NEGLIGIBLE = 1e-3  # sums smaller than this, beside the largest of their row, are the floor's business
LARGEST = 1e30  # stands for what has no bound, since nothing is known of its weights


@dataclass(frozen=True, slots=True)
class Limits:
    """`share`, `floor` and `lse` [num_rows, num_q_heads] float64; all are rounded up to two digits."""

    unit: float
    share: Tensor
    floor: Tensor
    lse: Tensor


def limits(problem: Problem, target: Target) -> dict[str, Limits]:
    """How far the target may be off the case, by device: a GPU may multiply float32 as tf32."""
    case = problem.case
    rounding = {device: rounding_of(target.arithmetic_of(case), case, interpreted=device == "cpu") for device in DEVICES}
    sums = _sums(problem)
    found = {each: _limits(problem, each, *sums) for each in set(rounding.values())}
    return {device: found[rounding[device]] for device in DEVICES}


def _limits(problem: Problem, rounding: Rounding, exact: Tensor, sums: Tensor) -> Limits:
    """The fewest numbers that are no less than the bound: what `share` leaves over, `floor` takes."""
    bound = error_bound(*problem.arguments(), rounding, **problem.options())
    unit = rounded_up(SLACK * rounding.out)
    rest = (bound.out - unit * exact.abs()).nan_to_num(LARGEST).clamp(min=0.0, max=LARGEST)
    counts = sums > NEGLIGIBLE * sums.amax(dim=-1, keepdim=True)
    share = _rounded_up(torch.where(counts, rest / sums, 0.0).amax(dim=-1).clamp(max=LARGEST))
    floor = (rest - share[..., None] * sums).amax(dim=-1).clamp(min=SLACK * rounding.out_tiny)
    return Limits(unit, share, _rounded_up(floor), _rounded_up(bound.lse.nan_to_num(LARGEST).clamp(max=LARGEST)))


def _sums(problem: Problem) -> tuple[Tensor, Tensor]:
    """out, and the same sum over the sizes of V: both [num_rows, num_q_heads, value_head_dim] float64."""
    exact = torch.zeros(problem.out.shape, dtype=torch.float64)
    sums = torch.zeros_like(exact)
    for index, row in gather_rows(*problem.arguments(), Options(**problem.options())):
        exact[index], lse = row.attend()
        weights = (row.scores() - lse[:, None]).exp()
        sums[index] = weighted_sum(weights, row.v.abs()) * row.v_scale
    return exact, sums


def _rounded_up(numbers: Tensor) -> Tensor:
    return torch.tensor([rounded_up(number) for number in numbers.flatten().tolist()], dtype=torch.float64).view(numbers.shape)
