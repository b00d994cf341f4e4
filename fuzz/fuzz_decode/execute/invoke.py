"""One call of a target: its arguments, its result, and how it can fail."""

from __future__ import annotations

import contextlib
import traceback
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.outcome import Violation
from fuzz_decode.problems.poison import POISON, poisoned_allocations
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target


class TargetFailed(Exception):
    """The call itself failed: the finding says how."""

    def __init__(self, finding: Violation) -> None:
        super().__init__(finding.message)
        self.finding = finding


class TargetRejected(Exception):
    """The target raised NotImplementedError."""


def invoke(problem: Problem, target: Target, dirt: int | None = POISON, *, give_out: bool = True) -> tuple[Tensor, Tensor | None]:
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
        with contextlib.nullcontext() if dirt is None else poisoned_allocations(dirt):
            result = target.fn(*problem.arguments(), **{name: options[name] for name in sorted(passed)})
        if problem.q.device.type == "cuda":
            torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raised = _unwrapped(error)
        if isinstance(raised, NotImplementedError):
            raise TargetRejected(" ".join(f"NotImplementedError: {raised}".split())[:200]) from error
        raise TargetFailed(Violation("contract", f"exception-{type(raised).__name__}", "call", _raised(raised))) from error
    return result


def _checked(name: str, got: Any, shape: torch.Size, dtype: torch.dtype, problem: Problem) -> Tensor:
    """The result, if it is what it must be."""
    if not isinstance(got, Tensor):
        raise TargetFailed(Violation("contract", "wrong-shape", name, f"{name} is {type(got).__name__}, not a tensor"))
    if (got.shape, got.dtype, got.device) != (shape, dtype, problem.q.device):
        wanted = f"{list(shape)} {dtype} on {problem.q.device}"
        message = f"{name} is {list(got.shape)} {got.dtype} on {got.device}, not {wanted}"
        raise TargetFailed(Violation("contract", "wrong-shape", name, message))
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
