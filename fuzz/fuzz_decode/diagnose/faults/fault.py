"""A fault: a named change of a correct Reading, and the sentence that says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, fields

from fuzz_decode.diagnose.access_model import AccessModel, TensorView
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
    """`change` makes the faulty reading of a correct one; `words` says what is wrong, given both."""

    name: str
    change: Change
    words: Words

    def apply(self, problem: Problem, correct: AccessModel) -> AccessModel | None:
        """The faulty reading; None where it is the correct one."""
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
        place = move(problem, correct)
        return None if place is None else with_place(correct, tensor, place)

    return Fault(name, change, lambda problem, correct, faulty: moved(tensor, correct, faulty, why))


def together(name: str, *faults: Fault) -> Fault:
    """Several faults at once, where each of them makes sense; one that changes nothing is no obstacle."""

    def change(problem: Problem, correct: AccessModel) -> AccessModel | None:
        # each is asked about the correct reading, so that one does not see what another one moved
        changes = [faulty for fault in faults if (faulty := fault.apply(problem, correct)) is not None]
        return merged(correct, changes) if changes else None

    def words(problem: Problem, correct: AccessModel, faulty: AccessModel) -> str:
        return ", and ".join(fault.sentence(problem, correct) for fault in faults if fault.apply(problem, correct))

    return Fault(name, change, words)


def merged(correct: AccessModel, changes: list[AccessModel]) -> AccessModel:
    """The reading with every field that one of the changes changes."""
    changed = {
        f.name: getattr(other, f.name)
        for other in changes
        for f in fields(AccessModel)
        if getattr(other, f.name) != getattr(correct, f.name)
    }
    return dataclasses.replace(correct, **changed)


def with_place(reading: AccessModel, tensor: str, place: TensorView) -> AccessModel:
    changes: dict[str, TensorView] = {tensor: place}
    return dataclasses.replace(reading, **changes)  # type: ignore[arg-type]


def moved(tensor: str, correct: AccessModel, faulty: AccessModel, why: str) -> str:
    """`block stride of K read as 64 (block_size * slot stride) instead of 128 (stride(0))`."""
    was, now = getattr(correct, tensor), getattr(faulty, tensor)
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
