"""A target under examination: runs of it, and whether a fault explains them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Experiment, Observation, observe, scene
from fuzz_decode.diagnose.predict import Prediction
from fuzz_decode.diagnose.variations import variations
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.targets.target import Target
from fuzz_decode.triton_interpreter.memory_fence import Fence

TOLD_APART = 4.0  # predictions differ if they are further apart than so many bounds


@dataclass(slots=True)
class Examiner:
    """A target under examination; runs it on cases and keeps what came out."""

    target: Target
    device: str
    deadline: float
    fence: Fence
    observations: list[Observation] = field(default_factory=list)

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def look(self, label: str, on: Experiment) -> Observation | None:
        """Run the target and keep what it left; None if it did not finish."""
        try:
            seen = observe(label, on, self.target)
        except (TargetFailed, TargetRejected):
            return None
        self.observations.append(seen)
        return seen

    def scene(self, case: Case) -> Experiment:
        return scene(case, self.target, self.device)

    def variations(self, case: Case) -> Iterator[tuple[str, Case]]:
        return variations(case, self.target, self.device)

    @property
    def returns_lse(self) -> bool:
        return self.observations[0].lse is not None

    @property
    def wrong(self) -> list[Observation]:
        return [seen for seen in self.observations if not is_right(seen)]


def is_right(seen: Observation) -> bool:
    return seen.is_explained_by(seen.scene.correct)


def explains(fault: Fault, seen: Observation) -> bool:
    reading = fault.apply(seen.scene.problem, seen.scene.correct) or seen.scene.correct
    return not seen.rules_out(reading) and seen.is_explained_by(reading)


def predicted(fault: Fault, on: Experiment) -> Prediction:
    """What the fault gives there: the correct answer where it changes nothing."""
    return on.predict(fault.apply(on.problem, on.correct) or on.correct)


def differ(one: Prediction, other: Prediction, lse: bool) -> bool:
    if one is other:
        return False
    if one.reading.out != other.reading.out or one.reading.overhang != other.reading.overhang:
        return not (one.addresses.shape == other.addresses.shape and bool((one.addresses == other.addresses).all()))
    if (one.reading.empty_out is None) != (other.reading.empty_out is None):
        return any(not spans for spans in one.reading.spans)
    known = one.known & other.known
    out = _apart(one.out, other.out, one.out_bound + other.out_bound) & known[..., None]
    if bool(out.any()):
        return True
    return lse and bool((_apart(one.lse, other.lse, one.lse_bound + other.lse_bound) & known).any())


def _apart(one: Tensor, other: Tensor, bound: Tensor) -> Tensor:
    same = (one == other) | (one.isnan() & other.isnan())
    return ~same & ~((one - other).abs() <= TOLD_APART * bound)
