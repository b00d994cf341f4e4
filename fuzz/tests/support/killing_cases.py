"""For each real-bug mutant a minimized case that kills it, and the signature with which it fails (killing_cases.json)."""

from __future__ import annotations

import json
from pathlib import Path

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import case_from_json

KILLED_BY = json.loads(Path(__file__).with_suffix(".json").read_text())


def killing_case(name: str) -> Case:
    return case_from_json(KILLED_BY[name]["case"])
