"""Minimizes the findings of a campaign, one at a time, while its cases go on: in a thread, on workers that stay for the next
finding."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from fuzz_decode.campaign.causes import UNKNOWN, CauseFinder
from fuzz_decode.campaign.events import Event, Minimized, SpuriousTimeout
from fuzz_decode.campaign.minimize import store_minimized
from fuzz_decode.campaign.reproduce import is_one_bug, shrink_in_fresh
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import NOT_REPEATED, Bug, CampaignState
from fuzz_decode.cases.call_sequence import Runner, sort_key
from fuzz_decode.corpus import store
from fuzz_decode.corpus.ledger import Ledger
from fuzz_decode.diagnose.diagnosis import BETWEEN_CALLS
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode.workers.team import WorkerTeam

MIN_SECONDS = 5.0  # with less time left minimizing would not get far
MOST_AT_ONCE = 4  # candidates of a shrink: of more, most are run in vain, and each worker has to be started
NO_TIME = "not minimized: the campaign's time was over"
NOT_SHRUNK = "not minimized: an internal error of fuzz-decode came up"


@dataclass(slots=True)
class FindingMinimizer:
    """Minimizes one finding after another. While it is `busy` nothing else changes the campaign's bugs."""

    settings: CampaignSettings
    state: CampaignState
    ledger: Ledger
    deadline: float
    """end of the campaign, by the monotonic clock"""
    causes: CauseFinder
    in_process: InProcessBackend | None = None
    """runs cases instead of child processes, and in the caller's thread"""
    _running: Future[Event] | None = None
    _bug: Bug | None = None
    """the finding that is minimized"""
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _team: WorkerTeam | None = None
    _config: WorkerConfig | None = None
    """that of the team"""
    _closed: bool = False

    def begin(self, bug: Bug, outcome: Outcome) -> None:
        """Minimize a finding, whose case had the outcome."""
        self._bug, bug.is_settled = bug, False
        if self.in_process:
            self._running = Future()
            self._running.set_result(self._minimize(bug, outcome))
        else:
            self._running = self._thread.submit(self._minimize, bug, outcome)

    @property
    def busy(self) -> bool:
        """Whether a finding has been begun and not been taken yet."""
        return self._running is not None

    @property
    def done(self) -> bool:
        """Whether `take` need not wait."""
        return self._running is not None and self._running.done()

    def take(self) -> Iterator[Event]:
        """What became of the finding that was begun, if there is one, once that is known. Raises what minimizing raised."""
        if self._running and self._bug:
            event = self._running.result()
            self._bug.is_settled = True
            self._running = self._bug = None
            yield event

    def close(self) -> None:
        """Give up what is not done: the finding stays as it was saved."""
        self._closed = True
        if self._team and self.busy and not self.done:
            self._team.end()
        self._thread.shutdown()
        if self._team:
            self._team.close()

    def _minimize(self, bug: Bug, outcome: Outcome) -> Minimized | SpuriousTimeout:
        if self._seconds_left() < MIN_SECONDS and not bug.is_timeout:  # which is run again in any case
            return self._keep_raw(bug, NO_TIME)
        try:
            worker = self._worker(bug)
            shrunk = self._shrink(bug, outcome, worker)
            if isinstance(shrunk, Shrunk):
                if known := self.causes.nearly_explained(bug, shrunk) or self._with_same_case(bug, shrunk):
                    return self._counted_with(known, bug, shrunk)
                return self._store_minimized(bug, shrunk, worker)
            if shrunk.findings:
                return self._fails_otherwise(bug, shrunk, worker)
        except HarnessError as error:  # the finding is worth more than a smaller case
            self.state.harness_errors.append(error)
            return self._keep_raw(bug, NOT_SHRUNK)
        if bug.is_timeout and self.settings.device == "cpu":
            return self._forget_timeout(bug)
        if other := next((other for other in self.state.bugs if other is not bug and other.is_of_state), None):
            self._take_in(other, bug)
            return Minimized(other.entry, other.path, None)
        return self._keep_raw(bug, self._not_repeated())

    def _worker(self, bug: Bug) -> CaseRunner:
        """What runs the cases of a bug; each of them has the time that is left, or all of it if that is what it needs. Raises
        UsageError if the target cannot be imported."""
        if self.in_process:
            return self.in_process
        team = self._team_of(self.settings.worker_config)
        seconds = self.settings.timeout
        team.allow(seconds if bug.is_timeout else min(seconds, self._seconds_left()))
        return team.lead

    def _team_of(self, config: WorkerConfig) -> WorkerTeam:
        """The team that was started with the configuration."""
        if self._team is None or self._config != config:
            if self._team:
                self._team.close()
            size = min(self.settings.job_count, MOST_AT_ONCE)
            self._config, self._team = config, WorkerTeam(lambda: ResilientWorker(config), size)
            if self._closed:  # while it was started
                self._team.end()
        return self._team

    def _shrink(self, bug: Bug, outcome: Outcome, worker: CaseRunner) -> Shrunk | Outcome:
        seconds = min(self.settings.minimize_time, self._seconds_left())

        def unless_known(run: Runner, worker: CaseRunner) -> Runner:  # so that a new failure does not shrink into a known one
            return self.causes.unless_known(self.ledger.apply_ledger(run), worker, bug)

        team = self._team if self._team and self._team.size > 1 else None
        return shrink_in_fresh(bug.entry.calls, outcome, worker, seconds, unless_known, team)

    def _with_same_case(self, bug: Bug, shrunk: Shrunk) -> Bug | None:
        """Another bug that has the same simplest case."""
        found = bug.signature, shrunk.calls
        others = (other for other in self.state.bugs if other is not bug and (other.signature, other.entry.calls) == found)
        return next(others, None)

    def _store_minimized(self, bug: Bug, shrunk: Shrunk, worker: CaseRunner) -> Minimized:
        seconds = min(self.settings.minimize_time, self._seconds_left())
        known = tuple(other.known.fault for other in self.state.bugs if other is not bug and other.known.fault)
        found = store_minimized(bug.path, bug.entry, shrunk, worker, self.ledger, seconds, known=known)
        if found.harness_error:
            self.state.harness_errors.append(found.harness_error)
        bug.path, bug.entry = found.path, found.entry
        if twin := next((other for other in self.state.bugs if other is not bug and _have_one_fault(other, bug)), None):
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
        """What is nearly explained, or has the same simplest case, is counted with the known bug, which stands for more of its
        kind from now on."""
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


def _have_one_fault(one: Bug, other: Bug) -> bool:
    """State that is kept between calls is never certain, and one bug nevertheless."""
    same = one.entry.fault != "" and one.entry.fault == other.entry.fault
    return same or one.entry.suspect == other.entry.suspect == BETWEEN_CALLS


def _one_bug(seen: str, signature: str) -> str:
    return f"one bug: {seen} in the campaign's process, {signature} in a fresh one"
