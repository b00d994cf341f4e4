"""Shrink a stored case further."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.campaign.make_entry import minimized_entry, with_diagnosis
from fuzz_decode.campaign.reproduce import as_it_is, first_failure, shrink_in_fresh, under
from fuzz_decode.campaign.state import NOT_REPEATED
from fuzz_decode.corpus import store
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import Ledger, load_ledger
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker, Tell


@dataclass(frozen=True, slots=True)
class MinimizedEntry:
    """A stored entry that was shrunk."""

    path: Path
    """file that has the bug now"""
    entry: Entry
    shrunk: Shrunk
    removed: tuple[Path, ...]
    """files that are gone, that of the entry among them if it is another one now"""
    harness_error: HarnessError | None
    """our own fault in the diagnosis, for the caller to raise once the entry is shown"""


def minimize(path: Path, entry: Entry, plan: WorkerConfig, seconds: float, tell: Tell = str) -> MinimizedEntry | Outcome:
    """Shrink the entry's case on the plan's target and store the result beside it.

    The outcome there, and nothing changes, if the case does not fail with the entry's signature. A known failure shrinks like any
    other, but a new one does not shrink into a known one. The entry itself stays if it is one of another target.
    `tell` gets the reason if the interpreter takes over. Raises UsageError if the
    ledger is wrong or the target cannot be imported, HarnessError if our own code failed.
    """
    ledger = load_ledger(path.parent, plan.target)
    with ResilientWorker(plan, tell) as worker:
        calls, outcome = first_failure(entry.calls, entry.signature, worker)
        if outcome.signature != entry.signature:
            return outcome
        known = ledger.entry(outcome.signature, calls)
        shrunk = shrink_in_fresh(calls, outcome, worker, seconds, as_it_is if known else under(ledger))
        if not isinstance(shrunk, Shrunk):
            return shrunk
        again = _as_run(entry, outcome, worker)
        return store_minimized(path, again, shrunk, worker, ledger, seconds, keep=entry.target != plan.target)


def _as_run(entry: Entry, outcome: Outcome, worker: CaseRunner) -> Entry:
    """The entry as it failed now, without a diagnosis."""
    return dataclasses.replace(
        entry,
        target=worker.plan.target,
        stage=outcome.stage,
        device=worker.plan.device,
        versions=worker.ready.versions,
        note="" if entry.note.startswith(NOT_REPEATED) else entry.note,
        diagnosis="",
        fault="",
        suspect="",
    )


def store_minimized(
    path: Path,
    entry: Entry,
    shrunk: Shrunk,
    worker: CaseRunner,
    ledger: Ledger,
    seconds: float,
    *,
    keep: bool = False,
    known: tuple[str, ...] = (),
) -> MinimizedEntry:
    """The shrunk entry, on disk before it is diagnosed, instead of others of its bug and, unless it is to be kept, of `path`.
    `known` are faults that the target has besides.

    Raises NotSaved.
    """
    harness_error = None
    smaller = minimized_entry(entry, shrunk)
    now = store.save(path.parent, smaller) if keep else store.replace(path, smaller)
    try:
        smaller = with_diagnosis(smaller, worker, seconds, known)
    except HarnessError as error:  # the finding is worth more than its diagnosis
        harness_error = error
    store.save(path.parent, smaller)
    best = store.deduplicate(now, smaller, ledger.same_bug(smaller, worker.failing_as(smaller.signature)))
    removed = best.removed if keep or now == path else (path, *best.removed)
    return MinimizedEntry(best.path, best.entry, shrunk, removed, harness_error)
