"""Oracles 4 and 5: another run that must give the same bits. Asked only of runs that the other oracles found right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.oracles.kernel_run import KernelRun, index_of
from fuzz_decode.outcome import Violation
from fuzz_decode.problems.poison import poison_out
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Arithmetic

Launch = Callable[[Problem], KernelRun]
Judge = Callable[[Problem, KernelRun], list[Violation]]


def repeatable(
    problem: Problem, run: KernelRun, arithmetic: Arithmetic, launch: Launch, judge: Judge, relay: Callable[[Case], Problem]
) -> list[Violation]:
    """The same problem again, or the same values laid out plainly (`relay`), give the same bits.

    One extra run does for both when the target promises the same bits anywhere: only if the plain layout differs is the
    original repeated, to tell a layout fault from a race. A plain run that is wrong by itself is reported as what it is.
    """
    first = dataclasses.replace(run, out=run.out.clone(), lse=None if run.lse is None else run.lse.clone())
    if not arithmetic.same_bits_anywhere:
        return _again(problem, first, launch) if arithmetic.deterministic else []
    relaid_problem = relay(in_plain_layout(problem.case))
    relaid = launch(relaid_problem)
    relayout = _difference(first, relaid, "relayout", "layout-dependent", "of the same values laid out contiguously")
    return relayout and (judge(relaid_problem, relaid) or _again(problem, first, launch) or relayout)


def _again(problem: Problem, first: KernelRun, launch: Launch) -> list[Violation]:
    poison_out(problem)
    return _difference(first, launch(problem), "determinism", "nondeterministic", "of a second run")


def _difference(first: KernelRun, second: KernelRun, oracle: str, symptom: str, words: str) -> list[Violation]:
    if (first.lse is None) != (second.lse is None):
        return [Violation(oracle, symptom, "lse", f"lse is returned by only one: the first run, or that {words}")]
    for (name, a, _, _), (_, b, _, _) in zip(first.results(), second.results(), strict=True):
        differs = _bits(a) != _bits(b)
        if bool(differs.any()):
            at = int(differs.flatten().int().argmax())
            count = int(differs.sum())
            return [
                Violation(
                    oracle,
                    symptom,
                    name,
                    f"{count} of {a.numel()} elements of {name} differ in their bits from those {words}",
                    where=index_of(at, a.shape),
                    expected=b.flatten()[at].item(),
                    got=a.flatten()[at].item(),
                    allowed=0.0,
                    wrong=count,
                    total=a.numel(),
                )
            ]
    return []


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view({2: torch.int16, 4: torch.int32}[tensor.element_size()])
