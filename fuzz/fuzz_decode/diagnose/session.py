"""A diagnosis in progress: runs of the target so far, and whether a fault explains them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Experiment, Observation, make_experiment, observe
from fuzz_decode.diagnose.predict import Prediction
from fuzz_decode.diagnose.variations import variations
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.launches.record import LaunchRecord, OutOfBoundsAccess
from fuzz_decode.targets.target import Target

PATIENCE = 3.0  # times the time limit that a target which sleeps may take
DISTINCT = 4.0  # predictions differ if they are further apart than this many bounds


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """Seconds of processor time from now on, so that a verdict does not depend on what else the machine does."""

    seconds: float
    _processor: float = field(default_factory=time.process_time)
    _clock: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        used, passed = time.process_time() - self._processor, time.monotonic() - self._clock
        return used > self.seconds or passed > PATIENCE * self.seconds


@dataclass(slots=True)
class DiagnosisSession:
    """Runs a target on cases and keeps what came out."""

    case: Case
    """The failing one."""
    raw: Case | None
    """The case as it was drawn; None: not kept."""
    probes: bool
    """Whether the target may be run on other cases than these two."""
    target: Target
    device: str
    limit: TimeLimit
    launches: LaunchRecord | None
    """What was noticed in all runs, whose accesses out of bounds are contained; None on a GPU, where they are not."""
    known: tuple[str, ...] = ()
    """Names of faults that the target is known to have besides."""
    observations: list[Observation] = field(default_factory=list)
    """The runs that finished, in their order."""

    @property
    def out_of_time(self) -> bool:
        return self.limit.is_over

    @property
    def out_of_bounds(self) -> OutOfBoundsAccess | None:
        """The first access outside of the tensors of its launch, in any run."""
        return None if self.launches is None else self.launches.out_of_bounds

    def observe(self, label: str, experiment: Experiment) -> Observation | None:
        """Run the target and keep what it left; None if it did not finish."""
        try:
            seen = observe(label, experiment, self.target).in_nearest_form()
        except (TargetFailed, TargetRejected):
            return None
        self.observations.append(seen)
        return seen

    def experiment(self, case: Case) -> Experiment:
        return make_experiment(case, self.target, self.device, fenced=self.launches is not None, known=self.known)

    def supports(self, case: Case) -> bool:
        return self.target.unsupported_reason(case) is None

    def variations(self, case: Case) -> Iterator[tuple[str, Case]]:
        return variations(case, self.target, self.device)

    @property
    def returns_lse(self) -> bool:
        return self.observations[0].lse is not None

    @property
    def wrong(self) -> list[Observation]:
        return [seen for seen in self.observations if not is_right(seen)]


def is_right(seen: Observation) -> bool:
    return seen.is_explained_by(seen.experiment.correct)


def explains(fault: Fault, seen: Observation) -> bool:
    model = fault.apply(seen.experiment.problem, seen.experiment.correct) or seen.experiment.correct
    return not seen.rules_out(model) and seen.is_explained_by(model)


def predicted(fault: Fault, experiment: Experiment) -> Prediction:
    """What the fault gives there: the correct answer where it changes nothing."""
    return experiment.predict(fault.apply(experiment.problem, experiment.correct) or experiment.correct)


def would_show(fault: Fault, experiment: Experiment, lse: bool) -> bool:
    """Whether a kernel with the fault would be wrong there."""
    return differ(predicted(fault, experiment), experiment.predict(experiment.correct), lse)


def differ(one: Prediction, other: Prediction, lse: bool) -> bool:
    """Whether a run can tell the predictions apart; `lse`: the target returns it."""
    if one is other:
        return False
    if _stores(one) != _stores(other):
        return not (one.addresses.shape == other.addresses.shape and bool((one.addresses == other.addresses).all()))
    if (one.model.output.empty_out is None) != (other.model.output.empty_out is None):
        return any(not spans for spans in one.model.visibility.spans)
    known = one.known & other.known
    out = _apart(one.out, other.out, one.out_bound + other.out_bound) & known[..., None]
    if bool(out.any()):
        return True
    return lse and bool((_apart(one.lse, other.lse, one.lse_bound + other.lse_bound) & known).any())


def _stores(prediction: Prediction) -> tuple[object, int]:
    return prediction.model.addresses.out, prediction.model.output.stored_beyond_row


def _apart(one: Tensor, other: Tensor, bound: Tensor) -> Tensor:
    same = (one == other) | (one.isnan() & other.isnan())
    return ~same & ~((one - other).abs() <= DISTINCT * bound)
