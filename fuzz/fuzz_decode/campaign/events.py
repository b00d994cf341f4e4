"""What a campaign tells while it runs."""

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
    ready: WorkerInfo


@dataclass(frozen=True, slots=True)
class CaseDone:
    case: Case
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Found:
    """A failure with a signature not seen before, already saved at `path`."""

    entry: Entry
    path: Path
    case_index: int


@dataclass(frozen=True, slots=True)
class Minimised:
    """`shrunk` is None where the failure did not come back in a fresh process, or no time was left; the entry's note says it."""

    entry: Entry
    path: Path
    shrunk: Shrunk | None


@dataclass(frozen=True, slots=True)
class SpuriousTimeout:
    """A timeout that was none: alone the case answers in time. Its file is gone, and it counts as rejected."""

    path: Path
    reason: str


Event = Started | CaseDone | Found | Minimised | SpuriousTimeout
