"""Run stored cases again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure, load_ledger
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker, Tell


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stored case run again."""

    path: Path
    entry: Entry
    outcome: Outcome
    out_of_date: KnownFailure | None = None
    """the ledger's entry that expects a failure, although the case passed"""


def replay(entries: dict[Path, Entry], plan: WorkerConfig, tell: Tell = str) -> Iterator[Replayed]:
    """Run each entry's case on the plan's target, except those that the ledger beside it quarantines. `tell` gets the reason if
    the interpreter takes over.

    Raises UsageError if a ledger is wrong or the target cannot be imported.
    """
    ledgers = {folder: load_ledger(folder, plan.target) for folder in {path.parent for path in entries}}
    with ResilientWorker(plan, tell) as worker:
        for path, entry in entries.items():
            ledger = ledgers[path.parent]
            outcome = ledger.apply_ledger(worker.run_calls)(entry.calls)
            out_of_date = ledger.expected(entry) if outcome.status == Status.PASSED else None
            yield Replayed(path, entry, outcome, out_of_date)
