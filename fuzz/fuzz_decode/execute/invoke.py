"""One call of a target: its arguments, its result, and how the call can fail."""

from __future__ import annotations

import contextlib
import traceback
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems import poison
from fuzz_decode.problems.poison import POISON, poisoned_allocations
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target

# torch's CPU allocator raises a plain RuntimeError, and errors are not sorted by their text: that one is exception-RuntimeError
OUT_OF_MEMORY_ERRORS = (torch.OutOfMemoryError, MemoryError)


class TargetFailed(Exception):
    """The call itself failed: the finding says how."""

    def __init__(self, finding: Violation) -> None:
        super().__init__(finding.message)
        self.finding = finding


class TargetRejected(Exception):
    """The target raised NotImplementedError."""


def invoke(problem: Problem, target: Target, fill: int | None = POISON, *, give_out: bool = True) -> tuple[Tensor, Tensor | None]:
    """The target's out and lse, if it returns one, on the CPU. Memory that the target allocates is filled with the byte `fill`,
    if that is not None. Unless `give_out`, `out` is not passed. Raises TargetFailed or TargetRejected."""
    out, lse = invoke_on_device(problem, target, fill, give_out=give_out)
    return out.cpu(), None if lse is None else lse.cpu()


def invoke_on_device(problem: Problem, target: Target, fill: int | None, *, give_out: bool) -> tuple[Tensor, Tensor | None]:
    """The same, without the copy to the CPU."""
    options = target.options if give_out else target.options - {"out"}
    result = _call(problem, target, options, fill)
    out, lse = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    if "out" in options:
        out = problem.out  # a target must write here, whatever it returns
    checked_lse = None if lse is None else _checked("lse", lse, problem.out.shape[:2], torch.float32, problem)
    return _checked("out", out, problem.out.shape, problem.q.dtype, problem), checked_lse


def _call(problem: Problem, target: Target, passed: frozenset[str], fill: int | None) -> Any:
    """The target's result, once the device has finished."""
    options = {"out": problem.out, **problem.options()}
    try:
        with contextlib.nullcontext() if fill is None else poisoned_allocations(fill):
            result = target.fn(*problem.arguments(), **{name: options[name] for name in sorted(passed)})
        if problem.q.device.type == "cuda":
            torch.cuda.synchronize()  # launches are asynchronous: what a kernel raises, it raises here
    except Exception as error:
        raise _failure_of_call(_unwrapped(error)) from error
    return result


def _failure_of_call(error: BaseException) -> TargetRejected | TargetFailed:
    """An exception as what it means: the target refuses the case, or fails on it."""
    if isinstance(error, NotImplementedError):
        return TargetRejected(" ".join(f"NotImplementedError: {error}".split())[:200])
    if isinstance(error, OUT_OF_MEMORY_ERRORS):
        first_line = "".join(traceback.format_exception_only(error)).splitlines()[0]
        return TargetFailed(Violation("contract", Symptom.OUT_OF_MEMORY, "call", first_line[:300] + _line_of(error)))
    return TargetFailed(Violation("contract", Symptom.EXCEPTION, "call", _raised(error), detail=type(error).__name__))


def _checked(name: str, got: Any, shape: torch.Size, dtype: torch.dtype, problem: Problem) -> Tensor:
    """A returned tensor, if its shape, dtype and device are those of the contract. Raises TargetFailed."""
    if not isinstance(got, Tensor):
        raise TargetFailed(Violation("contract", Symptom.WRONG_SHAPE, name, f"{name} is {type(got).__name__}, not a tensor"))
    if (got.shape, got.dtype, got.device) != (shape, dtype, problem.q.device):
        expected = f"{list(shape)} {dtype} on {problem.q.device}"
        message = f"{name} is {list(got.shape)} {got.dtype} on {got.device}, not {expected}"
        raise TargetFailed(Violation("contract", Symptom.WRONG_SHAPE, name, message))
    return got


def _unwrapped(error: BaseException) -> BaseException:
    """What a kernel raised, without the errors that Triton's interpreter wraps around it."""
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _raised(error: BaseException) -> str:
    """The exception and the line that raised it."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text[:300] + _line_of(error)


def _line_of(error: BaseException) -> str:
    """Where an exception was raised: ` at kernel.py:12`."""
    # torch.empty of a target is called through the mode that poisons allocations
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != poison.__file__]
    return f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
