"""Oracles 4 and 5: another run must give the same bits. They are only applied to runs that pass all other oracles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.oracles.kernel_run import KernelRun, index_of
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.poison import poison_out
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Arithmetic

Order = str | int  # of the programs of each launch: a word, or the seed of a random order


class Launch(Protocol):
    def __call__(self, problem: Problem, /, order: Order | None = None) -> KernelRun:
        """Call the target, with the programs of its launches in that order; None: the usual one."""
        ...


Judge = Callable[[Problem, KernelRun], list[Violation]]


def repeatable(
    problem: Problem,
    run: KernelRun,
    arithmetic: Arithmetic,
    launch: Launch,
    judge: Judge,
    rebuild: Callable[[Case], Problem],
    order: Order | None = None,
) -> list[Violation]:
    """The same problem again, and the same values in a plain layout, give the same bits. `rebuild` lays them out as nearly so as
    the target's stride rules allow. Programs run in another `order`, if the engine has one.

    One extra run covers all for a target whose bits do not depend on the layout (`same_bits_anywhere`): only if the plain layout
    differs, the original is repeated, to tell a layout fault from a race. A plain run that is wrong is reported as that.
    """
    first = dataclasses.replace(run, out=run.out.clone(), lse=None if run.lse is None else run.lse.clone())
    if not arithmetic.same_bits_anywhere:
        return _repeated(problem, first, launch, order) if arithmetic.deterministic else []
    relaid_problem = rebuild(in_plain_layout(problem.case))
    relaid = launch(relaid_problem, order)
    relayout = _difference(first, relaid, "relayout", Symptom.LAYOUT_DEPENDENT, "of the same values laid out contiguously")
    if not relayout:
        return []
    if order is not None and (raced := _repeated(problem, first, launch, order)):
        return raced
    wrong = [dataclasses.replace(violation, in_plain_layout=True) for violation in judge(relaid_problem, relaid)]
    return wrong or _repeated(problem, first, launch) or relayout


def _repeated(problem: Problem, first: KernelRun, launch: Launch, order: Order | None = None) -> list[Violation]:
    """A difference that comes with another order only is a race of the kernel, which the usual order hides."""
    poison_out(problem)
    again = _difference(first, launch(problem, order), "determinism", Symptom.NONDETERMINISTIC, "of a second run")
    if not again or order is None:
        return again
    reordered = dataclasses.replace(
        again[0], symptom=Symptom.ORDER_DEPENDENT, message=f"{again[0].message} with programs in another order"
    )
    return _repeated(problem, first, launch) or [reordered]


def _difference(first: KernelRun, second: KernelRun, oracle: str, symptom: Symptom, second_run: str) -> list[Violation]:
    if (first.lse is None) != (second.lse is None):
        return [Violation(oracle, symptom, "lse", f"lse is returned by only one: the first run, or that {second_run}")]
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
                    f"{count} of {a.numel()} elements of {name} differ in their bits from those {second_run}",
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
