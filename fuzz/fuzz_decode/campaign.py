"""A campaign: draw, run, and for every new failure save, minimise, store. It emits events; showing them is `report`'s work.

Outcomes arrive in any order and are judged in the order of the cases, so that the findings do not depend on the number of jobs.
A failing case is on disk before anything else happens to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_decode import corpus
from fuzz_decode.calls import Calls
from fuzz_decode.case import Case
from fuzz_decode.corpus import Entry
from fuzz_decode.diagnosis.result import SECONDS, beyond_reach
from fuzz_decode.here import Here
from fuzz_decode.ledger import KnownFailure, Ledger, load_ledger
from fuzz_decode.outcome import FAILED, PASSED, REJECTED, Outcome
from fuzz_decode.plan import Plan, Ready
from fuzz_decode.pool import Pool
from fuzz_decode.repeat import NOT_REPEATED, shrink_in_fresh
from fuzz_decode.shrink import Shrunk
from fuzz_decode.stream import call_stream
from fuzz_decode.worker import PatientWorker

TIMEOUT = "timeout:"
MAX_TIMEOUTS = 3  # a target that hangs costs --timeout each time


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: after `cases`, after `seconds`, after `findings` distinct ones; None: no such limit."""

    cases: int | None = None
    seconds: float | None = None
    findings: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    ready: Ready


@dataclass(frozen=True, slots=True)
class CaseDone:
    case: Case
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Found:
    """A failure with a signature not seen before, already saved at `path`."""

    entry: Entry
    path: Path
    case_index: int


@dataclass(frozen=True, slots=True)
class Minimised:
    """`shrunk` is None where the failure did not come back in a fresh process."""

    entry: Entry
    path: Path
    shrunk: Shrunk | None


@dataclass(frozen=True, slots=True)
class OnlySlow:
    """A timeout that was none: alone the case answers in time. Its file is gone, and it counts as rejected."""

    path: Path
    reason: str


@dataclass(slots=True)
class Bug:
    """One bug of this campaign. `count` says how many cases showed it."""

    entry: Entry
    path: Path
    first_case_index: int
    count: int = 1


Event = Started | CaseDone | Found | Minimised | OnlySlow


@dataclass(slots=True)
class Campaign:
    """State of one campaign; iterate over `events()` to run it."""

    plan: Plan
    seed: int
    budget: Budget
    jobs: int
    folder: Path
    minimise_seconds: float = 60.0
    sequence: int | None = None  # calls in a row, each row in a process of its own; None: processes go on from case to case
    here: Here | None = None  # instead of processes
    done: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    bugs: dict[str, Bug] = field(default_factory=dict)
    known: Counter[KnownFailure] = field(default_factory=Counter)
    unexpected_passes: dict[KnownFailure, Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    stopped_because: str = ""
    _ledger: Ledger = Ledger("", ())
    _saved: dict[str, Path] = field(default_factory=dict)
    _waiting: dict[int, tuple[Calls, Outcome]] = field(default_factory=dict)
    _launched: dict[int, int] = field(default_factory=dict)

    def events(self) -> Generator[Event, None, None]:
        """Run the campaign.

        Raises UsageError if the ledger is wrong, the target cannot be imported or the corpus not be written.
        """
        self._ledger = load_ledger(self.folder, self.plan.target)
        pool = self.here or Pool(self.plan, self.jobs)
        try:
            ready = pool.start()
            self.versions = ready.versions
            yield Started(ready)
            self._check_ledger()
            with contextlib.nullcontext(call_stream(self.seed, ready.generates, self.sequence or 1)) as stream:
                runs = self._not_quarantined(self._within_budget(stream))
                for number, calls, outcome in pool.outcomes(runs, fresh=self.sequence is not None):
                    if outcome.status == FAILED:
                        self._save_raw(calls, outcome)
                    self._waiting[self._launched.pop(number)] = (calls, outcome)
                    yield from self._judge_waiting()
                    if self._enough():
                        self._forget_the_rest()
                        return
                yield from self._judge_waiting()  # quarantined ones after the last that was launched
        finally:
            pool.close()

    def _within_budget(self, stream: Iterator[Calls]) -> Iterator[Calls]:
        started, left = None, self.budget.cases
        for calls in stream:
            started = started or time.monotonic()  # drawing the first cases is not what was asked for
            if self.budget.seconds is not None and time.monotonic() - started > self.budget.seconds:
                return
            yield calls[:left]
            left = None if left is None else left - len(calls)
            if left is not None and left <= 0:
                return

    def _check_ledger(self) -> None:
        """Run the stored cases that are known to fail. First of all, so that a fix is told however the campaign ends."""
        stored = corpus.load_folder(self.folder)[0] if self._ledger.entries else {}
        expected = {path: known for path, entry in stored.items() if (known := self._ledger.expected(entry))}
        if expected:
            with self.here or PatientWorker(self.plan) as worker:
                run = self._ledger.excusing(worker.run_calls)
                for path, known in expected.items():
                    if run(stored[path].calls).status == PASSED:
                        self.unexpected_passes.setdefault(known, path)

    def _not_quarantined(self, runs: Iterator[Calls]) -> Iterator[Calls]:
        """The calls to launch. The others wait to be judged in their place, so that the number of jobs changes no count."""
        index, numbers = itertools.count(), itertools.count()
        for calls in runs:
            launched: list[Case] = []
            for case, place in zip(calls, index, strict=False):
                if crash := self._ledger.crash((case,)):
                    self._waiting[place] = ((case,), crash.outcome())
                else:
                    self._launched[next(numbers)] = place
                    launched.append(case)
            if launched:
                yield tuple(launched)

    def _save_raw(self, calls: Calls, outcome: Outcome) -> None:
        """A failure that may be new goes to disk as it arrives."""
        if outcome.signature not in (*self.bugs, *self._saved) and not self._ledger.entry(outcome.signature, calls):
            self._saved[outcome.signature] = corpus.save(self.folder, raw_entry(self.plan, calls, outcome, self.versions))

    def _judge_waiting(self) -> Iterator[Event]:
        while self.done in self._waiting and not self._enough():
            yield from self._judge(*self._waiting.pop(self.done))

    def _judge(self, calls: Calls, outcome: Outcome) -> Iterator[Event]:
        index, self.done = self.done, self.done + 1
        yield CaseDone(calls[-1], outcome)
        if outcome.status == REJECTED:
            self.rejected[outcome.reason] += 1
        if known := self._ledger.entry(outcome.signature, calls):
            self.known[known] += 1
            return
        if outcome.status != FAILED:
            return
        if outcome.signature in self.bugs:
            self.bugs[outcome.signature].count += 1
            return
        raw = raw_entry(self.plan, calls, outcome, self.versions)
        path = corpus.save(self.folder, raw)
        earlier = self._saved.pop(outcome.signature, path)
        if earlier != path:  # another job was faster with a later case
            earlier.unlink(missing_ok=True)
        self.bugs[outcome.signature] = Bug(raw, path, index)
        yield Found(raw, path, index)
        yield self._minimise(raw, outcome)

    def _minimise(self, raw: Entry, outcome: Outcome) -> Minimised | OnlySlow:
        bug = self.bugs[raw.signature]
        with self.here or PatientWorker(self.plan) as worker:
            # what is known is no simpler form of what is new
            shrunk = shrink_in_fresh(raw.calls, outcome, worker, self.minimise_seconds, self._ledger.excusing)
            if shrunk is None and raw.signature.startswith(TIMEOUT) and self.plan.device == "cpu":
                return self._forget_slow(bug)
            if shrunk is None:
                bug.entry = dataclasses.replace(raw, note=self._not_repeated())
                bug.path = corpus.replace(bug.path, bug.entry)
            else:
                still_fails = self._ledger.same_bug(raw, worker.failing_as(raw.signature))
                bug.path, bug.entry = corpus.settle(bug.path, minimised_entry(raw, shrunk), still_fails)
                bug.entry = diagnosed(bug.entry, worker, self.minimise_seconds)
                bug.path = corpus.replace(bug.path, bug.entry)
        return Minimised(bug.entry, bug.path, shrunk)

    def _not_repeated(self) -> str:
        if self.here:
            return NOT_REPEATED
        return f"{NOT_REPEATED} in a fresh process" + "; try --sequence" * (self.sequence is None)

    def _forget_slow(self, bug: Bug) -> OnlySlow:
        """In the interpreter seconds are spent waiting for a core, and a correct kernel is not blamed for that."""
        bug.path.unlink(missing_ok=True)
        del self.bugs[bug.entry.signature]
        reason = f"no answer within {self.plan.timeout:g} s, but in time when run alone"
        self.rejected[reason] += bug.count
        return OnlySlow(bug.path, reason)

    def _enough(self) -> bool:
        limit = self.budget.findings
        if limit is not None and len(self.bugs) >= limit:
            self.stopped_because = f"stopped after {limit} finding{'s' * (limit > 1)}"
        timeouts = sum(bug.count for signature, bug in self.bugs.items() if signature.startswith(TIMEOUT))
        if timeouts >= MAX_TIMEOUTS:
            self.stopped_because = f"stopped: the target gave no answer within {self.plan.timeout:g} s for {timeouts} cases"
        return bool(self.stopped_because)

    def _forget_the_rest(self) -> None:
        """Failures of cases beyond the one that ended the campaign: with fewer jobs they would not have been run."""
        for path in self._saved.values():
            path.unlink(missing_ok=True)


def raw_entry(plan: Plan, calls: Calls, outcome: Outcome, versions: dict[str, str]) -> Entry:
    """The failure of the last call as it came."""
    return Entry(
        case=calls[-1],
        raw_case=calls[-1],
        before=calls[:-1],
        target=plan.target,
        signature=outcome.signature,
        stage=outcome.stage,
        device=plan.device,
        finding=outcome.findings[0].to_json(),
        versions=versions,
    )


def minimised_entry(raw: Entry, shrunk: Shrunk) -> Entry:
    """The entry with its case replaced by the simplest one found."""
    return dataclasses.replace(
        raw,
        case=shrunk.case,
        before=shrunk.before,
        finding=shrunk.outcome.findings[0].to_json(),
        needed=shrunk.needed,
        minimised=shrunk.complete,
    )


def diagnosed(entry: Entry, worker: PatientWorker, seconds: float) -> Entry:
    """The entry with what the target does wrong, if it can be said. Several calls are a matter of what is left behind, and a call
    that raises says why by itself. One that crashes is examined where a fence can be put up."""
    if entry.before or entry.diagnosis:
        return entry
    crashed = entry.signature.startswith("crash-SIG") and worker.plan.device == "cpu"
    known = beyond_reach(entry.case) if entry.stage == "run" else ""
    if entry.stage == "run" and not crashed:
        return dataclasses.replace(entry, diagnosis=known)
    raw = entry.raw_case if entry.raw_case != entry.case else None
    found = worker.diagnose(entry.case, raw, min(seconds, SECONDS))
    words = [found.sentence] if found.fault else [known, found.sentence]
    return dataclasses.replace(entry, diagnosis="; ".join(filter(None, words)), fault=found.fault if found.confident else "")
