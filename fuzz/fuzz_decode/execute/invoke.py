"""One call of a target: its arguments, its result, and how the call can fail."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.execute.raised import calls_to, raised, target_lines, text_of, type_name, unwrapped
from fuzz_decode.execute.watch import supported_launches
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.allocations import poisoned_allocations
from fuzz_decode.problems.poison import POISON
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target
from fuzz_decode.text import one_line

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
    out, lse = _call(problem, target, options, fill)
    if "out" in options:
        out = problem.out  # a target must write here, whatever it returns
    checked_lse = None if lse is None else _checked("lse", lse, problem.out.shape[:2], torch.float32, problem)
    return _checked("out", out, problem.out.shape, problem.q.dtype, problem), checked_lse


def _call(problem: Problem, target: Target, passed: frozenset[str], fill: int | None) -> tuple[Any, Any]:
    """The target's out and lse, or whatever it returned instead. Raises UnsupportedKernel, too."""
    with supported_launches():
        return _result(problem, target, passed, fill)


def _result(problem: Problem, target: Target, passed: frozenset[str], fill: int | None) -> tuple[Any, Any]:
    """The same once the device has finished."""
    options = {"out": problem.out, **problem.options()}
    try:
        with contextlib.nullcontext() if fill is None else poisoned_allocations(fill):
            result = target.fn(*problem.arguments(), **{name: options[name] for name in sorted(passed)})
        if problem.q.device.type == "cuda":
            torch.cuda.synchronize()  # launches are asynchronous: what a kernel raises, it raises here
        out, lse = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
    except BaseException as error:
        if not isinstance(error, (Exception, SystemExit)) and not _only_the_target_raises_here():
            raise
        raise _failure_of_call(error) from error
    return out, lse


def _only_the_target_raises_here() -> bool:
    """Whether this is a worker, which ignores Ctrl-C. Elsewhere an interrupt or a test runner's timeout may come from outside."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _failure_of_call(wrapped: BaseException) -> TargetRejected | TargetFailed:
    """An exception as what it means: the target refuses the case, or fails on it."""
    error = unwrapped(wrapped)
    if isinstance(error, NotImplementedError):
        return TargetRejected(one_line(" ".join(f"NotImplementedError: {text_of(error)}".split()), 200))
    no_memory = isinstance(error, OUT_OF_MEMORY_ERRORS)
    finding = Violation(
        "contract",
        Symptom.OUT_OF_MEMORY if no_memory else Symptom.EXCEPTION,
        "call",
        raised(wrapped, first_line=no_memory),
        calls=calls_to(wrapped),
        detail="" if no_memory else type_name(error),
        place="".join(target_lines(wrapped)[-1:]),
    )
    return TargetFailed(finding)


def _checked(name: str, got: Any, shape: torch.Size, dtype: torch.dtype, problem: Problem) -> Tensor:
    """A returned tensor, if its shape, dtype and device are those of the contract. Raises TargetFailed."""
    expected = f"{list(shape)} {dtype} on {problem.q.device}"
    if type(got) in (tuple, list):
        of_them = f"a {type(got).__name__} of {len(got)}"
        what = f"the target returned {of_them}, not out or (out, lse)" if name == "out" else f"lse is {of_them}, not a tensor"
        raise TargetFailed(Violation("contract", Symptom.WRONG_SHAPE, name, what))
    if not issubclass(type(got), Tensor):
        raise _wrong(Symptom.WRONG_SHAPE, name, f"{type_name(got)}, not a tensor")
    if type(got) is not Tensor:
        if type(got).__torch_dispatch__ is not Tensor.__torch_dispatch__:
            raise _wrong(Symptom.WRONG_SHAPE, name, f"a {type_name(got)}, which stands for other tensors, not {expected}")
        with torch._C.DisableTorchFunctionSubclass():
            got = got.as_subclass(Tensor)
    if got.is_nested or got.layout is not torch.strided:
        kind = "nested" if got.is_nested else got.layout
        raise _wrong(Symptom.WRONG_SHAPE, name, f"a {kind} tensor, not a dense one of {expected}")
    wrong = {
        Symptom.WRONG_SHAPE: got.shape != shape,
        Symptom.WRONG_DTYPE: got.dtype != dtype,
        Symptom.WRONG_DEVICE: got.device != problem.q.device,
    }
    for symptom in (symptom for symptom, is_wrong in wrong.items() if is_wrong):
        raise _wrong(symptom, name, f"{list(got.shape)} {got.dtype} on {got.device}, not {expected}")
    tensor: Tensor = got.resolve_neg()  # the same, unless it is a view that negates
    return tensor


def _wrong(symptom: Symptom, name: str, what: str) -> TargetFailed:
    return TargetFailed(Violation("contract", symptom, name, f"{name} is {what}"))
