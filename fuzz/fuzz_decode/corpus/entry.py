"""A failing case with what is known about it: plain data, and the JSON of a case file."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json, case_to_json

SCHEMA = 1
_LATER = ("before", "fault")


@dataclass(frozen=True, slots=True)
class Entry:
    """A failing case with what is known about it. `raw_case` is the case as it was drawn, `needed` says for each remaining
    feature of `case` what happens without it, `finding` is the first oracle's finding on `case`. `diagnosis` is in words, `fault`
    names what it names with confidence. `before` are the calls, oldest first, that must have been made in the same process for
    it to fail."""

    case: Case
    raw_case: Case
    target: str
    signature: str
    stage: str
    device: str
    finding: dict[str, Any] = field(default_factory=dict)
    needed: dict[str, str] = field(default_factory=dict)
    minimised: bool = False
    diagnosis: str = ""
    fault: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    before: CallSequence = ()

    @property
    def calls(self) -> CallSequence:
        return (*self.before, self.case)

    @property
    def digest(self) -> str:
        text = "\n".join((self.target, self.signature, *(canonical_json(case) for case in self.calls)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def bug(self) -> tuple[str, str]:
        """Entries with the same target and signature are one bug."""
        return self.target, self.signature

    def to_json(self) -> dict[str, Any]:
        """Plain data; what older versions do not know is left out where it is empty, so that they read the file."""
        cases = {
            "case": case_to_json(self.case),
            "raw_case": case_to_json(self.raw_case),
            "before": [case_to_json(c) for c in self.before],
        }
        data = {"schema": SCHEMA, **dataclasses.asdict(self), **cases}
        return {name: value for name, value in data.items() if value or name not in _LATER}
