"""What a campaign does with a failing case: save it when it arrives, count it when it is judged, minimize it if it is new."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_decode.campaign.causes import UNKNOWN, CauseFinder
from fuzz_decode.campaign.events import Event, Found, Minimized, SpuriousTimeout
from fuzz_decode.campaign.make_entry import raw_entry
from fuzz_decode.campaign.minimize import store_minimized
from fuzz_decode.campaign.reproduce import NOT_REPEATED, is_one_bug, shrink_in_fresh
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug, CampaignState
from fuzz_decode.cases.call_sequence import CallSequence, Runner, sort_key
from fuzz_decode.corpus import store
from fuzz_decode.corpus.ledger import Ledger
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode.workers.team import WorkerTeam

MIN_SECONDS = 5.0  # with less time left minimizing would not get far
MOST_AT_ONCE = 4  # candidates of a shrink: of more, most are run in vain, and each worker has to be started
NO_TIME = "not minimized: the campaign's time was over"
NOT_SHRUNK = "not minimized: an internal error of fuzz-decode came up"


@dataclass(slots=True)
class FindingRecorder:
    """Puts the failing cases of one campaign into its state and its corpus."""

    settings: CampaignSettings
    state: CampaignState
    ledger: Ledger
    deadline: float
    """end of the campaign, by the monotonic clock"""
    in_process: InProcessBackend | None = None
    """runs cases instead of a child process"""
    causes: CauseFinder = field(init=False)
    _saved: dict[str, tuple[int, Path]] = field(default_factory=dict)
    """signature to number and file of a case that failed, was saved and is not judged yet"""

    def __post_init__(self) -> None:
        self.causes = CauseFinder(self.settings, self.state, self.in_process)

    def save(self, number: int, calls: CallSequence, outcome: Outcome) -> None:
        """Put a failure that may be new on disk as it arrives: the next case may take the machine down.

        Raises NotSaved; the case is counted then, since the campaign ends.
        """
        signature = outcome.signature
        is_known = outcome.explained_by is not None or self.ledger.entry(signature, calls)
        if signature not in self._saved and not is_known and not self.causes.stands_for(calls, outcome):
            try:
                self._saved[signature] = number, self._save_raw(number, calls, outcome).path
            except store.NotSaved:
                self.state.done += 1
                raise

    def judge(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        """Count the case; if it failed in a way that is new, minimize and store it."""
        if known := self.ledger.entry(outcome.signature, calls):
            self.state.known[known] += 1
        elif outcome.status == Status.FAILED:
            if bug := self.causes.cause_of(calls, outcome):
                self._count(bug, number, outcome)
            else:
                yield from self._record(number, calls, outcome)

    def discard_unjudged(self) -> None:
        """Remove failures of cases beyond the one that ended the campaign: with fewer jobs they would not have been run."""
        for _, path in self._saved.values():
            store.remove(path)

    def _record(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        bug = self._save_raw(number, calls, outcome)
        _, early = self._saved.pop(outcome.signature, (number, bug.path))
        if early != bug.path:  # a later case arrived first, and is saved again when it is judged, if it is new
            store.remove(early)
        self.state.bugs.append(bug)
        yield Found(bug.entry, bug.path, number)
        yield self._minimize(bug, outcome)

    def _count(self, bug: Bug, number: int, outcome: Outcome) -> None:
        bug.add(number)
        bug.also |= {outcome.signature} - {bug.signature}
        if path := self._forget_saved(number, outcome):
            store.remove(path)

    def _forget_saved(self, number: int, outcome: Outcome) -> Path | None:
        """The file of a case that is judged now, if it was saved when it arrived."""
        if self._saved.get(outcome.signature, (-1,))[0] != number:
            return None
        return self._saved.pop(outcome.signature)[1]

    def _save_raw(self, number: int, calls: CallSequence, outcome: Outcome) -> Bug:
        """The failure as it was found, on disk. Raises NotSaved; the state has it nevertheless."""
        raw = raw_entry(self.settings.worker_config, calls, outcome, self.state.versions)
        try:
            return Bug(raw, store.save(self.settings.corpus, raw), number, cases=[number])
        except store.NotSaved:
            path = self.settings.corpus / raw.file_name
            self.state.bugs.append(Bug(raw, path, number, is_saved=False, cases=[number]))
            raise

    def _minimize(self, bug: Bug, outcome: Outcome) -> Minimized | SpuriousTimeout:
        config, seconds_left = self.settings.worker_config, self._seconds_left()
        if not bug.is_timeout:  # which is run again in any case
            if seconds_left < MIN_SECONDS:
                return self._keep_raw(bug, NO_TIME)
            config = dataclasses.replace(config, timeout=min(config.timeout, seconds_left))
        try:
            with self.in_process or ResilientWorker(config) as worker:
                shrunk = self._shrink(bug, outcome, worker)
                if isinstance(shrunk, Shrunk):
                    if known := self.causes.nearly_explained(bug, shrunk):
                        return self._counted_with(known, bug, shrunk)
                    return self._store_minimized(bug, shrunk, worker)
                if shrunk.findings:
                    return self._fails_otherwise(bug, shrunk, worker)
        except HarnessError as error:  # the finding is worth more than a smaller case
            self.state.harness_errors.append(error)
            return self._keep_raw(bug, NOT_SHRUNK)
        if bug.is_timeout and self.settings.device == "cpu":
            return self._forget_timeout(bug)
        return self._keep_raw(bug, self._not_repeated())

    def _shrink(self, bug: Bug, outcome: Outcome, worker: CaseRunner) -> Shrunk | Outcome:
        seconds = min(self.settings.minimize_time, self._seconds_left())

        def unless_known(run: Runner, worker: CaseRunner) -> Runner:  # so that a new failure does not shrink into a known one
            return self.causes.unless_known(self.ledger.apply_ledger(run), worker, bug)

        size = min(self.settings.job_count, MOST_AT_ONCE)
        if self.in_process or size == 1:
            return shrink_in_fresh(bug.entry.calls, outcome, worker, seconds, unless_known)
        with WorkerTeam(worker, lambda: ResilientWorker(worker.plan), size) as team:  # the campaign's own workers are idle now
            return shrink_in_fresh(bug.entry.calls, outcome, worker, seconds, unless_known, team)

    def _store_minimized(self, bug: Bug, shrunk: Shrunk, worker: CaseRunner) -> Minimized:
        seconds = min(self.settings.minimize_time, self._seconds_left())
        known = tuple(other.entry.fault for other in self.state.bugs if other is not bug and other.entry.fault)
        found = store_minimized(bug.path, bug.entry, shrunk, worker, self.ledger, seconds, known=known)
        if found.harness_error:
            self.state.harness_errors.append(found.harness_error)
        bug.path, bug.entry = found.path, found.entry
        if twin := next((other for other in self.state.bugs if other is not bug and _have_one_cause(other, bug)), None):
            twin.absorbs = True
            return self._merged(bug, twin, shrunk, f"also fails as {bug.signature}")
        if bug.entry.fault:
            self._settle_unknown(worker)
        return Minimized(bug.entry, bug.path, shrunk)

    def _settle_unknown(self, worker: CaseRunner) -> None:
        """Earlier bugs whose faults were unknown are no bugs of their own if the faults that are known now explain them."""
        for unknown in [bug for bug in self.state.bugs if bug.entry.fault in UNKNOWN]:
            if cause := self.causes.cause_of_unknown(unknown, worker):
                self._take_in(cause, unknown)

    def _counted_with(self, known: Bug, bug: Bug, shrunk: Shrunk) -> Minimized:
        """What is nearly explained is counted with the known bug, which stands for more of its kind from now on."""
        self._take_in(known, bug)
        self.state.unexplained += bug.count
        known.absorbs = True
        return Minimized(known.entry, known.path, shrunk)

    def _take_in(self, cause: Bug, bug: Bug) -> None:
        """Count a bug's cases with another one, which stands for both."""
        self.state.bugs.remove(bug)
        cause.add(*bug.cases, count=bug.count)
        cause.also |= {bug.signature} - {cause.signature}
        if bug.path != cause.path:
            store.remove(bug.path)

    def _fails_otherwise(self, bug: Bug, outcome: Outcome, worker: CaseRunner) -> Minimized:
        """The case fails in a fresh process, too, under another signature. A crash there and wrong values here are one bug."""
        seen, signature = bug.entry.signature, outcome.signature
        note = f"failed as {signature} in a fresh process"
        if not is_one_bug(seen, signature) or self.ledger.entry(signature, bug.entry.calls):
            return self._keep_raw(bug, note)
        shrunk = self._shrink(bug, outcome, worker)
        if not isinstance(shrunk, Shrunk):
            return self._keep_raw(bug, note)
        other = self.state.bug_of(signature)
        if other is None:
            return self._store_minimized(self._renamed(bug, outcome), shrunk, worker)
        if other.entry.calls != shrunk.calls:
            return self._keep_raw(bug, f"{note}, and may be the bug of {other.path}")
        return self._merged(bug, other, shrunk, _one_bug(seen, signature))

    def _renamed(self, bug: Bug, outcome: Outcome) -> Bug:
        """The bug under the signature that it has in a fresh process, where anyone can see it."""
        seen, signature = bug.entry.signature, outcome.signature
        bug.entry = dataclasses.replace(bug.entry, signature=signature, stage=outcome.stage, note=_one_bug(seen, signature))
        bug.also.add(seen)
        return bug

    def _merged(self, bug: Bug, other: Bug, shrunk: Shrunk, note: str) -> Minimized:
        """One bug of two that have one cause, with the simpler of two cases that fail alike."""
        if bug.signature != other.signature:
            other.entry = dataclasses.replace(other.entry, note=note)
            other.path = store.replace(other.path, other.entry)
        elif sort_key(bug.entry.calls) < sort_key(other.entry.calls):
            (bug.path, bug.entry), (other.path, other.entry) = (other.path, other.entry), (bug.path, bug.entry)
        self._take_in(other, bug)
        return Minimized(other.entry, other.path, shrunk)

    def _keep_raw(self, bug: Bug, note: str) -> Minimized:
        bug.entry = dataclasses.replace(bug.entry, note=note)
        bug.path = store.replace(bug.path, bug.entry)
        return Minimized(bug.entry, bug.path, None)

    def _forget_timeout(self, bug: Bug) -> SpuriousTimeout:
        """In the interpreter a case may wait seconds for a core, and a correct kernel is not at fault for that."""
        store.remove(bug.path)
        self.state.bugs.remove(bug)
        reason = f"no answer within {self.settings.timeout:g} s, but in time when run alone"
        self.state.reject(reason, bug.count)
        return SpuriousTimeout(bug.path, reason)

    def _not_repeated(self) -> str:
        if self.in_process:
            return NOT_REPEATED
        return f"{NOT_REPEATED} in a fresh process" + "; try --sequence" * (self.settings.sequence is None)

    def _seconds_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def _have_one_cause(one: Bug, other: Bug) -> bool:
    """Whether two bugs have the same fault, or the same simplest case."""
    same_case = (one.signature, one.entry.calls) == (other.signature, other.entry.calls)
    return same_case or (one.entry.fault != "" and one.entry.fault == other.entry.fault)


def _one_bug(seen: str, signature: str) -> str:
    return f"one bug: {seen} in the campaign's process, {signature} in a fresh one"
