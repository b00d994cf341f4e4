"""Experiments on what a target allocates itself: two runs on the same memory, and runs whose allocations hold other bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import Observation, make_experiment, observe
from fuzz_decode.targets.target import Target

FILLS = (0x00, 0x3C)  # beside that of a campaign: zeros, and a number that is finite and not small in every float format
LOOSE = 1e-2  # relative; two runs of a kernel with atomics may differ by less


def is_nondeterministic(first: Observation, target: Target) -> Diagnosis | None:
    """Whether a second run on the same memory gives something else. What is found on one run would then mean nothing."""
    case = first.experiment.problem.case
    again = _again(first, target)
    tolerance = 0.0 if target.arithmetic_of(case).deterministic else LOOSE
    if not _differ(first, again, tolerance):
        return None
    rows = _rows(first, again, tolerance)
    sentence = f"two runs on the same memory differ, in {rows}: a race, or state left by an earlier call"
    return Diagnosis("nondeterministic", sentence, True, (f"two runs of {first.label} differ in {rows}",))


def depends_on_uninitialised_memory(first: Observation, target: Target) -> Diagnosis | None:
    """Whether the result depends on what the target's own allocations hold before it writes them."""
    case = first.experiment.problem.case
    for fill in FILLS:
        other = _again(first, target, fill)
        if _differ(first, other, LOOSE):
            rows = _rows(first, other, LOOSE)
            contents = "zeros" if fill == 0 else f"bytes {fill:#x}"
            result = "correct" if other.is_explained_by(other.experiment.correct) else "wrong"
            sentence = f"reads memory that it allocated and never wrote: {rows} depend on its contents"
            before = "large numbers" if "allocations" in case.finite else "NaN"
            evidence = f"{before} and {contents} in its allocations give different results; {result} with {contents}"
            return Diagnosis("uninitialised-scratch", sentence, True, (evidence,))
    return None


def _again(first: Observation, target: Target, fill: int | None = None) -> Observation:
    """A run on new memory with the same contents: the first one has written into its own."""
    problem, fenced = first.experiment.problem, first.experiment.memory.fenced
    experiment = make_experiment(problem.case, target, problem.q.device.type, fenced=fenced)
    return observe(first.label, experiment, target, fill)


def _differ(one: Observation, other: Observation, tolerance: float) -> bool:
    return bool(_where(one, other, tolerance).any())


def _where(one: Observation, other: Observation, tolerance: float) -> Tensor:
    """Rows [num_rows, num_q_heads] whose out or lse differ. What is unwritten in both does not count."""
    blank = one.unwritten & other.unwritten
    case, view = one.experiment.problem.case, one.experiment.correct.addresses.out
    shape = (case.num_rows, case.num_q_heads, case.value_head_dim)
    written = ~blank.as_strided(shape, view.strides, view.offset)
    differs = (_apart(one.out, other.out, tolerance) & written).any(-1)
    return differs if one.lse is None or other.lse is None else differs | _apart(one.lse, other.lse, tolerance)


def _apart(one: Tensor, other: Tensor, tolerance: float) -> Tensor:
    same = (one == other) | (torch.isnan(one) & torch.isnan(other))
    return ~same & ~((one - other).abs() <= tolerance * one.abs())


def _rows(one: Observation, other: Observation, tolerance: float) -> str:
    """`3 of 8 rows, the first one of sequence 1, q head 0`."""
    where = _where(one, other, tolerance)
    row, head = (int(number) for number in where.nonzero()[0])
    name = one.experiment.problem.case.row_name(row)
    return f"{int(where.sum())} of {where.numel()} rows, the first one of {name}, q head {head}"
