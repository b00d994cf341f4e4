"""How far a campaign is: what was run, covered, rejected and found; plain data, most of which a checkpoint keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure, Ledger
from fuzz_decode.corpus.read import load_files
from fuzz_decode.diagnose.diagnosis import KnownBug
from fuzz_decode.errors import HarnessError
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.outcome import Signature, Symptom

NOT_REPEATED = "did not fail again"  # begins the note of a finding that a fresh process does not show
MAX_REASONS = 1000  # distinct ones; a target may put anything into the text of what it raises
OTHER_REASONS = "other reasons"
MAX_CASES = 1000  # of one bug, whose numbers are kept


@dataclass(slots=True)
class Bug:
    """One bug that a campaign found. Bugs are told apart by their cause: several may have the same signature."""

    entry: Entry
    path: Path
    """its file in the corpus"""
    first_case_index: int
    """number of the first case that showed it"""
    count: int = 1
    """cases that showed it"""
    is_saved: bool = True
    """whether `path` could be written"""
    cases: list[int] = field(default_factory=list)
    """numbers of the first MAX_CASES cases that showed it"""
    also: set[Signature] = field(default_factory=set)
    """other signatures that it was seen with; not kept in a checkpoint, since the next such case tells it again"""
    is_settled: bool = True
    """whether it is not being minimized: only then is anything known of it"""
    absorbs: bool = False
    """whether it was found twice: from then on it stands for what has its signature and no other cause"""

    @property
    def signature(self) -> Signature:
        return self.entry.signature

    @property
    def known(self) -> KnownBug:
        """What is asked of later failures."""
        entry, signatures = self.entry, (self.signature, *sorted(self.also))
        tokens = max(entry.case.seq_lens) if "seq_lens" in entry.needed else 0
        fault, certain = entry.fault or entry.suspect, entry.fault != ""
        raises = self.signature.symptom is Symptom.EXCEPTION
        return KnownBug(self.first_case_index, signatures, fault, tuple(entry.needed), tokens, certain, raises)

    @property
    def place(self) -> str:
        """The line of the target that raised; empty if it did not, or if that is not known."""
        return str(self.entry.finding.get("place", ""))

    @property
    def in_plain_layout(self) -> bool:
        """Whether its simplest case is right itself, and wrong with the same values in a plain layout."""
        return bool(self.entry.finding.get("in_plain_layout"))

    @property
    def is_of_state(self) -> bool:
        """Whether it did not show in a fresh process."""
        return self.entry.note.startswith(NOT_REPEATED)

    def has(self, signature: Signature) -> bool:
        return signature == self.signature or signature in self.also

    def add(self, *cases: int, count: int = 1) -> None:
        """Count further cases that show it."""
        self.count += count
        self.cases = sorted({*self.cases, *cases})[:MAX_CASES]

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
    bugs: list[Bug] = field(default_factory=list)
    """in the order in which they were found"""
    unexplained: int = 0
    """failing cases that were counted with a bug for their signature alone"""
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
        """The first bug that shows with the signature."""
        return next((bug for bug in self.bugs if bug.has(signature)), None)

    def bug_number(self, number: int) -> Bug | None:
        """The bug that was found in the case with that number."""
        return next((bug for bug in self.bugs if bug.first_case_index == number), None)

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
            "bugs": [[bug.path.name, bug.first_case_index, bug.count, bug.cases, bug.absorbs] for bug in self.bugs],
            "unexplained": self.unexplained,
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
        state.unexplained = int(data["unexplained"])
        found = [(folder / Path(name).name, *more) for name, *more in data["bugs"]]
        entries = load_files(path for path, *_ in found)[0]  # a finding whose file was removed is found again
        state.bugs = [
            Bug(entries[path], path, index, count, cases=cases, absorbs=absorbs)
            for path, index, count, cases, absorbs in found
            if path in entries
        ]
        return state
