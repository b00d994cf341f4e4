"""Which known bug causes a failure. That is tested, in this order:

* A bug whose fault is known causes what the fault predicts, alone or with the faults of others, on memory of finite noise and on
  memory with NaN. A missing mask causes what is right, or explained by others, once its memory is finite.
* Any other bug causes failures that go away, or become those of a known fault, without one of the features that it needs; one
  that needs none causes all that have its signature.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of, in_plain_layout, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.checks import fitted_faults
from fuzz_decode.diagnose.checks.allocations import depends_on_uninitialised_memory, is_nondeterministic
from fuzz_decode.diagnose.checks.unreferenced_memory import wrong_elsewhere
from fuzz_decode.diagnose.diagnosis import BETWEEN_CALLS, ExplainRequest, Explanation, KnownBug, region_of
from fuzz_decode.diagnose.faults.catalogue import faults_named
from fuzz_decode.diagnose.observation import Experiment, Observation, make_experiment, observe
from fuzz_decode.diagnose.predict import predict
from fuzz_decode.diagnose.session import explains, is_right
from fuzz_decode.diagnose.variations import fits
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.execute.watch import contained
from fuzz_decode.outcome import Signature, Stage, Status, Symptom
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
        number = failure.cause(request.bugs)
        if number is None and request.in_plain_layout:
            number = next((bug.number for bug in request.bugs if bug.fault == BETWEEN_CALLS), None)
        return Explanation(number)


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
        for bug in bugs:
            if bug.fault in ON_ALLOCATIONS and ON_ALLOCATIONS[bug.fault](seen, self.target) is not None:
                return bug.number
        return next((bug.number for bug in self._explaining(bugs, seen)), None)

    def _explaining(self, bugs: tuple[KnownBug, ...], seen: Observation) -> Iterator[KnownBug]:
        """The bugs that explain the run on finite noise and the one on memory with NaN: the first of a set whose faults explain
        both, or the missing mask by which a set that explains the former is not enough for the latter."""
        if is_right(seen) and self._explains_poisoned(()):  # what is wrong shows in no result of a single run
            if self.signature.symptom is Symptom.OUT_OF_BOUNDS:
                yield from (bug for bug in bugs if _reads_out_of_bounds(bug.fault, seen))
            return
        masks = [bug for bug in bugs if region_of(bug.fault)]
        missing = [*([mask] for mask in masks), *[masks] * (len(masks) > 1)]
        for chosen in self._sets_that_explain(bugs, seen):
            named = tuple(bug.fault for bug in chosen)
            if chosen and self._explains_poisoned(named):
                yield chosen[0]
            yield from (group[0] for group in missing if not self._is_wrong_without(group, named))
        for bug in bugs:
            if self._is_fitted(bug, bugs, seen) or (bug.fault.startswith(OF_TAILS) and self._shows_with_tokens(bug)):
                yield bug

    def _sets_that_explain(self, bugs: tuple[KnownBug, ...], seen: Observation) -> Iterator[tuple[KnownBug, ...]]:
        """Sets of bugs whose faults explain a run. One that is right needs none, but a fault may have read what it would have."""
        right = is_right(seen)
        if right:
            yield ()
        yield from ((bug,) for bug in bugs if _is_explained_by(bug.fault, seen))
        if not right:
            yield from (chosen for chosen in sets_of_named(bugs) if _are_right_with([bug.fault for bug in chosen], seen))

    def _explains_poisoned(self, faults: tuple[str, ...]) -> bool:
        """Whether the faults explain the run on memory that holds NaN, but for sequences of which they read some: a NaN that one
        row sees reaches those that a kernel computes beside it."""
        seen = self._poisoned
        return seen is None or any(form.is_right_where_known() for form in seen.with_known_faults(faults))

    def _is_wrong_without(self, masks: Sequence[KnownBug], known: tuple[str, ...]) -> bool:
        """Whether a kernel with known faults is wrong with finite memory where these masks are missing."""
        return wrong_elsewhere([mask.fault for mask in masks], self._experiment(known=known), self.target)

    def _is_fitted(self, bug: KnownBug, bugs: tuple[KnownBug, ...], seen: Observation) -> bool:
        """Whether a fitted fault explains the run of a kernel that may have the others, too."""
        if not fitted_faults.has_fault(bug.fault):
            return False
        others = tuple(other.fault for other in bugs if faults_named(other.fault))
        besides = seen.with_known_faults(others) if others else iter(())
        runs = itertools.chain([seen], besides, self._twin_runs(data=DEFAULTS["data"]))
        return any(fitted_faults.fits_run(bug.fault, run) for run in runs)

    def _shows_with_tokens(self, bug: KnownBug) -> bool:
        """Whether the fault explains the case with tokens in each sequence: what is read beyond the end of one without is
        nobody's."""
        lengths = tuple(max(self.case.q_len, length) for length in self.case.seq_lens)
        return any(not is_right(seen) and _is_explained_by(bug.fault, seen) for seen in self._twin_runs(seq_lens=lengths))

    def _twin_runs(self, **changes: Any) -> Iterator[Observation]:
        """The run of a twin of the case that tells more, if there is one: large numbers may leave nothing from which to tell how
        often a token counts."""
        twin = dataclasses.replace(self.case, **changes)
        if twin != self.case and is_valid(twin) and not self.target.unsupported_reason(twin):
            seen = dataclasses.replace(self, case=twin)._observed
            yield from () if seen is None else (seen,)

    def _needing_bug(self, bugs: tuple[KnownBug, ...]) -> int | None:
        unknown = (bug for bug in bugs if not bug.certain or not is_predictable(bug.fault))
        return next((bug.number for bug in unknown if self._goes_away_without(bug, bugs)), None)

    @functools.cached_property
    def _observed(self) -> Observation | None:
        """The run on memory of finite noise; None where nothing can be predicted."""
        return self._run(memory="random") if fits(self.case) else None

    @functools.cached_property
    def _poisoned(self) -> Observation | None:
        """The run on memory that holds NaN wherever nothing may be read."""
        return self._run(memory="poisoned")

    def _run(self, memory: str) -> Observation | None:
        try:
            return observe("the case", self._experiment(memory), self.target)
        except (TargetFailed, TargetRejected):
            return None

    def _experiment(self, memory: str = "random", known: tuple[str, ...] = ()) -> Experiment:
        return make_experiment(self.case, self.target, self.device, fenced=self.fenced, known=known, memory=memory)

    def _goes_away_without(self, bug: KnownBug, bugs: tuple[KnownBug, ...]) -> bool:
        if bug.raises and self.signature not in bug.signatures:
            return False
        needed = [name for name in bug.needed if name not in TELLS_NOTHING]
        if not needed:
            return not bug.fault and self.signature in bug.signatures and bug.can_show(self.case)
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
    return bool(faults_named(fault) or region_of(fault)) or fitted_faults.has_fault(fault) or fault in ON_ALLOCATIONS


def sets_of_named(bugs: tuple[KnownBug, ...]) -> Iterator[tuple[KnownBug, ...]]:
    """Bugs whose faults may act at once: first two, then more."""
    named = [bug for bug in bugs if faults_named(bug.fault)]
    sizes = range(2, len(named) + 1) if len(named) <= MOST_TOGETHER else (2, len(named))
    for size in sizes:
        yield from itertools.combinations(named, size)


def _reads_out_of_bounds(name: str, seen: Observation) -> bool:
    """Whether a kernel with the fault reads outside of an allocation, or by a block id that no pool has."""
    experiment = seen.experiment
    memory = dataclasses.replace(experiment.memory, fenced=False)
    models = (fault.apply(experiment.problem, experiment.correct) for fault in faults_named(name))
    return any(model and not bool(predict(memory, model, experiment.rounding).known.all()) for model in models)


def _is_explained_by(name: str, seen: Observation) -> bool:
    """Whether a fault of the catalogue, or two, explain a wrong run."""
    return _are_right_with([name], seen) if "+" in name else any(explains(fault, seen) for fault in faults_named(name))


def _are_right_with(names: Sequence[str], seen: Observation) -> bool:
    """Whether the run is that of a kernel with all of these faults."""
    return any(map(is_right, seen.with_known_faults(tuple(names))))


def _without(case: Case, name: str) -> Case:
    """The case without a feature, or with the plain value of a size."""
    if name in SIZE_FIELDS:
        return dataclasses.replace(case, **{name: DEFAULTS[name]})
    return without_feature(case, name) if name in features_of(case) else case
