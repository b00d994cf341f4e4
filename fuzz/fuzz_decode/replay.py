"""Run stored cases again, and minimise one further."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode import corpus
from fuzz_decode.campaign import minimised_entry
from fuzz_decode.corpus import Entry
from fuzz_decode.errors import UsageError
from fuzz_decode.outcome import Outcome
from fuzz_decode.repeat import NOT_REPEATED, first_failure, shrink_in_fresh
from fuzz_decode.shrink import Shrunk
from fuzz_decode.worker import PatientWorker, Plan


@dataclass(frozen=True, slots=True)
class Replayed:
    path: Path
    entry: Entry
    outcome: Outcome


def find_files(names: list[str], folder: Path) -> list[Path]:
    """Case files that the names mean: a file, a folder of files, or a digest in `folder`; no name means the whole folder.

    Raises UsageError for a name that is none of these.
    """
    found: list[Path] = []
    for name in names or [str(folder)]:
        path = Path(name)
        if path.is_dir():
            found += sorted(path.glob("*.json"))
        elif path.is_file():
            found.append(path)
        else:
            matches = sorted(folder.glob(f"{name}*.json")) if name.isalnum() else []
            if len(matches) != 1:
                what = "matches several files" if matches else "is no file, folder or digest"
                raise UsageError(f"{name} {what} in {folder}")
            found += matches
    return found


def replay(entries: dict[Path, Entry], plan: Plan) -> Iterator[Replayed]:
    """Run each entry's case on the plan's target. Raises UsageError if the target cannot be imported."""
    with PatientWorker(plan) as worker:
        for path, entry in entries.items():
            yield Replayed(path, entry, worker.run_calls(entry.calls))


def minimise(path: Path, entry: Entry, plan: Plan, seconds: float) -> tuple[Path, Entry, Shrunk] | None:
    """Shrink the entry's case on the plan's target and store the result beside it; None if the case does not fail there."""
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
        shrunk = shrink_in_fresh(calls, outcome, worker, seconds)
        if shrunk is None:
            return None
        return *corpus.settle(path, minimised_entry(raw, shrunk), worker.failing_as(raw.signature)), shrunk
