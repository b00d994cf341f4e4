"""A finding on its way into the corpus: as it came, minimised, and with what the target does wrong."""

from __future__ import annotations

import dataclasses

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose.diagnosis import SECONDS, beyond_reach
from fuzz_decode.outcome import Outcome
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker


def raw_entry(plan: WorkerConfig, calls: CallSequence, outcome: Outcome, versions: dict[str, str]) -> Entry:
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


def with_diagnosis(entry: Entry, worker: ResilientWorker, seconds: float) -> Entry:
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
