"""What a campaign does with a failing case: save it when it arrives, count it when it is judged, minimize it if it is new."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_decode.campaign.events import Event, Found, Minimized, SpuriousTimeout
from fuzz_decode.campaign.record import minimised_entry, raw_entry, with_diagnosis
from fuzz_decode.campaign.reproduce import NOT_REPEATED, shrink_in_fresh
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug, CampaignState
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.corpus import store
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import Ledger
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.resilient_worker import ResilientWorker

MIN_SECONDS = 5.0  # with less time left minimizing would not get far
NO_TIME = "not minimized: the campaign's time was over"


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
    _saved: dict[str, Path] = field(default_factory=dict)
    """signature to file of a failure that was saved and is not judged yet"""

    def save(self, calls: CallSequence, outcome: Outcome) -> None:
        """Put a failure that may be new on disk as it arrives: the next case may take the machine down."""
        signature = outcome.signature
        if signature not in (*self.state.bugs, *self._saved) and not self.ledger.entry(signature, calls):
            self._saved[signature] = store.save(self.settings.corpus, self._raw_entry(calls, outcome))

    def judge(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        """Count the case; if it failed in a way that is new, minimize and store it."""
        if known := self.ledger.entry(outcome.signature, calls):
            self.state.known[known] += 1
        elif outcome.signature in self.state.bugs:
            self.state.bugs[outcome.signature].count += 1
        elif outcome.status == Status.FAILED:
            yield from self._record(number, calls, outcome)

    def discard_unjudged(self) -> None:
        """Remove failures of cases beyond the one that ended the campaign: with fewer jobs they would not have been run."""
        for path in self._saved.values():
            store.remove(path)

    def _record(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        raw = self._raw_entry(calls, outcome)
        path = store.save(self.settings.corpus, raw)
        earlier = self._saved.pop(outcome.signature, path)
        if earlier != path:  # a later case arrived first, from another job
            store.remove(earlier)
        bug = self.state.bugs[outcome.signature] = Bug(raw, path, number)
        yield Found(raw, path, number)
        yield self._minimize(bug, outcome)

    def _raw_entry(self, calls: CallSequence, outcome: Outcome) -> Entry:
        return raw_entry(self.settings.worker_config, calls, outcome, self.state.versions)

    def _minimize(self, bug: Bug, outcome: Outcome) -> Minimized | SpuriousTimeout:
        timeout, seconds_left = self.settings.timeout, self._seconds_left()
        if seconds_left < (timeout if bug.is_timeout else MIN_SECONDS):
            return self._keep_raw(bug, NO_TIME)
        config = dataclasses.replace(self.settings.worker_config, timeout=min(timeout, seconds_left))
        with self.in_process or ResilientWorker(config) as worker:
            seconds = min(self.settings.minimize_time, seconds_left)
            # under the ledger, so that a new failure does not shrink into a known one
            shrunk = shrink_in_fresh(bug.entry.calls, outcome, worker, seconds, self.ledger.apply_ledger)
            if shrunk is not None:
                return self._store_minimized(bug, shrunk, worker)
        if bug.is_timeout and self.settings.device == "cpu":
            return self._forget_timeout(bug)
        return self._keep_raw(bug, self._not_repeated())

    def _store_minimized(self, bug: Bug, shrunk: Shrunk, worker: CaseRunner) -> Minimized:
        still_fails = self.ledger.same_bug(bug.entry, worker.failing_as(bug.entry.signature))
        bug.path, bug.entry = store.replace_and_deduplicate(bug.path, minimised_entry(bug.entry, shrunk), still_fails)
        try:
            bug.entry = with_diagnosis(bug.entry, worker, min(self.settings.minimize_time, self._seconds_left()))
        except HarnessError as error:  # the finding is worth more than its diagnosis
            self.state.harness_errors.append(error)
        bug.path = store.replace(bug.path, bug.entry)
        return Minimized(bug.entry, bug.path, shrunk)

    def _keep_raw(self, bug: Bug, note: str) -> Minimized:
        bug.entry = dataclasses.replace(bug.entry, note=note)
        bug.path = store.replace(bug.path, bug.entry)
        return Minimized(bug.entry, bug.path, None)

    def _forget_timeout(self, bug: Bug) -> SpuriousTimeout:
        """In the interpreter a case may wait seconds for a core, and a correct kernel is not at fault for that."""
        store.remove(bug.path)
        del self.state.bugs[bug.entry.signature]
        reason = f"no answer within {self.settings.timeout:g} s, but in time when run alone"
        self.state.reject(reason, bug.count)
        return SpuriousTimeout(bug.path, reason)

    def _not_repeated(self) -> str:
        if self.in_process:
            return NOT_REPEATED
        return f"{NOT_REPEATED} in a fresh process" + "; try --sequence" * (self.settings.sequence is None)

    def _seconds_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())
