"""Stored failures run again, one for each bug, with the addresses that the kernel reads and writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.campaign.make_entry import with_diagnosis
from fuzz_decode.cases.call_sequence import sort_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import load_ledger
from fuzz_decode.corpus.lookup import target_of, with_outcome
from fuzz_decode.diagnose import Trace
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker, Tell

STILL_FAILS, FAILS_OTHERWISE, FIXED, NOT_RUN = "still failing", "failing otherwise", "fixed", "not run"
NEW, NOT_REPEATED = "new", "not failing again"  # of a campaign that is just over
FAILING = (STILL_FAILS, FAILS_OTHERWISE, NEW)
WORDS = {Status.PASSED: FIXED, Status.REJECTED: "not taken", Status.KNOWN: "known", Status.QUARANTINED: "quarantined"}


@dataclass(frozen=True, slots=True)
class Triaged:
    """A stored bug as it is now."""

    path: Path
    """file with its smallest case"""
    stored: Entry
    """as that file has it"""
    entry: Entry
    """as it was found now"""
    status: str
    """STILL_FAILS, FAILS_OTHERWISE (under another signature), FIXED, NOT_RUN (its target cannot be loaded), NEW, NOT_REPEATED, or
    one of WORDS"""
    reason: str = ""
    """why it was not run or not taken"""
    others: tuple[Path, ...] = ()
    """files with other cases of the bug"""
    trace: Trace | None = None
    """addresses that are read and written; None: it does not fail, or they could not be found out"""
    harness_error: HarnessError | None = None
    """our own fault in the diagnosis or the trace, for the caller to raise once all bugs are shown"""

    @property
    def failing(self) -> bool:
        return self.status in FAILING

    @property
    def as_new(self) -> Triaged:
        """The same of a bug that a campaign has just found: it cannot be fixed, nor fail still."""
        status = {STILL_FAILS: NEW, FIXED: NOT_REPEATED}.get(self.status, self.status)
        return dataclasses.replace(self, status=status)


def triage(
    entries: dict[Path, Entry], plan: WorkerConfig, chosen: str | None, seconds: float, tell: Tell = str
) -> Iterator[Triaged]:
    """Each bug of the entries, on the target that its file names, or on the `chosen` one; `plan` says where and how long.

    A bug without a diagnosis is diagnosed, for at most `seconds`.
    `tell` gets the reason if the interpreter takes over. Raises UsageError if a ledger is wrong.
    """
    bugs = _bugs(entries)
    for target in dict.fromkeys(chosen or entries[path].target for path in bugs):
        of_target = {path: others for path, others in bugs.items() if (chosen or entries[path].target) == target}
        try:
            trusted = target_of(entries[next(iter(of_target))], chosen)
            worker = ResilientWorker(dataclasses.replace(plan, target=trusted), tell)
        except UsageError as error:
            yield from (Triaged(p, entries[p], entries[p], NOT_RUN, str(error), others) for p, others in of_target.items())
            continue
        with worker:
            for path, others in of_target.items():
                yield dataclasses.replace(_run_again(path, entries[path], worker, seconds), others=others)


def _bugs(entries: dict[Path, Entry]) -> dict[Path, tuple[Path, ...]]:
    """The file with the simplest calls of each bug, and the other files of it."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path, entry in entries.items():
        found.setdefault(entry.bug, []).append(path)
    ranked = (sorted(paths, key=lambda path: sort_key(entries[path].calls)) for paths in found.values())
    return {first: tuple(others) for first, *others in ranked}


def _run_again(path: Path, stored: Entry, worker: CaseRunner, seconds: float) -> Triaged:
    ledger = load_ledger(path.parent, worker.plan.target)
    outcome = ledger.apply_ledger(worker.run_calls)(stored.calls)
    if not outcome.findings:
        return Triaged(path, stored, stored, WORDS[outcome.status], outcome.reason)
    entry = _as_found(stored, outcome, worker)
    status = STILL_FAILS if entry.signature == stored.signature else FAILS_OTHERWISE
    where = outcome.findings[0].where
    try:
        entry = with_diagnosis(entry, worker, seconds)
        trace = worker.trace(entry.case, entry.fault, (where[0], where[1]) if len(where) > 1 else (0, 0))
    except HarnessError as error:
        return Triaged(path, stored, entry, status, harness_error=error)
    return Triaged(path, stored, entry, status, trace=trace)


def _as_found(stored: Entry, outcome: Outcome, worker: CaseRunner) -> Entry:
    """The entry as this run found it, without a diagnosis of another target or failure, which says nothing about this one."""
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
