"""Events that a campaign emits while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.outcome import Outcome
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.protocol import WorkerInfo


@dataclass(frozen=True, slots=True)
class Started:
    """The target is loaded; no case was run yet."""

    ready: WorkerInfo


@dataclass(frozen=True, slots=True)
class NotResumable:
    """Another campaign runs on the same corpus and keeps its checkpoint there, so that this one keeps none."""

    corpus: Path


@dataclass(frozen=True, slots=True)
class EngineReplaced:
    """The interpreter runs the cases from here on: the native engine could not run a kernel, or could not be used at all."""

    reason: str


@dataclass(frozen=True, slots=True)
class CaseRun:
    """A case was run. It is judged once those before it are."""


@dataclass(frozen=True, slots=True)
class CaseDone:
    """A case was judged, in the order of the cases."""

    case: Case
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Found:
    """A failure with a new signature, already saved at `path`; `case_index` is the number of its case."""

    entry: Entry
    path: Path
    case_index: int


@dataclass(frozen=True, slots=True)
class Minimized:
    """The failure that was found last, minimized and diagnosed.

    `shrunk` is None if it did not fail again in a fresh process, or if no time was left; the entry's note says which.
    """

    entry: Entry
    path: Path
    shrunk: Shrunk | None


@dataclass(frozen=True, slots=True)
class SpuriousTimeout:
    """The failure that was found last was a timeout, but run alone the case is answered in time.

    Its file is removed, and its cases count as rejected.
    """

    path: Path
    reason: str


Event = Started | NotResumable | EngineReplaced | CaseRun | CaseDone | Found | Minimized | SpuriousTimeout
