"""A diagnosis within one process: what a campaign says after minimising, for measuring how often it is right."""

from __future__ import annotations

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import Examination
from fuzz_decode.diagnose.examine import examine
from fuzz_decode.execute.run_case import run_case
from fuzz_decode.outcome import Outcome
from fuzz_decode.shrink.shrinker import shrink_calls
from fuzz_decode.targets.target import Target

SHRINK_SECONDS, EXAMINE_SECONDS = 15.0, 20.0


def diagnose(case: Case, target: Target, device: str, outcome: Outcome) -> tuple[str, bool]:
    """The fault's name, empty if it is unknown, and whether it is named with confidence."""
    simplest = case
    if outcome.stage != "run":
        simplest = shrink_calls((case,), outcome, lambda calls: run_case(calls[0], target, device), SHRINK_SECONDS).case
    found = examine(Examination(simplest, case, EXAMINE_SECONDS), target, device)
    return found.fault, found.confident
