"""Run stored cases again, and minimise one further."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.campaign.record import diagnosed, minimised_entry
from fuzz_decode.campaign.reproduce import NOT_REPEATED, as_it_is, first_failure, shrink_in_fresh
from fuzz_decode.corpus import store
from fuzz_decode.corpus.ledger import KnownFailure, load_ledger
from fuzz_decode.corpus.store import Entry
from fuzz_decode.errors import UsageError
from fuzz_decode.outcome import PASSED, Outcome
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.protocol import Plan
from fuzz_decode.workers.worker import PatientWorker

MUTANT = "mutant:"  # what follows is looked up among the mutants; of other names those with a colon are imported


@dataclass(frozen=True, slots=True)
class Replayed:
    """A stored case run again; `out_of_date` is the ledger's entry that says that it fails, although it passed."""

    path: Path
    entry: Entry
    outcome: Outcome
    out_of_date: KnownFailure | None = None


def as_found(entry: Entry, outcome: Outcome, target: str) -> Entry:
    """A stored entry with what a run of its case on some target found."""
    return dataclasses.replace(entry, target=target, signature=outcome.signature, finding=outcome.findings[0].to_json())


def find_files(names: list[str], folder: Path) -> list[Path]:
    """Case files that the names mean: a file, a folder of files, or a digest in `folder`; no name means the whole folder.

    Raises UsageError for a name that is none of these.
    """
    found: list[Path] = []
    for name in names or [str(folder)]:
        if os.path.isdir(name):  # unlike those of Path, these take a name that cannot be looked up for one that is not there
            found += sorted(Path(name).glob("*.json"))
        elif os.path.isfile(name):
            found.append(Path(name))
        else:
            matches = sorted(folder.glob(f"{name}*.json")) if name.isalnum() else []
            if len(matches) != 1:
                what = "matches several files" if matches else "is no file, folder or digest"
                raise UsageError(f"{name} {what} in {folder}")
            found += matches
    return found


def target_of(entry: Entry, chosen: str | None) -> str:
    """The target to run a stored case on: the one chosen, else the one in the file if that is built in.

    To run a target is to import it, and what is imported is not for a file to say. Raises UsageError.
    """
    if chosen is None and ":" in entry.target and not entry.target.startswith(MUTANT):
        named = shlex.quote(entry.target)
        raise UsageError(f"no code is imported because a file names it; if you trust this target, say --target {named}")
    return entry.target if chosen is None else chosen


def replay(entries: dict[Path, Entry], plan: Plan) -> Iterator[Replayed]:
    """Run each entry's case on the plan's target, but for what the ledger beside it forbids.

    Raises UsageError if a ledger is wrong or the target cannot be imported.
    """
    ledgers = {folder: load_ledger(folder, plan.target) for folder in {path.parent for path in entries}}
    with PatientWorker(plan) as worker:
        for path, entry in entries.items():
            ledger = ledgers[path.parent]
            outcome = ledger.excusing(worker.run_calls)(entry.calls)
            yield Replayed(path, entry, outcome, ledger.expected(entry) if outcome.status == PASSED else None)


def minimise(path: Path, entry: Entry, plan: Plan, seconds: float) -> tuple[Path, Entry, Shrunk] | None:
    """Shrink the entry's case on the plan's target and store the result beside it; None if the case does not fail there.

    A known failure shrinks like any other, but what is new does not shrink into what is known. Raises UsageError if the ledger is
    wrong or the target cannot be imported.
    """
    ledger = load_ledger(path.parent, plan.target)
    with PatientWorker(plan) as worker:
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
        shrunk = shrink_in_fresh(calls, outcome, worker, seconds, as_it_is if known else ledger.excusing)
        if shrunk is None:
            return None
        smaller = dataclasses.replace(minimised_entry(raw, shrunk), diagnosis="", fault="")
        path, smaller = store.settle(path, smaller, ledger.same_bug(smaller, worker.failing_as(raw.signature)))
        smaller = diagnosed(smaller, worker, seconds)
        return store.replace(path, smaller), smaller, shrunk
