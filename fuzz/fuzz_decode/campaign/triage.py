"""Stored failures looked at again: one for each bug, run as it is now, with what the kernel does to memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.campaign.record import with_diagnosis
from fuzz_decode.cases.call_sequence import sort_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import load_ledger
from fuzz_decode.corpus.lookup import target_of, with_outcome
from fuzz_decode.diagnose import Trace
from fuzz_decode.errors import UsageError
from fuzz_decode.outcome import KNOWN, PASSED, QUARANTINED, REJECTED, Outcome
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

STILL_FAILS, FAILS_OTHERWISE, FIXED, NOT_RUN = "still failing", "failing otherwise", "fixed", "not run"
FAILING = (STILL_FAILS, FAILS_OTHERWISE)
WORDS = {PASSED: FIXED, REJECTED: "not taken", KNOWN: "known", QUARANTINED: "quarantined"}


@dataclass(frozen=True, slots=True)
class Triaged:
    """A stored bug as it is now. `entry` is what its smallest case shows now, `stored` what the file says; `others` are files of
    the same bug. `status`: STILL_FAILS, FAILS_OTHERWISE (under another signature), FIXED, NOT_RUN (its target cannot be loaded),
    or a word for what the ledger or the target says; `reason` more of it. `trace`: None where nothing is failing."""

    path: Path
    stored: Entry
    entry: Entry
    status: str
    reason: str = ""
    others: tuple[Path, ...] = ()
    trace: Trace | None = None

    @property
    def failing(self) -> bool:
        return self.status in FAILING


def triage(entries: dict[Path, Entry], plan: WorkerConfig, chosen: str | None, seconds: float) -> Iterator[Triaged]:
    """Each bug of the entries, on the target that its file names, or on the `chosen` one; `plan` says where and how long.

    What is not diagnosed yet is, for at most `seconds`. Raises UsageError if a ledger is wrong.
    """
    bugs = _bugs(entries)
    for target in dict.fromkeys(chosen or entries[path].target for path in bugs):
        mine = {path: others for path, others in bugs.items() if (chosen or entries[path].target) == target}
        try:
            trusted = target_of(entries[next(iter(mine))], chosen)
            worker = ResilientWorker(dataclasses.replace(plan, target=trusted))
        except UsageError as error:
            yield from (Triaged(p, entries[p], entries[p], NOT_RUN, str(error), others) for p, others in mine.items())
            continue
        with worker:
            for path, others in mine.items():
                yield dataclasses.replace(_look_at(path, entries[path], worker, seconds), others=others)


def _bugs(entries: dict[Path, Entry]) -> dict[Path, tuple[Path, ...]]:
    """The file with the simplest calls of each bug, and the other files of it."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path, entry in entries.items():
        found.setdefault(entry.bug, []).append(path)
    ranked = (sorted(paths, key=lambda path: sort_key(entries[path].calls)) for paths in found.values())
    return {first: tuple(others) for first, *others in ranked}


def _look_at(path: Path, stored: Entry, worker: ResilientWorker, seconds: float) -> Triaged:
    ledger = load_ledger(path.parent, worker.plan.target)
    outcome = ledger.apply_ledger(worker.run_calls)(stored.calls)
    if not outcome.findings:
        return Triaged(path, stored, stored, WORDS[outcome.status], outcome.reason)
    entry = _as_found(stored, outcome, worker)
    status = STILL_FAILS if entry.signature == stored.signature else FAILS_OTHERWISE
    entry = with_diagnosis(entry, worker, seconds)
    where = outcome.findings[0].where
    trace = worker.trace(entry.case, entry.fault, (where[0], where[1]) if len(where) > 1 else (0, 0))
    return Triaged(path, stored, entry, status, trace=trace)


def _as_found(stored: Entry, outcome: Outcome, worker: ResilientWorker) -> Entry:
    """The entry as this run found it, but for a diagnosis of another target or failure: it says nothing about this one."""
    same = (stored.target, stored.signature) == (worker.plan.target, outcome.signature)
    known = (stored.diagnosis, stored.fault) if same else ("", "")
    return dataclasses.replace(
        with_outcome(stored, outcome, worker.plan.target),
        device=worker.plan.device,
        stage=outcome.stage,
        versions=worker.ready.versions,
        diagnosis=known[0],
        fault=known[1],
        needed=stored.needed if same else {},
    )
