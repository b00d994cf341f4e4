"""Answers `EvaluateCase` in the child: load the target, run the case, judge it, and name the fault behind a failure if requested.

This is how detection power is measured: one process imports Triton once, and its forks load one mutant each.
"""

from __future__ import annotations

import dataclasses
import functools

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import DiagnoseRequest
from fuzz_decode.diagnose.find_fault import examine
from fuzz_decode.execute.compare_with_tolerance import compare_with_tolerance
from fuzz_decode.execute.contain import load_contained
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.outcome import Outcome, Stage, Symptom, Violation, failure
from fuzz_decode.shrink.shrinker import shrink_calls
from fuzz_decode.targets.resolve import resolve
from fuzz_decode.targets.target import Target
from fuzz_decode.workers.protocol import EvaluateCase

SHRINK_SECONDS, EXAMINE_SECONDS = 15.0, 20.0


# Module state: a fork evaluates many cases of one mutant in a row, and building a mutant takes longer than a case.
@functools.lru_cache(maxsize=1)
def loaded(name: str) -> Target:
    return load_contained(lambda: resolve(name))


def evaluate_case(request: EvaluateCase, device: str) -> Outcome:
    """The outcome of the case. Raises TargetError if there is no such target."""
    target = loaded(request.target)
    if crashed := request.crashed:
        outcome = failure(
            Stage.RUN, Violation("worker", Symptom.CRASH, crashed.tensor, "this case killed the process", detail=crashed.detail)
        )
    elif request.tolerance is not None:
        outcome = compare_with_tolerance(request.case, target, device, request.tolerance)
    else:
        outcome = run_case(request.case, target, device, request.memory)
    if not (request.diagnose and outcome.findings):
        return outcome
    diagnosed, confident = diagnose(request.case, target, device, outcome)
    return dataclasses.replace(outcome, diagnosed=diagnosed, confident=confident)


def diagnose(case: Case, target: Target, device: str, outcome: Outcome) -> tuple[str, bool]:
    """The fault's name, empty if it is unknown, and whether it is named with confidence: what a campaign finds out after it has
    minimized the case, but within this process."""
    simplest = case
    if outcome.stage != Stage.RUN:
        simplest = shrink_calls((case,), outcome, lambda calls: run_case(calls[0], target, device), SHRINK_SECONDS).case
    found = examine(DiagnoseRequest(simplest, case, EXAMINE_SECONDS), target, device)
    return found.fault, found.confident
