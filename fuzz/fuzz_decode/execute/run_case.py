"""One case through one target: build, launch, compare."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import CACHE_DTYPES
from fuzz_decode.oracles import IMMEDIATE
from fuzz_decode.oracles.guards import input_bytes, snapshot
from fuzz_decode.oracles.kernel_run import Expected, Run
from fuzz_decode.oracles.repeatability import repeatable
from fuzz_decode.outcome import PASSED, REJECTED, Finding, Outcome, failure
from fuzz_decode.problems.build import POISON, Problem, alone_if_large, build, dirty_allocations, is_small
from fuzz_decode.problems.transfer import ship
from fuzz_decode.targets.target import Arithmetic, Target
from fuzz_decode_reference import ErrorBound, Rounding, attention_and_bound
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

TANH_APPROX = 2.0**-11  # largest relative error of tanh.approx.f32, PTX ISA


class TargetFailed(Exception):
    """The call itself failed: the finding says how."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class TargetRejected(Exception):
    """The target raised NotImplementedError."""


def run_case(case: Case, target: Target, device: str, memory: str = "poisoned") -> Outcome:
    """Build the case on `device`, run the target on it and ask every oracle. Only a fault of the harness raises.

    `memory` is one of `build.MEMORY`; memory that the target allocates comes dirty when it is "poisoned".
    """
    return guarded(case, target, device, lambda: _examine(case, target, device, memory))


def guarded(case: Case, target: Target, device: str, examine: Callable[[], list[Finding]]) -> Outcome:
    """The outcome of what `examine` finds, or of how the target failed it."""
    started = time.perf_counter()
    reason = target.why_unsupported(case)
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


def expect(problem: Problem, target: Target, device: str | None = None) -> Expected:
    """The reference's answer, on the CPU, and how far the target may be from it on `device` (the problem's own, if None)."""
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
    )


def _examine(case: Case, target: Target, device: str, memory: str) -> list[Finding]:
    """Small cases are built on the CPU, answered there by the reference and judged there."""
    where = "cpu" if is_small(case) else device
    problem = build(case, where, memory=memory)
    expected = expect(problem, target, device)

    def launch(again: Problem) -> Run:
        return _launch(again, expected, target, device, give_out=again is problem or not target.may_allocate)

    def relay(plain: Case) -> Problem:
        return build(plain, where, problem.values, memory)

    run = launch(problem)
    return _judge(problem, run) or repeatable(problem, run, target.arithmetic_of(case), launch, _judge, relay)


def _judge(problem: Problem, run: Run) -> list[Finding]:
    """The findings, those on lse last: a fault that spoils both is named after out, however it shows in lse."""
    findings = [finding for oracle in IMMEDIATE for finding in oracle(run.left or problem, run)]
    return sorted(findings, key=lambda finding: finding.tensor == "lse")


def _launch(problem: Problem, expected: Expected, target: Target, device: str, *, give_out: bool) -> Run:
    dirt = POISON if problem.memory == "poisoned" else None
    if problem.q.device.type == device:
        before = snapshot(problem)
        return Run(*returned(problem, target, dirt, give_out=give_out), expected, before)
    sent = ship(problem, device)
    out, lse = _answer(sent.problem, target, dirt, give_out=give_out)
    left = sent.left()
    got = sent.out(left) if out is sent.problem.out else out.cpu()
    return Run(got, None if lse is None else lse.cpu(), expected, input_bytes(problem), left)


def returned(
    problem: Problem, target: Target, dirt: int | None = POISON, *, give_out: bool = True
) -> tuple[Tensor, Tensor | None]:
    """The target's out and lse, if it returns one, on the CPU. Memory that it allocates is filled with the byte `dirt`, if that
    is not None; unless `give_out`, that is where out lies. Raises TargetFailed or TargetRejected."""
    out, lse = _answer(problem, target, dirt, give_out=give_out)
    return out.cpu(), None if lse is None else lse.cpu()


def _answer(problem: Problem, target: Target, dirt: int | None, *, give_out: bool) -> tuple[Tensor, Tensor | None]:
    """The same where the problem lies."""
    options = target.options if give_out else target.options - {"out"}
    result = _call(problem, target, options, dirt)
    out, lse = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if "out" in options:
        out = problem.out
    checked_lse = None if lse is None else _checked("lse", lse, problem.out.shape[:2], torch.float32, problem)
    return _checked("out", out, problem.out.shape, problem.q.dtype, problem), checked_lse


def _call(problem: Problem, target: Target, passed: frozenset[str], dirt: int | None) -> Any:
    """The target's result, once the device has finished."""
    options = {"out": problem.out, **problem.options()}
    try:
        with contextlib.nullcontext() if dirt is None else dirty_allocations(dirt):
            result = target.fn(*problem.arguments(), **{name: options[name] for name in sorted(passed)})
        if problem.q.device.type == "cuda":
            torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raised = _unwrapped(error)
        if isinstance(raised, NotImplementedError):
            raise TargetRejected(" ".join(f"NotImplementedError: {raised}".split())[:200]) from error
        raise TargetFailed(Finding("contract", f"exception-{type(raised).__name__}", "call", _raised(raised))) from error
    return result


def _checked(name: str, got: Any, shape: torch.Size, dtype: torch.dtype, problem: Problem) -> Tensor:
    """The result, if it is what it must be."""
    if not isinstance(got, Tensor):
        raise TargetFailed(Finding("contract", "wrong-shape", name, f"{name} is {type(got).__name__}, not a tensor"))
    if (got.shape, got.dtype, got.device) != (shape, dtype, problem.q.device):
        wanted = f"{list(shape)} {dtype} on {problem.q.device}"
        message = f"{name} is {list(got.shape)} {got.dtype} on {got.device}, not {wanted}"
        raise TargetFailed(Finding("contract", "wrong-shape", name, message))
    return got


def _unwrapped(error: BaseException) -> BaseException:
    """What a kernel raised, without the interpreter's own errors around it."""
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _raised(error: BaseException) -> str:
    """The exception and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text[:300] + at
