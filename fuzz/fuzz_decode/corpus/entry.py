"""A failing case with what is known about it: plain data, and the JSON of a case file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json, case_to_json
from fuzz_decode.outcome import Signature, Stage

SCHEMA = 1
_LATER = ("before", "fault", "suspect")  # fields that the first version did not have


@dataclass(frozen=True, slots=True)
class Entry:
    """A failing case with what is known about it. Fields are named as in the JSON of a case file, but for `schema`."""

    case: Case
    """the simplest failing case found so far"""
    raw_case: Case
    """the case as it was drawn"""
    target: str
    """name of the function that failed"""
    signature: Signature
    """names the failure across cases"""
    stage: Stage
    """how far the case came"""
    device: str
    """cpu or cuda"""
    finding: dict[str, Any] = field(default_factory=dict)
    """the first violation of `case`, as JSON"""
    needed: dict[str, str] = field(default_factory=dict)
    """feature of `case` to what happens without it"""
    minimised: bool = False
    """whether minimizing came to its end; spelled as in schema 1"""
    diagnosis: str = ""
    """what the target does wrong, as a sentence; empty if unknown"""
    fault: str = ""
    """name of the fault that the diagnosis is confident of"""
    suspect: str = ""
    """name of a fault that explains `case`, where the diagnosis is confident of none"""
    versions: dict[str, str] = field(default_factory=dict)
    """name to version of what was in use"""
    note: str = ""
    """remark in words"""
    before: CallSequence = ()
    """calls that must come first in the same process for `case` to fail, oldest first"""

    @property
    def calls(self) -> CallSequence:
        """All calls, in order; the last one fails."""
        return (*self.before, self.case)

    @property
    def digest(self) -> str:
        """12 hexadecimal digits of a hash of target, signature and calls."""
        text = "\n".join((self.target, self.signature, *(canonical_json(case) for case in self.calls)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        return f"{self.digest}.json"

    @property
    def bug(self) -> tuple[str, Signature]:
        """Target and signature. A campaign counts failures that share them as one bug."""
        return self.target, self.signature

    def is_same_bug_as(self, other: Entry) -> bool:
        """Whether one of the two can stand for both: a signature alone is shared by bugs that have nothing else in common."""
        same_fault = self.fault != "" and self.fault == other.fault
        return self.bug == other.bug and (self.raw_case == other.raw_case or same_fault)

    def to_json(self) -> dict[str, Any]:
        """Plain data. Later fields are left out where they are empty, so that older versions can read the file."""
        cases = {
            "case": case_to_json(self.case),
            "raw_case": case_to_json(self.raw_case),
            "before": [case_to_json(case) for case in self.before],
        }
        data = {"schema": SCHEMA, **dataclasses.asdict(self), **cases}
        return {name: value for name, value in data.items() if value or name not in _LATER}
