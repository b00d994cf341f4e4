"""One case through one target: build, call, judge."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.gpu_lock import alone_if_large, release_memory
from fuzz_decode.execute.invoke import (
    OUT_OF_MEMORY_ERRORS,
    TargetFailed,
    TargetRejected,
    invoke,
    invoke_on_device,
)
from fuzz_decode.execute.prepare import prepare
from fuzz_decode.execute.watch import another_order, watched
from fuzz_decode.oracles.catalogue import IMMEDIATE
from fuzz_decode.oracles.expected import Expected, expect
from fuzz_decode.oracles.guards import input_bytes, snapshot
from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.oracles.launches import UNWRITTEN
from fuzz_decode.oracles.repeatability import Order, repeatable
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.problems.build import build_problem, is_small
from fuzz_decode.problems.poison import allocation_fill
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.transfer import copy_to_device
from fuzz_decode.targets.target import Target

NOT_ENOUGH_MEMORY = "not enough memory"  # to build the case, or to judge it


def run_case(case: Case, target: Target, device: str, memory: str = "poisoned") -> Outcome:
    """Build the case on `device`, run the target on it and ask every oracle. Only a fault of the harness raises.

    `memory` is one of `build.MEMORY`; memory that the target allocates is poisoned, too, when it is "poisoned".
    """
    return run_checked(case, target, device, lambda: _run_and_judge(case, target, device, memory))


def run_checked(case: Case, target: Target, device: str, examine: Callable[[], list[Violation]]) -> Outcome:
    """The outcome of a case: what `examine` (build, call, judge) finds, or why it could not."""
    reason = target.unsupported_reason(case)
    if reason is not None:
        return Outcome(Status.REJECTED, Stage.BUILD, reason=reason)
    with alone_if_large(case, device):
        outcome = _outcome_of(examine)
        if _ran_out_of_memory(outcome):
            release_memory(device)
    return outcome


def _outcome_of(examine: Callable[[], list[Violation]]) -> Outcome:
    """Memory that the harness lacks rejects the case; memory that the target lacks is a finding (TargetFailed)."""
    started = time.perf_counter()
    try:
        findings = examine()
    except OUT_OF_MEMORY_ERRORS:
        return Outcome(Status.REJECTED, Stage.BUILD, reason=NOT_ENOUGH_MEMORY)
    except TargetRejected as rejection:
        return Outcome(Status.REJECTED, Stage.RUN, reason=str(rejection))
    except TargetFailed as failed:
        return failure(Stage.RUN, failed.finding, seconds=time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return failure(Stage.COMPARE, *findings, seconds=seconds) if findings else Outcome(Status.PASSED, seconds=seconds)


def _ran_out_of_memory(outcome: Outcome) -> bool:
    return outcome.reason == NOT_ENOUGH_MEMORY or any(finding.symptom is Symptom.OUT_OF_MEMORY for finding in outcome.findings)


def _run_and_judge(case: Case, target: Target, device: str, memory: str) -> list[Violation]:
    """Build the case, call the target, ask the oracles. A small case is built, answered by the reference and judged on the CPU,
    wherever the target runs: that takes one copy to the GPU and one back."""
    home = "cpu" if is_small(case) else device
    problem = prepare(case, target, home, memory)
    expected = expect(problem, target, device)

    def launch(other: Problem, order: Order | None = None) -> KernelRun:
        give_out = other is problem or not target.may_allocate
        with watched(order) as record:
            run = _launch(other, expected, target, device, give_out=give_out)
        return dataclasses.replace(run, launches=record)

    def rebuild(plain: Case) -> Problem:
        return build_problem(target.strides.nearest(plain), home, problem.values, memory)

    run = launch(problem)
    order = another_order(case.seed)
    return _judge(problem, run) or repeatable(problem, run, target.arithmetic_of(case), launch, _judge, rebuild, order)


def _launch(problem: Problem, expected: Expected, target: Target, device: str, *, give_out: bool) -> KernelRun:
    """Call the target on the problem, where it lies or on a copy on `device`."""
    fill = allocation_fill(problem.case) if problem.memory == "poisoned" else None
    if problem.q.device.type == device:
        before = snapshot(problem)
        return KernelRun(*invoke(problem, target, fill, give_out=give_out), expected, before)
    sent = copy_to_device(problem, device)
    out, lse = invoke_on_device(sent.problem, target, fill, give_out=give_out)
    after = sent.read_back()
    got = sent.out_of(after) if out is sent.problem.out else out.cpu()
    return KernelRun(got, None if lse is None else lse.cpu(), expected, input_bytes(problem), after=after)


def _judge(problem: Problem, run: KernelRun) -> list[Violation]:
    """The violations. Those of lse come late: a fault that spoils both is named after out, however it shows in lse. Where memory
    that nothing wrote spoils a result, the result names it."""
    violations = [violation for oracle in IMMEDIATE for violation in oracle(run.after or problem, run)]
    return sorted(violations, key=lambda violation: (violation.oracle == UNWRITTEN, violation.tensor == "lse"))
