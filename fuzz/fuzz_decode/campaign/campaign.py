"""A campaign: draw, run, and for every new failure save, minimise, store. It emits events; showing them is `report`'s work.

Outcomes arrive in any order and are judged in the order of the cases, so that the findings do not depend on the number of jobs.
A failing case is on disk before anything else happens to it. On a GPU cases come in `rounds` that share compiled kernels.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode._version import __version__
from fuzz_decode.campaign.checkpoint import Checkpoint, as_text
from fuzz_decode.campaign.events import CaseDone, Event, Found, Minimised, SpuriousTimeout, Started
from fuzz_decode.campaign.record import minimised_entry, raw_entry, with_diagnosis
from fuzz_decode.campaign.reproduce import NOT_REPEATED, shrink_in_fresh
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.corpus import store
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure, Ledger, load_ledger
from fuzz_decode.corpus.read import load_files, load_folder
from fuzz_decode.errors import FileError
from fuzz_decode.generate.case_stream import call_stream
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.generate.rounds import rounds
from fuzz_decode.outcome import FAILED, PASSED, QUARANTINED, REJECTED, Outcome
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.pool import ProcessPool, WorkItem
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.ray_pool import RayPool
from fuzz_decode.workers.resilient_worker import ResilientWorker

TIMEOUT = "timeout:"
MAX_TIMEOUTS = 3  # a target that hangs costs --timeout each time
MAX_REASONS = 1000  # told apart; a target may put anything into what it raises
OTHER_REASONS = "other reasons"
WORTH_STARTING = 5.0  # seconds; with less time left a finding is kept as it came
NO_TIME = "not minimised: the campaign's time was over"


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: after `cases`, after `seconds`, after `findings` distinct ones; None: no such limit."""

    cases: int | None = None
    seconds: float | None = None
    findings: int | None = None


@dataclass(slots=True)
class Bug:
    """One bug of this campaign. `count` says how many cases showed it."""

    entry: Entry
    path: Path
    first_case_index: int
    count: int = 1


@dataclass(slots=True)
class Campaign:
    """State of one campaign; iterate over `events()` to run it."""

    plan: WorkerConfig
    seed: int
    budget: Budget
    jobs: int
    folder: Path
    minimise_seconds: float = 60.0
    sequence: int | None = None  # calls in a row, each row in a process of its own; None: processes go on from case to case
    here: InProcessBackend | None = None  # instead of processes
    fleet: RayPool | None = None  # instead of processes of this machine
    in_rounds: bool | None = None  # None: where kernels are compiled
    gpus: tuple[str, ...] = ()
    journal: Path | None = None
    resume: bool = False
    done: int = 0
    seconds: float = 0.0  # before it was resumed
    coverage: Coverage = field(default_factory=Coverage)
    rejected: Counter[str] = field(default_factory=Counter)
    bugs: dict[str, Bug] = field(default_factory=dict)
    known: Counter[KnownFailure] = field(default_factory=Counter)
    unexpected_passes: dict[KnownFailure, Path] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    stopped_because: str = ""
    _ledger: Ledger = Ledger("", ())
    _saved: dict[str, Path] = field(default_factory=dict)
    _next: int = 0  # the case to judge
    _waiting: dict[int, tuple[CallSequence, Outcome]] = field(default_factory=dict)
    _began: float = 0.0
    _journal: Checkpoint | None = None

    def events(self) -> Generator[Event, None, None]:
        """Run the campaign.

        Raises UsageError if the ledger is wrong, the target cannot be imported, the corpus not be written or another campaign is
        to be resumed.
        """
        self._ledger = load_ledger(self.folder, self.plan.target)
        pool = self.here or self.fleet or ProcessPool(self.plan, self.jobs, self.gpus)
        try:
            ready = pool.start()
            self.versions = ready.versions
            self._open_journal(ready.space)
            self._began = time.monotonic()
            yield Started(ready)
            self._check_ledger()
            yield from self._judge_all(pool, ready.space)
            if self._journal:
                self._journal.remove()
        finally:
            pool.close()

    def _judge_all(self, pool: ProcessPool | InProcessBackend | RayPool, space: CaseSpace) -> Iterator[Event]:
        start, runs = self._runs(space)
        fresh, until = self.sequence is not None, self._deadline
        for number, calls, outcome in pool.outcomes(
            runs, fresh=fresh, start=start, quarantine=self._ledger.quarantined, until=until
        ):
            if number < self._next:  # of a run that was cut off: judged before
                continue
            if outcome.status == FAILED:
                self._save_raw(calls, outcome)
            self._waiting[number] = (calls, outcome)
            while self._next in self._waiting and not self._enough():
                yield from self._judge(self._next)
            if self._enough():
                self._forget_the_rest()
                return
        for number in sorted(self._waiting):  # time is over, and some of those before are not done
            if not self._enough():
                yield from self._judge(number)

    def _runs(self, space: CaseSpace) -> tuple[int, Iterator[WorkItem]]:
        """The runs to make from the next case on, and the number of the first one's first case."""
        stop, length = self.budget.cases, self.sequence or 1
        if self.rounded:
            coming = rounds(self.seed, space, self._next, stop)
            start, first = next(coming, (self._next, ()))
            return start, (run for run in itertools.chain([first], (round for _, round in coming)) if run)
        start = self._next - self._next % length
        return start, cut(call_stream(self.seed, space, length, start // length), start, stop)

    @property
    def rounded(self) -> bool:
        """Whether cases come in rounds; a sequence is a round of its own kind."""
        return self.sequence is None and (self.plan.device == "cuda" if self.in_rounds is None else self.in_rounds)

    @property
    def _deadline(self) -> float:
        return math.inf if self.budget.seconds is None else self._began + self.budget.seconds - self.seconds

    def _open_journal(self, space: CaseSpace) -> None:
        if self.journal is None:
            return
        plan = self.plan
        how = {"dtypes": ",".join(plan.dtypes), "sequence": self.sequence, "rounds": self.rounded, "version": __version__}
        of = {"target": plan.target, "seed": self.seed, "device": plan.device, **how, **as_text(space)}
        self._journal = Checkpoint(self.journal, of)
        state = self._journal.read() if self.resume else None
        if state is not None:
            self._restore(state)

    def _keep(self) -> None:
        if self._journal:
            self._journal.write(self._state())

    def _state(self) -> dict[str, Any]:
        """Plain data, from which `_restore` makes it as it is."""
        return {
            "next": self._next,
            "done": self.done,
            "seconds": self.seconds + time.monotonic() - self._began,
            "rejected": dict(self.rejected),
            "bugs": [[bug.path.name, bug.first_case_index, bug.count] for bug in self.bugs.values()],
            "known": [[self._ledger.entries.index(known), count] for known, count in self.known.items()],
            "coverage": self.coverage.to_json(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        """Raises FileError if the file does not fit."""
        try:
            self._next, self.done, self.seconds = int(state["next"]), int(state["done"]), float(state["seconds"])
            self.rejected = Counter(state["rejected"])
            self.known = Counter({self._ledger.entries[place]: count for place, count in state["known"]})
            self.coverage = Coverage.from_json(state["coverage"])
            found = [(self.folder / Path(name).name, index, count) for name, index, count in state["bugs"]]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise FileError(self.journal or Path(), "does not fit the ledger or this version; leave --resume out") from error
        entries = load_files(path for path, _, _ in found)[0]  # one that was removed is found again
        bugs = (Bug(entries[path], path, index, count) for path, index, count in found if path in entries)
        self.bugs = {bug.entry.signature: bug for bug in bugs}

    def _check_ledger(self) -> None:
        """Run the stored cases that are known to fail. First of all, so that a fix is told however the campaign ends."""
        stored = load_folder(self.folder)[0] if self._ledger.entries else {}
        expected = {path: known for path, entry in stored.items() if (known := self._ledger.expected(entry))}
        if expected:
            with self.here or ResilientWorker(self.plan) as worker:
                run = self._ledger.apply_ledger(worker.run_calls)
                for path, known in expected.items():
                    if run(stored[path].calls).status == PASSED:
                        self.unexpected_passes.setdefault(known, path)

    def _save_raw(self, calls: CallSequence, outcome: Outcome) -> None:
        """A failure that may be new goes to disk as it arrives."""
        if outcome.signature not in (*self.bugs, *self._saved) and not self._ledger.entry(outcome.signature, calls):
            self._saved[outcome.signature] = store.save(self.folder, raw_entry(self.plan, calls, outcome, self.versions))

    def _judge(self, number: int) -> Iterator[Event]:
        calls, outcome = self._waiting.pop(number)
        self._next, self.done = number + 1, self.done + 1
        if outcome.status != QUARANTINED:
            self.coverage.add(calls[-1], outcome.compiled_for)
        if outcome.status == REJECTED:
            self._reject(outcome.reason)
        yield CaseDone(calls[-1], outcome)
        yield from self._judge_failure(number, calls, outcome)
        if self._journal and self._journal.due:
            self._keep()

    def _reject(self, reason: str, count: int = 1) -> None:
        known = reason in self.rejected or len(self.rejected) < MAX_REASONS
        self.rejected[reason if known else OTHER_REASONS] += count

    def _judge_failure(self, number: int, calls: CallSequence, outcome: Outcome) -> Iterator[Event]:
        if known := self._ledger.entry(outcome.signature, calls):
            self.known[known] += 1
            return
        if outcome.status != FAILED:
            return
        if outcome.signature in self.bugs:
            self.bugs[outcome.signature].count += 1
            return
        raw = raw_entry(self.plan, calls, outcome, self.versions)
        path = store.save(self.folder, raw)
        earlier = self._saved.pop(outcome.signature, path)
        if earlier != path:  # another job was faster with a later case
            earlier.unlink(missing_ok=True)
        self.bugs[outcome.signature] = Bug(raw, path, number)
        yield Found(raw, path, number)
        yield self._minimise(raw, outcome)
        self._keep()

    def _minimise(self, raw: Entry, outcome: Outcome) -> Minimised | SpuriousTimeout:
        bug, left = self.bugs[raw.signature], self._deadline - time.monotonic()
        slow = raw.signature.startswith(TIMEOUT)
        if left < (self.plan.timeout if slow else WORTH_STARTING):
            return self._keep_as_it_came(bug, NO_TIME)
        seconds, plan = min(self.minimise_seconds, left), dataclasses.replace(self.plan, timeout=min(self.plan.timeout, left))
        with self.here or ResilientWorker(plan) as worker:
            # what is known is no simpler form of what is new
            shrunk = shrink_in_fresh(raw.calls, outcome, worker, seconds, self._ledger.apply_ledger)
            if shrunk is None and slow and self.plan.device == "cpu":
                return self._forget_slow(bug)
            if shrunk is None:
                return self._keep_as_it_came(bug, self._not_repeated())
            still_fails = self._ledger.same_bug(raw, worker.failing_as(raw.signature))
            bug.path, bug.entry = store.replace_and_deduplicate(bug.path, minimised_entry(raw, shrunk), still_fails)
            left = max(0.0, self._deadline - time.monotonic())
            bug.entry = with_diagnosis(bug.entry, worker, min(self.minimise_seconds, left))
            bug.path = store.replace(bug.path, bug.entry)
        return Minimised(bug.entry, bug.path, shrunk)

    def _keep_as_it_came(self, bug: Bug, note: str) -> Minimised:
        bug.entry = dataclasses.replace(bug.entry, note=note)
        bug.path = store.replace(bug.path, bug.entry)
        return Minimised(bug.entry, bug.path, None)

    def _not_repeated(self) -> str:
        if self.here:
            return NOT_REPEATED
        return f"{NOT_REPEATED} in a fresh process" + "; try --sequence" * (self.sequence is None)

    def _forget_slow(self, bug: Bug) -> SpuriousTimeout:
        """In the interpreter seconds are spent waiting for a core, and a correct kernel is not blamed for that."""
        bug.path.unlink(missing_ok=True)
        del self.bugs[bug.entry.signature]
        reason = f"no answer within {self.plan.timeout:g} s, but in time when run alone"
        self._reject(reason, bug.count)
        return SpuriousTimeout(bug.path, reason)

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


def cut(runs: Iterator[CallSequence], start: int, stop: int | None) -> Iterator[CallSequence]:
    """The runs, of which the first has the case with number `start`, up to the case with number `stop`."""
    left = math.inf if stop is None else stop - start
    for calls in runs:
        if left <= 0:
            return
        yield calls if len(calls) <= left else calls[: int(left)]
        left -= len(calls)
