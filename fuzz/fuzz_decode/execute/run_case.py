"""One case through one target: build, launch, compare."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.gpu_lock import alone_if_large
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected, _answer, invoke
from fuzz_decode.oracles.expected import Expected, expect
from fuzz_decode.oracles.guards import input_bytes, snapshot
from fuzz_decode.oracles.immediate import IMMEDIATE
from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.oracles.repeatability import repeatable
from fuzz_decode.outcome import PASSED, REJECTED, Outcome, Violation, failure
from fuzz_decode.problems.build import build_problem, is_small
from fuzz_decode.problems.poison import POISON
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.transfer import copy_to_device
from fuzz_decode.targets.target import Target


def run_case(case: Case, target: Target, device: str, memory: str = "poisoned") -> Outcome:
    """Build the case on `device`, run the target on it and ask every oracle. Only a fault of the harness raises.

    `memory` is one of `build.MEMORY`; memory that the target allocates comes dirty when it is "poisoned".
    """
    return run_checked(case, target, device, lambda: _examine(case, target, device, memory))


def run_checked(case: Case, target: Target, device: str, examine: Callable[[], list[Violation]]) -> Outcome:
    """The outcome of what `examine` finds, or of how the target failed it."""
    started = time.perf_counter()
    reason = target.unsupported_reason(case)
    if reason is not None:
        return Outcome(REJECTED, "build", reason=reason)
    try:
        with alone_if_large(case, device):
            findings = examine()
    except (torch.OutOfMemoryError, MemoryError):
        return Outcome(REJECTED, "build", reason="not enough memory")
    except TargetRejected as rejection:
        return Outcome(REJECTED, "run", reason=str(rejection))
    except TargetFailed as failed:
        return failure("run", failed.finding, seconds=time.perf_counter() - started)
    seconds = time.perf_counter() - started
    return failure("compare", *findings, seconds=seconds) if findings else Outcome(PASSED, seconds=seconds)


def _examine(case: Case, target: Target, device: str, memory: str) -> list[Violation]:
    """Small cases are built on the CPU, answered there by the reference and judged there."""
    where = "cpu" if is_small(case) else device
    problem = build_problem(case, where, memory=memory)
    expected = expect(problem, target, device)

    def launch(again: Problem) -> KernelRun:
        return _launch(again, expected, target, device, give_out=again is problem or not target.may_allocate)

    def relay(plain: Case) -> Problem:
        return build_problem(plain, where, problem.values, memory)

    run = launch(problem)
    return _judge(problem, run) or repeatable(problem, run, target.arithmetic_of(case), launch, _judge, relay)


def _judge(problem: Problem, run: KernelRun) -> list[Violation]:
    """The findings, those on lse last: a fault that spoils both is named after out, however it shows in lse."""
    findings = [finding for oracle in IMMEDIATE for finding in oracle(run.left or problem, run)]
    return sorted(findings, key=lambda finding: finding.tensor == "lse")


def _launch(problem: Problem, expected: Expected, target: Target, device: str, *, give_out: bool) -> KernelRun:
    dirt = POISON if problem.memory == "poisoned" else None
    if problem.q.device.type == device:
        before = snapshot(problem)
        return KernelRun(*invoke(problem, target, dirt, give_out=give_out), expected, before)
    sent = copy_to_device(problem, device)
    out, lse = _answer(sent.problem, target, dirt, give_out=give_out)
    left = sent.left()
    got = sent.out(left) if out is sent.problem.out else out.cpu()
    return KernelRun(got, None if lse is None else lse.cpu(), expected, input_bytes(problem), left)
