"""How far a campaign is: what was run, covered, rejected and found; plain data, most of which a checkpoint keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure, Ledger
from fuzz_decode.corpus.read import load_files
from fuzz_decode.errors import HarnessError
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.outcome import Signature, Symptom

MAX_REASONS = 1000  # distinct ones; a target may put anything into the text of what it raises
OTHER_REASONS = "other reasons"


@dataclass(slots=True)
class Bug:
    """One bug that a campaign found."""

    entry: Entry
    path: Path
    """its file in the corpus"""
    first_case_index: int
    """number of the first case that showed it"""
    count: int = 1
    """cases that showed it"""
    is_saved: bool = True
    """whether `path` could be written"""

    @property
    def file(self) -> Path | None:
        """The file that has it; None if it could not be saved."""
        return self.path if self.is_saved else None

    @property
    def is_timeout(self) -> bool:
        return self.entry.signature.symptom is Symptom.TIMEOUT


@dataclass(slots=True)
class CampaignState:
    """What a campaign did so far."""

    next_case: int = 0
    """number of the case to judge next"""
    done: int = 0
    """cases judged"""
    seconds: float = 0.0
    """time spent before the campaign was resumed"""
    coverage: Coverage = field(default_factory=Coverage)
    """what the cases were like"""
    rejected: Counter[str] = field(default_factory=Counter)
    """reason to number of cases"""
    bugs: dict[Signature, Bug] = field(default_factory=dict)
    """signature to bug, in the order in which they were found"""
    also: dict[Signature, Signature] = field(default_factory=dict)
    """signature to that of a bug which shows with either; not kept in a checkpoint, since the next such case tells it again"""
    known: Counter[KnownFailure] = field(default_factory=Counter)
    """entry of the ledger to number of cases that it covers"""
    unexpected_passes: dict[KnownFailure, Path] = field(default_factory=dict)
    """entry of the ledger to a stored case that should fail but passes"""
    versions: dict[str, str] = field(default_factory=dict)
    """versions in use; empty until the target is loaded"""
    engine_reason: str = ""
    """why the interpreter runs the cases instead of the native engine; empty: there is no such reason"""
    stopped_because: str = ""
    """why it ended before its limits; empty: it did not"""
    harness_errors: list[HarnessError] = field(default_factory=list)
    """faults of fuzz-decode while findings were diagnosed; raised at the end"""

    def bug_of(self, signature: Signature) -> Bug | None:
        """The bug that shows with the signature, if it is not new."""
        return self.bugs.get(self.also.get(signature, signature))

    def reject(self, reason: str, count: int = 1) -> None:
        """Count rejected cases. The number of distinct reasons is bounded, since each is kept and shown."""
        is_new = reason not in self.rejected
        self.rejected[OTHER_REASONS if is_new and len(self.rejected) >= MAX_REASONS else reason] += count

    def to_json(self, ledger: Ledger, seconds: float) -> dict[str, Any]:
        """Plain data for a checkpoint, `seconds` after the start; the corpus has the findings themselves."""
        return {
            "next": self.next_case,
            "done": self.done,
            "seconds": self.seconds + seconds,
            "rejected": dict(self.rejected),
            "bugs": [[bug.path.name, bug.first_case_index, bug.count] for bug in self.bugs.values()],
            "known": [[ledger.entries.index(known), count] for known, count in self.known.items()],
            "coverage": self.coverage.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], ledger: Ledger, folder: Path) -> CampaignState:
        """The state of a checkpoint, with findings from the corpus in `folder`.

        Raises ValueError, TypeError, KeyError, IndexError or AttributeError if the data or the ledger are of another campaign.
        """
        state = cls(int(data["next"]), int(data["done"]), float(data["seconds"]))
        state.rejected = Counter(data["rejected"])
        state.known = Counter({ledger.entries[index]: count for index, count in data["known"]})
        state.coverage = Coverage.from_json(data["coverage"])
        found = [(folder / Path(name).name, index, count) for name, index, count in data["bugs"]]
        entries = load_files(path for path, _, _ in found)[0]  # a finding whose file was removed is found again
        bugs = (Bug(entries[path], path, index, count) for path, index, count in found if path in entries)
        state.bugs = {bug.entry.signature: bug for bug in bugs}
        return state
