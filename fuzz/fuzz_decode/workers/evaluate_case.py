"""Evaluating one case in the child: load its target, run the case, judge, and name the fault behind a failure if that was asked.

Detection power is measured so: one process imports Triton once, and its forks load one mutant each.
"""

from __future__ import annotations

import dataclasses
import functools

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import DiagnoseRequest
from fuzz_decode.diagnose.examine import examine
from fuzz_decode.execute.compare_with_tolerance import compare_with_tolerance
from fuzz_decode.execute.run_case import run_case
from fuzz_decode.outcome import Outcome, Violation, failure
from fuzz_decode.shrink.shrinker import shrink_calls
from fuzz_decode.targets.resolve import resolve
from fuzz_decode.targets.target import Target
from fuzz_decode.workers.protocol import EvaluateCase

SHRINK_SECONDS, EXAMINE_SECONDS = 15.0, 20.0

loaded = functools.lru_cache(maxsize=1)(resolve)  # a fork evaluates many cases of one mutant in a row


def evaluate_case(trial: EvaluateCase, device: str) -> Outcome:
    """The trial's outcome. Raises TargetError if there is no such target."""
    target = loaded(trial.target)
    if trial.crashed:
        symptom, _, tensor = trial.crashed.partition(":")
        outcome = failure("run", Violation("worker", symptom, tensor, "it died of this case"))
    elif trial.tolerance is not None:
        outcome = compare_with_tolerance(trial.case, target, device, trial.tolerance)
    else:
        outcome = run_case(trial.case, target, device, trial.memory)
    if not (trial.diagnose and outcome.findings):
        return outcome
    diagnosed, confident = diagnose(trial.case, target, device, outcome)
    return dataclasses.replace(outcome, diagnosed=diagnosed, confident=confident)


def diagnose(case: Case, target: Target, device: str, outcome: Outcome) -> tuple[str, bool]:
    """The fault's name, empty if it is unknown, and whether it is named with confidence: as a campaign says after minimizing, but
    within this process."""
    simplest = case
    if outcome.stage != "run":
        simplest = shrink_calls((case,), outcome, lambda calls: run_case(calls[0], target, device), SHRINK_SECONDS).case
    found = examine(DiagnoseRequest(simplest, case, EXAMINE_SECONDS), target, device)
    return found.fault, found.confident
