"""What an engine noticed while it ran the kernels: accesses outside of storages, and values that nothing defines."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fuzz_decode.launches.record import OutOfBoundsAccess, UndefinedUse
from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.problem import Problem
from fuzz_decode.text import counted

UNWRITTEN = "unwritten memory"  # oracle
USES = {
    "store": "is stored to {}",
    "address": "is part of an address in {}",
    "mask": "masks an access to {}",
    "branch": "decides a branch",
}


def stays_in_bounds(problem: Problem, run: KernelRun) -> list[Violation]:
    """No kernel read or wrote outside of the storages of its tensors; guards around a tensor lie inside."""
    access, count = run.launches.out_of_bounds, run.launches.out_of_bounds_elements
    if access is None:
        return []
    message = f"{_accessed(access)}, {counted(count, 'element')} in all"
    return [Violation("launches", Symptom.OUT_OF_BOUNDS, "call", message, wrong=count, detail=access.tensor)]


def uses_defined_values(problem: Problem, run: KernelRun) -> list[Violation]:
    """No result depends on masked lanes of a load without `other`. What is stored elsewhere may never be read."""
    return _violation("launches", (use for use in _uses(problem, run) if use.unwritten is None), run)


def uses_written_memory(problem: Problem, run: KernelRun) -> list[Violation]:
    """No result depends on memory that the target allocated and that nothing wrote."""
    return _violation(UNWRITTEN, (use for use in _uses(problem, run) if use.unwritten is not None), run)


def _uses(problem: Problem, run: KernelRun) -> Iterator[UndefinedUse]:
    results = _result_storages(problem, run)
    return (use for use in run.launches.undefined if use.use != "store" or use.storage in results)


def _violation(oracle: str, uses: Iterator[UndefinedUse], run: KernelRun) -> list[Violation]:
    """What is said of the first use."""
    use, count = next(uses, None), run.launches.undefined_elements
    if use is None:
        return []
    what = USES.get(use.use, "is used for {}").format(use.tensor)
    message = f"{_origin(use)} {what} in {use.place.words}, {counted(count, 'element')} in all"
    tensor = use.unwritten.name if use.unwritten else use.tensor or use.use
    return [Violation(oracle, Symptom.UNDEFINED_VALUE, "call", message, wrong=count, detail=tensor)]


def _origin(use: UndefinedUse) -> str:
    if use.unwritten is None:
        return "the value of a masked lane"
    memory = "memory that holds an undefined value" if use.unwritten.stored else "memory that nothing wrote"
    return f"the kernel reads {memory}, of {use.unwritten.tensor}, in {use.unwritten.place.words}: it"


def _accessed(access: OutOfBoundsAccess) -> str:
    """`k_cache read 512 bytes after its storage in line 42 of decode.py, program (3, 0, 0)`."""
    verb = "written" if access.stored else "read"
    place = f" in {access.place.words}" if access.place else ""
    return f"{access.tensor} was {verb} {abs(access.bytes)} bytes {access.side} its storage{place}"


def _result_storages(problem: Problem, run: KernelRun) -> set[int]:
    results: list[Tensor] = [problem.out, run.out, *([] if run.lse is None else [run.lse])]
    return {tensor.untyped_storage().data_ptr() for tensor in results}
