"""Which known bug causes a failure. That is tested, in this order:

* A bug whose fault is known causes what the fault predicts, and a missing mask what is right once its memory is finite.
* Any other bug causes failures with its signature that pass without one of the features that its simplest case needs.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.checks import fitted_faults
from fuzz_decode.diagnose.checks.unreferenced_memory import is_region_fault, wrong_elsewhere
from fuzz_decode.diagnose.diagnosis import ExplainRequest, Explanation, KnownBug
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.observation import Experiment, Observation, make_experiment, observe
from fuzz_decode.diagnose.session import explains, is_right
from fuzz_decode.diagnose.variations import fits
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.execute.watch import contained
from fuzz_decode.outcome import Signature, Status
from fuzz_decode.targets.target import Target

NAMED = {fault.name: fault for fault in FAULTS}


def explain(request: ExplainRequest, target: Target, device: str) -> Explanation:
    """The first of the bugs that causes the failure. On the CPU accesses out of bounds are contained in all runs."""
    with contained(device) as launches:
        failure = Failure(request.case, request.signature, target, device, fenced=launches is not None)
        return Explanation(next((bug.number for bug in request.bugs if failure.is_caused_by(bug)), None))


@dataclass(frozen=True)  # no slots: what is observed is cached
class Failure:
    """A failing case on a target."""

    case: Case
    signature: Signature
    target: Target
    device: str
    fenced: bool

    def is_caused_by(self, bug: KnownBug) -> bool:
        if self.observed is not None:
            if bug.fault in NAMED or fitted_faults.has_fault(bug.fault):
                return self._is_predicted_by(bug.fault, self.observed)
            if is_region_fault(bug.fault):
                return is_right(self.observed) and not wrong_elsewhere(bug.fault, self._experiment(), self.target)
        return self.signature in bug.signatures and self._passes_without(bug.needed)

    @functools.cached_property
    def observed(self) -> Observation | None:
        """The run on memory of finite noise; None where nothing can be predicted."""
        if not fits(self.case):
            return None
        try:
            return observe("the case", self._experiment(), self.target)
        except (TargetFailed, TargetRejected):
            return None

    def _experiment(self) -> Experiment:
        return make_experiment(self.case, self.target, self.device, fenced=self.fenced)

    def _is_predicted_by(self, name: str, seen: Observation) -> bool:
        """A run that is right on finite noise failed because of NaN where the fault reads, if it reads anything else at all."""
        if name not in NAMED:
            return fitted_faults.fits_run(name, seen)
        fault, experiment = NAMED[name], seen.experiment
        return fault.apply(experiment.problem, experiment.correct) is not None and explains(fault, seen)

    def _passes_without(self, needed: tuple[str, ...]) -> bool:
        """Whether one of the features or sizes is all that the failure needs; nothing is known of a bug that needs none."""
        return not needed or any(self._passes(_without(self.case, name)) for name in needed)

    def _passes(self, case: Case) -> bool:
        changed = case != self.case and is_valid(case)
        return changed and run_case(case, self.target, self.device).status is Status.PASSED


def _without(case: Case, name: str) -> Case:
    """The case without a feature, or with the plain value of a size."""
    if name in SIZE_FIELDS:
        return dataclasses.replace(case, **{name: DEFAULTS[name]})
    return without_feature(case, name) if name in features_of(case) else case
