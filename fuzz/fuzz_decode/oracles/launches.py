"""What an engine noticed while it ran the kernels: accesses outside of storages, and values that nothing defines."""

from __future__ import annotations

from torch import Tensor

from fuzz_decode.launches.record import OutOfBoundsAccess
from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.problem import Problem
from fuzz_decode.text import counted

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
    use, count = run.launches.undefined, run.launches.undefined_elements
    if use is None or (use.use == "store" and use.storage not in _result_storages(problem, run)):
        return []
    what = USES.get(use.use, "is used for {}").format(use.tensor)
    message = f"the value of a masked lane {what} in {use.place.words}, {counted(count, 'element')} in all"
    return [Violation("launches", Symptom.UNDEFINED_VALUE, "call", message, wrong=count, detail=use.tensor or use.use)]


def _accessed(access: OutOfBoundsAccess) -> str:
    """`k_cache read 512 bytes after its storage in line 42 of decode.py, program (3, 0, 0)`."""
    verb = "written" if access.stored else "read"
    place = f" in {access.place.words}" if access.place else ""
    return f"{access.tensor} was {verb} {abs(access.bytes)} bytes {access.side} its storage{place}"


def _result_storages(problem: Problem, run: KernelRun) -> set[int]:
    results: list[Tensor] = [problem.out, run.out, *([] if run.lse is None else [run.lse])]
    return {tensor.untyped_storage().data_ptr() for tensor in results}
