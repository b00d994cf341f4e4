"""Which of a campaign's bugs causes a failing case: what a worker has found out, what is asked of those found meanwhile, and what
is left to the signature."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug, CampaignState
from fuzz_decode.cases.call_sequence import CallSequence, Runner
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of
from fuzz_decode.diagnose.diagnosis import ExplainRequest, KnownBug, can_be_explained
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.resilient_worker import ResilientWorker

MOST_UNKNOWN = 2  # bugs of one signature whose faults are unknown: a kernel that nobody can explain ends no campaign
MANY = 6  # features of a simplest case: more than a bug of its own needs
ANOTHER = "another bug causes this failure"
UNKNOWN = ("", "nondeterministic")  # faults: what stores rows over each other differs from run to run


@dataclass(slots=True)
class CauseFinder:
    """Tells the bugs of one campaign apart."""

    settings: CampaignSettings
    state: CampaignState
    in_process: InProcessBackend | None = None
    """runs cases instead of a child process"""
    _worker: CaseRunner | None = None

    def known_bugs(self) -> tuple[KnownBug, ...]:
        """Those of which enough is known to ask whether they cause a failure."""
        bugs = tuple(self.state.bugs)  # one that is minimized may be found to be another meanwhile
        return tuple(bug.known for bug in bugs if bug.is_settled and not bug.is_of_state)

    def cause_of(self, calls: CallSequence, outcome: Outcome) -> Bug | None:
        """The bug that causes a failure; None if it is a new one."""
        if not self._can_ask(calls, outcome):
            return self.state.bug_of(outcome.signature)
        if bug := next((bug for bug in self.state.bugs if _raises_alike(bug, outcome)), None):
            return bug
        if outcome.reason:  # of a failure: why the worker could not answer
            self.state.harness_errors.append(HarnessError(outcome.reason))
        if outcome.explained_by is not None and (bug := self.state.bug_number(outcome.explained_by)):
            return bug
        return self._ask(calls, outcome) or self._of_state(calls, outcome) or self._by_signature(calls[-1], outcome)

    def stands_for(self, calls: CallSequence, outcome: Outcome) -> bool:
        """Whether a failure is a known bug's without any question."""
        return not self._can_ask(calls, outcome) and self.state.bug_of(outcome.signature) is not None

    def unless_known(self, run: Runner, worker: CaseRunner, new: Bug) -> Runner:
        """`run`, but a failure that another bug than the new one causes has neither findings nor a signature."""
        others = tuple(bug for bug in self.known_bugs() if bug.number != new.first_case_index)

        def run_unless_known(calls: CallSequence) -> Outcome:
            outcome = run(calls)
            is_candidate = others and outcome.signature == new.signature and self._can_ask(calls, outcome)
            if not is_candidate:
                return outcome
            raises_alike = any(bug is not new and _raises_alike(bug, outcome) for bug in self.state.bugs)
            if raises_alike or self._answer(worker, ExplainRequest.of(calls[0], outcome, others)) is not None:
                return Outcome(Status.KNOWN, reason=ANOTHER)
            return outcome

        return run_unless_known

    def nearly_explained(self, new: Bug, shrunk: Shrunk) -> Bug | None:
        """The bug with the new one's signature, if known bugs explain nearly every change of its simplest case: then it is theirs
        in a layout in which the explanation fails. A bug of its own needs few features."""
        known = sum(ANOTHER in result for result in shrunk.needed.values())
        if known < MANY or known < len(shrunk.needed) / 2:
            return None
        return next((bug for bug in self.state.bugs if bug is not new and bug.has(new.signature)), None)

    def cause_of_unknown(self, unknown: Bug, worker: CaseRunner) -> Bug | None:
        """The bug whose fault, alone or with those of others, explains the simplest case of one whose fault is unknown."""
        entry, known = unknown.entry, tuple(bug.known for bug in self.state.bugs if bug.entry.fault not in UNKNOWN)
        if not known or len(entry.calls) > 1 or entry.stage != Stage.COMPARE:
            return None
        number = self._answer(worker, ExplainRequest(entry.case, unknown.signature, known, unknown.in_plain_layout))
        return None if number is None else self.state.bug_number(number)

    def close(self) -> None:
        if self._worker and self._worker is not self.in_process:
            self._worker.close()

    def _can_ask(self, calls: CallSequence, outcome: Outcome) -> bool:
        """Not of several calls, whose failure is about what they leave behind, nor where the answer would crash like the case."""
        crashes = outcome.signature.symptom is Symptom.CRASH and self.settings.device != "cpu"
        return len(calls) == 1 and can_be_explained(outcome) and not crashes

    def _ask(self, calls: CallSequence, outcome: Outcome) -> Bug | None:
        """The cause among the bugs that the worker was not told of; among all, if its own answer is none any more."""
        since = -1 if outcome.explained_by is not None else outcome.compared_with
        bugs = tuple(bug for bug in self.known_bugs() if bug.number > since)
        if not bugs:
            return None
        number = self._answer(self._runner(), ExplainRequest.of(calls[0], outcome, bugs))
        return None if number is None else self.state.bug_number(number)

    def _of_state(self, calls: CallSequence, outcome: Outcome) -> Bug | None:
        """The bug that did not show in a fresh process, if there is one and the failure does not either."""
        bug = next((bug for bug in self.state.bugs if bug.is_of_state), None)
        try:
            return bug if bug and not self._runner().run_fresh(calls).findings else None
        except HarnessError as error:
            self.state.harness_errors.append(error)
            return None

    def _runner(self) -> CaseRunner:
        if self._worker is None:
            self._worker = self.in_process or ResilientWorker(self.settings.worker_config)
        return self._worker

    def _answer(self, worker: CaseRunner, request: ExplainRequest) -> int | None:
        """The worker's answer; none if our own code failed, which is raised at the end of the campaign."""
        try:
            return worker.explain(request)
        except HarnessError as error:
            self.state.harness_errors.append(error)
            return None

    def _by_signature(self, case: Case, outcome: Outcome) -> Bug | None:
        """The bug that stands for what nothing explains, if one has to. A line that has not raised yet is a bug of its own."""
        same = [bug for bug in self.state.bugs if bug.has(outcome.signature) and bug.place == outcome.findings[0].place]
        unknown = [bug for bug in same if not bug.entry.fault and not bug.is_of_state]
        vague = [bug for bug in unknown if not bug.entry.suspect and _may_need(bug, case)]
        possible = unknown if len(unknown) >= MOST_UNKNOWN else vague
        absorbing = [bug for bug in same if bug.absorbs] or possible
        if not absorbing:
            return None
        self.state.unexplained += 1
        return absorbing[-1]


def _raises_alike(bug: Bug, outcome: Outcome) -> bool:
    """Whether both are the same exception of one line: it raises that for one reason."""
    return bug.place != "" and bug.place == outcome.findings[0].place and bug.has(outcome.signature)


def _may_need(bug: Bug, case: Case) -> bool:
    """Whether a case has any of the features that the bug's simplest case needs, and as many tokens."""
    features = {name for name in bug.entry.needed if name not in SIZE_FIELDS}
    return bug.known.can_show(case) and (not features or not features.isdisjoint(features_of(case)))
