"""A fault: a named change of the correct access model, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import get_args

from fuzz_decode.diagnose.access_model import AccessModel, Part, TensorView, replace
from fuzz_decode.problems.problem import Problem

# None where the fault changes nothing or makes no sense
Change = Callable[[Problem, AccessModel], AccessModel | None]
Words = Callable[[Problem, AccessModel, AccessModel], str]

NAMES = {"q": "q", "k": "K", "v": "V", "out": "out", "table": "the block table"}
AXES = {
    "q": ("row", "head", "dim"),
    "out": ("row", "head", "dim"),
    "k": ("block", "slot", "head", "dim"),
    "v": ("block", "slot", "head", "dim"),
    "table": ("sequence", "column"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a kernel does wrong."""

    name: str
    """Stored in case files and compared by evaluations: never change it."""
    change: Change
    """Makes the faulty model of a problem's correct one."""
    words: Words
    """What is wrong, given the problem and both models."""

    def apply(self, problem: Problem, correct: AccessModel) -> AccessModel | None:
        """The faulty model; None where it is the correct one."""
        faulty = self.change(problem, correct)
        return None if faulty == correct else faulty

    def sentence(self, problem: Problem, correct: AccessModel) -> str:
        """What is wrong on this problem. Only where the fault applies."""
        return self.words(problem, correct, self.apply(problem, correct) or correct)


def simple(name: str, words: str, change: Change) -> Fault:
    """A fault whose sentence needs no numbers."""
    return Fault(name, change, lambda problem, correct, faulty: words)


def misplaced(name: str, tensor: str, why: str, move: Callable[[Problem, AccessModel], TensorView | None]) -> Fault:
    """A tensor that is taken to lie elsewhere; `why` says how its offset and strides came about."""

    def change(problem: Problem, correct: AccessModel) -> AccessModel | None:
        view = move(problem, correct)
        return None if view is None else replace(correct, "addresses", **{tensor: view})

    return Fault(name, change, lambda problem, correct, faulty: moved(tensor, correct, faulty, why))


def together(name: str, *faults: Fault) -> Fault:
    """Several faults at once; one that does not apply is left out."""

    def change(problem: Problem, correct: AccessModel) -> AccessModel | None:
        # each is applied to the correct model, so that none sees what another one moved
        changes = [faulty for fault in faults if (faulty := fault.apply(problem, correct)) is not None]
        return merged(correct, changes) if changes else None

    def words(problem: Problem, correct: AccessModel, faulty: AccessModel) -> str:
        return ", and ".join(fault.sentence(problem, correct) for fault in faults if fault.apply(problem, correct))

    return Fault(name, change, words)


def merged(correct: AccessModel, changes: list[AccessModel]) -> AccessModel:
    """The model with every field that one of the changes changes."""
    result = correct
    for part in get_args(Part):
        before = getattr(correct, part)
        for faulty in changes:
            after = getattr(faulty, part)
            changed = {f.name: getattr(after, f.name) for f in fields(after) if getattr(after, f.name) != getattr(before, f.name)}
            result = replace(result, part, **changed)
    return result


def moved(tensor: str, correct: AccessModel, faulty: AccessModel, why: str) -> str:
    """`block stride of K read as 64 (block_size * slot stride) instead of 128 (stride(0))`."""
    was, now = getattr(correct.addresses, tensor), getattr(faulty.addresses, tensor)
    verb = "written" if tensor == "out" else "read"
    differ = [axis for axis in range(len(was.strides)) if was.strides[axis] != now.strides[axis]]
    if (was.buffer, was.offset) != (now.buffer, now.offset):
        start = (
            f"{now.offset - was.offset:+} elements from its start"
            if was.buffer == now.buffer
            else f"in the memory of {now.buffer}"
        )
        strides = f", strides {now.strides} instead of {was.strides}" if differ else ""
        return f"{NAMES[tensor]} {verb} {start} ({why}){strides}"
    if was.bits != now.bits:
        return f"addresses of {NAMES[tensor]} computed in {why}"
    if len(differ) == 1:
        (axis,) = differ
        which = f"{AXES[tensor][axis]} stride of {NAMES[tensor]}"
        return f"{which} {verb} as {now.strides[axis]} ({why}) instead of {was.strides[axis]} (stride({axis}))"
    return f"strides of {NAMES[tensor]} {verb} as {now.strides} ({why}) instead of {was.strides} (stride())"
