"""Which known bug causes a failure. That is tested, in this order:

* A bug whose fault is known causes what the fault predicts, alone or with the faults of others, and a missing mask causes what is
  right once its memory is finite.
* Any other bug causes failures that go away, or become those of a known fault, without one of the features that it needs; one
  that needs none causes all that have its signature.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of, in_plain_layout, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.checks import fitted_faults
from fuzz_decode.diagnose.checks.allocations import depends_on_uninitialised_memory, is_nondeterministic
from fuzz_decode.diagnose.checks.unreferenced_memory import is_region_fault, wrong_elsewhere
from fuzz_decode.diagnose.diagnosis import ExplainRequest, Explanation, KnownBug
from fuzz_decode.diagnose.faults.catalogue import faults_named
from fuzz_decode.diagnose.observation import Experiment, Observation, make_experiment, observe
from fuzz_decode.diagnose.session import explains, is_right
from fuzz_decode.diagnose.variations import fits
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.execute.watch import contained
from fuzz_decode.outcome import Signature, Stage, Status
from fuzz_decode.targets.target import Target

TELLS_NOTHING = frozenset({"seq_lens"})  # with few tokens nearly every failure goes away
ON_ALLOCATIONS = {"uninitialised-scratch": depends_on_uninitialised_memory, "nondeterministic": is_nondeterministic}
OF_TAILS = "tail-"  # begins the names of faults beyond the end of a sequence
MOST_TOGETHER = 4  # faults of which all sets are tried; of more, only pairs and all of them


def explain(request: ExplainRequest, target: Target, device: str) -> Explanation:
    """The first of the bugs that causes the failure. On the CPU accesses out of bounds are contained in all runs."""
    with contained(device) as launches:
        case = target.strides.nearest(in_plain_layout(request.case)) if request.in_plain_layout else request.case
        failure = Failure(case, request.signature, target, device, fenced=launches is not None)
        return Explanation(failure.cause(request.bugs))


@dataclass(frozen=True)  # no slots: what is observed is cached
class Failure:
    """A failing case on a target."""

    case: Case
    signature: Signature
    target: Target
    device: str
    fenced: bool

    def cause(self, bugs: tuple[KnownBug, ...]) -> int | None:
        """The number of the first bug that causes it; None if none does."""
        predicted = self._predicting_bug(bugs)
        return predicted if predicted is not None else self._needing_bug(bugs)

    def _predicting_bug(self, bugs: tuple[KnownBug, ...]) -> int | None:
        seen = self._observed
        if seen is None:
            return None
        alone = (bug.number for bug in bugs if self._is_predicted_by(bug.fault, seen))
        together = (chosen[0].number for chosen in sets_of_named(bugs) if _explain_together(chosen, seen))
        fitted = (bug.number for bug in bugs if fitted_faults.has_fault(bug.fault) and _fits_besides(bug, bugs, seen))
        return next(itertools.chain(alone, together, fitted), None)

    def _needing_bug(self, bugs: tuple[KnownBug, ...]) -> int | None:
        return next((bug.number for bug in bugs if not is_predictable(bug.fault) and self._goes_away_without(bug, bugs)), None)

    @functools.cached_property
    def _observed(self) -> Observation | None:
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
        if is_region_fault(name):
            return is_right(seen) and not wrong_elsewhere(name, self._experiment(), self.target)
        if name in ON_ALLOCATIONS:
            return ON_ALLOCATIONS[name](seen, self.target) is not None
        if fitted_faults.has_fault(name):
            return fitted_faults.fits_run(name, seen) or self._is_predicted_with(name, data=DEFAULTS["data"])
        experiment = seen.experiment
        for fault in faults_named(name):
            if fault.apply(experiment.problem, experiment.correct) is not None and explains(fault, seen):
                return True
        if "+" in name and any(map(is_right, seen.with_known_faults((name,)))):
            return True
        lengths = tuple(max(self.case.q_len, length) for length in self.case.seq_lens)
        table = dataclasses.replace(self.case.table, unused=DEFAULTS["table.unused"])
        return name.startswith(OF_TAILS) and (
            self._is_predicted_with(name, table=table) or self._is_predicted_with(name, seq_lens=lengths)
        )

    def _is_predicted_with(self, name: str, **changes: Any) -> bool:
        """Whether the fault explains a twin of the case that tells more: large numbers may leave nothing from which to tell how
        often a token counts; what is read beyond the end of a sequence without tokens is nobody's; and where an id that no pool
        has leads depends on the width in which a kernel multiplies it."""
        twin = dataclasses.replace(self, case=dataclasses.replace(self.case, **changes))
        if twin.case == self.case or not is_valid(twin.case) or self.target.unsupported_reason(twin.case):
            return False
        seen = twin._observed
        return seen is not None and not is_right(seen) and twin._is_predicted_by(name, seen)

    def _goes_away_without(self, bug: KnownBug, bugs: tuple[KnownBug, ...]) -> bool:
        needed = [name for name in bug.needed if name not in TELLS_NOTHING]
        if not needed:
            return self.signature in bug.signatures and bug.can_show(self.case)
        return any(self._is_settled(_without(self.case, name), bugs) for name in needed)

    def _is_settled(self, case: Case, bugs: tuple[KnownBug, ...]) -> bool:
        """Whether another case passes, or fails because of a fault that is known."""
        if case == self.case or not is_valid(case):
            return False
        outcome = run_case(case, self.target, self.device)
        if outcome.status is Status.PASSED:
            return True
        other = dataclasses.replace(self, case=case, signature=outcome.signature)
        return outcome.stage is Stage.COMPARE and other._predicting_bug(bugs) is not None


def is_predictable(fault: str) -> bool:
    """Whether a fault's effect on any case can be tested."""
    known = (fitted_faults.has_fault(fault), is_region_fault(fault), fault in ON_ALLOCATIONS)
    return bool(faults_named(fault)) or any(known)


def sets_of_named(bugs: tuple[KnownBug, ...]) -> Iterator[tuple[KnownBug, ...]]:
    """Bugs whose faults may act at once: first two, then more."""
    named = [bug for bug in bugs if faults_named(bug.fault)]
    sizes = range(2, len(named) + 1) if len(named) <= MOST_TOGETHER else (2, len(named))
    for size in sizes:
        yield from itertools.combinations(named, size)


def _explain_together(bugs: tuple[KnownBug, ...], seen: Observation) -> bool:
    return any(map(is_right, seen.with_known_faults(tuple(bug.fault for bug in bugs))))


def _fits_besides(bug: KnownBug, bugs: tuple[KnownBug, ...], seen: Observation) -> bool:
    """Whether a fitted fault explains a run of a kernel that has the others, too."""
    named = tuple(other.fault for other in bugs if faults_named(other.fault))
    return bool(named) and any(fitted_faults.fits_run(bug.fault, each) for each in seen.with_known_faults(named))


def _without(case: Case, name: str) -> Case:
    """The case without a feature, or with the plain value of a size."""
    if name in SIZE_FIELDS:
        return dataclasses.replace(case, **{name: DEFAULTS[name]})
    return without_feature(case, name) if name in features_of(case) else case
