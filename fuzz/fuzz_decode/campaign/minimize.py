"""Shrink a stored case further."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fuzz_decode.campaign.record import minimised_entry, with_diagnosis
from fuzz_decode.campaign.reproduce import NOT_REPEATED, as_it_is, first_failure, shrink_in_fresh
from fuzz_decode.corpus import store
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import load_ledger
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker


def minimize(path: Path, entry: Entry, plan: WorkerConfig, seconds: float) -> tuple[Path, Entry, Shrunk] | None:
    """Shrink the entry's case on the plan's target and store the result beside it; None if the case does not fail there.

    A known failure shrinks like any other, but a new one does not shrink into a known one. Raises UsageError if the ledger is
    wrong or the target cannot be imported, HarnessError if our own code failed; if that was in the diagnosis, the minimized case
    is stored without one.
    """
    ledger = load_ledger(path.parent, plan.target)
    with ResilientWorker(plan) as worker:
        calls, outcome = first_failure(entry.calls, worker)
        if not outcome.findings:
            return None
        raw = dataclasses.replace(
            entry,
            target=plan.target,
            signature=outcome.signature,
            stage=outcome.stage,
            device=plan.device,
            versions=worker.ready.versions,
            note="" if entry.note.startswith(NOT_REPEATED) else entry.note,
        )
        known = ledger.entry(outcome.signature, calls)
        shrunk = shrink_in_fresh(calls, outcome, worker, seconds, as_it_is if known else ledger.apply_ledger)
        if shrunk is None:
            return None
        smaller = dataclasses.replace(minimised_entry(raw, shrunk), diagnosis="", fault="")
        path, smaller = store.replace_and_deduplicate(path, smaller, ledger.same_bug(smaller, worker.failing_as(raw.signature)))
        smaller = with_diagnosis(smaller, worker, seconds)
        return store.replace(path, smaller), smaller, shrunk
