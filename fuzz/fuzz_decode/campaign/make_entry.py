"""The corpus entry of a finding: as it was found, minimized, and with a diagnosis."""

from __future__ import annotations

import dataclasses

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose.diagnosis import SECONDS, beyond_reach
from fuzz_decode.outcome import Outcome, Stage
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.protocol import WorkerConfig


def raw_entry(plan: WorkerConfig, calls: CallSequence, outcome: Outcome, versions: dict[str, str]) -> Entry:
    """The entry of a failure of the last call, as it was found."""
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


def minimized_entry(raw: Entry, shrunk: Shrunk) -> Entry:
    """The entry with its case replaced by the simplest one found."""
    return dataclasses.replace(
        raw,
        case=shrunk.case,
        before=shrunk.before,
        finding=shrunk.outcome.findings[0].to_json(),
        needed=shrunk.needed,
        minimised=shrunk.complete,
    )


def with_diagnosis(entry: Entry, worker: CaseRunner, seconds: float, known: tuple[str, ...] = ()) -> Entry:
    """The entry with what the target does wrong besides `known` faults, if that can be found out. Raises HarnessError if our own
    code failed.

    Not diagnosed are several calls, whose fault is state that is left behind, and a call that raised, whose exception says why.
    One that crashed is diagnosed where a memory fence can contain it: in the interpreter.
    """
    if entry.before or entry.diagnosis:
        return entry
    crashed = entry.signature.is_signal and worker.plan.device == "cpu"
    far = beyond_reach(entry.case) if entry.stage == Stage.RUN else ""
    if entry.stage == Stage.RUN and not crashed:
        return dataclasses.replace(entry, diagnosis=far)
    raw = entry.raw_case if entry.raw_case != entry.case else None
    found = worker.diagnose(entry.case, raw, min(seconds, SECONDS), known)
    words = [found.sentence] if found.fault else [far, found.sentence]
    fault, suspect = (found.fault, "") if found.confident else ("", found.fault)
    return dataclasses.replace(entry, diagnosis="; ".join(filter(None, words)), fault=fault, suspect=suspect)
