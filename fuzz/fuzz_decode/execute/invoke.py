"""One call of a target: its arguments, its result, and how the call can fail."""

from __future__ import annotations

import contextlib
import re
import signal
import traceback
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems import poison
from fuzz_decode.problems.poison import POISON, poisoned_allocations
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target
from fuzz_decode.text import one_line

# torch's CPU allocator raises a plain RuntimeError, and errors are not sorted by their text: that one is exception-RuntimeError
OUT_OF_MEMORY_ERRORS = (torch.OutOfMemoryError, MemoryError)
MAX_NAME = 60  # characters of an exception's type


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
    out, lse = _call(problem, target, options, fill)
    if "out" in options:
        out = problem.out  # a target must write here, whatever it returns
    checked_lse = None if lse is None else _checked("lse", lse, problem.out.shape[:2], torch.float32, problem)
    return _checked("out", out, problem.out.shape, problem.q.dtype, problem), checked_lse


def _call(problem: Problem, target: Target, passed: frozenset[str], fill: int | None) -> tuple[Any, Any]:
    """The target's out and lse, or whatever it returned instead, once the device has finished."""
    options = {"out": problem.out, **problem.options()}
    try:
        with contextlib.nullcontext() if fill is None else poisoned_allocations(fill):
            result = target.fn(*problem.arguments(), **{name: options[name] for name in sorted(passed)})
        if problem.q.device.type == "cuda":
            torch.cuda.synchronize()  # launches are asynchronous: what a kernel raises, it raises here
        out, lse = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    except BaseException as error:
        if _is_for_us(error):
            raise
        raise _failure_of_call(_unwrapped(error)) from error
    return out, lse


def _is_for_us(error: BaseException) -> bool:
    """Whether somebody interrupts this program. In a worker, which ignores Ctrl-C, it is the target that raises anything."""
    return not isinstance(error, (Exception, SystemExit)) and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def _failure_of_call(error: BaseException) -> TargetRejected | TargetFailed:
    """An exception as what it means: the target refuses the case, or fails on it."""
    if isinstance(error, NotImplementedError):
        return TargetRejected(one_line(" ".join(f"NotImplementedError: {_text_of(error)}".split()), 200))
    if isinstance(error, OUT_OF_MEMORY_ERRORS):
        first_line = one_line("".join(traceback.format_exception_only(error)).splitlines()[0], 300)
        return TargetFailed(Violation("contract", Symptom.OUT_OF_MEMORY, "call", first_line + _line_of(error)))
    return TargetFailed(Violation("contract", Symptom.EXCEPTION, "call", _raised(error), detail=_type_name(error)))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as other:  # an exception's own method may raise
        return f"<its text raised {_type_name(other)}>"


def _type_name(value: object) -> str:
    """The name of its type, as far as it looks like a name: it becomes part of a signature."""
    name: str = type.__dict__["__name__"].__get__(type(value))  # a metaclass may have another
    return re.sub(r"\W", "_", name)[:MAX_NAME]


def _checked(name: str, got: Any, shape: torch.Size, dtype: torch.dtype, problem: Problem) -> Tensor:
    """A returned tensor, if its shape, dtype and device are those of the contract. Raises TargetFailed."""
    expected = f"{list(shape)} {dtype} on {problem.q.device}"
    if not issubclass(type(got), Tensor):
        raise _wrong_shape(name, f"{_type_name(got)}, not a tensor")
    if type(got) is not Tensor:
        if type(got).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise _wrong_shape(name, f"a {_type_name(got)}, which stands for other tensors, not {expected}")
        with torch._C.DisableTorchFunctionSubclass():
            got = got.as_subclass(Tensor)
    if got.is_nested or got.layout is not torch.strided:
        raise _wrong_shape(name, f"a {'nested' if got.is_nested else got.layout} tensor, not a dense one of {expected}")
    if (got.shape, got.dtype, got.device) != (shape, dtype, problem.q.device):
        raise _wrong_shape(name, f"{list(got.shape)} {got.dtype} on {got.device}, not {expected}")
    tensor: Tensor = got.resolve_neg()  # the same, unless it is a view that negates
    return tensor


def _wrong_shape(name: str, what: str) -> TargetFailed:
    return TargetFailed(Violation("contract", Symptom.WRONG_SHAPE, name, f"{name} is {what}"))


def _unwrapped(error: BaseException) -> BaseException:
    """What a kernel raised, without the errors that Triton's interpreter wraps around it."""
    while type(error).__name__ == "InterpreterError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _raised(error: BaseException) -> str:
    """The exception and the line that raised it."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return one_line(text, 300) + _line_of(error)


def _line_of(error: BaseException) -> str:
    """Where an exception was raised: ` at kernel.py:12`."""
    # torch.empty of a target is called through the mode that poisons allocations
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != poison.__file__]
    return f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
