"""A trial in the child: load its target, run its case, judge, and say what is behind a failure if that was asked."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.compare_with_tolerance import run_plainly
from fuzz_decode.execute.run_case import run_case
from fuzz_decode.outcome import Finding, Outcome, failure
from fuzz_decode.targets import resolve
from fuzz_decode.targets.target import Target
from fuzz_decode.workers.trial import DIAGNOSER, Trial

Diagnose = Callable[[Case, Target, str, Outcome], tuple[str, bool]]

loaded = functools.lru_cache(maxsize=1)(resolve)


def attempt(trial: Trial, device: str, diagnoser: str = DIAGNOSER) -> Outcome:
    """The trial's outcome. Raises TargetError if there is no such target."""
    target = loaded(trial.target)
    if trial.crashed:
        symptom, _, tensor = trial.crashed.partition(":")
        outcome = failure("run", Finding("worker", symptom, tensor, "it died of this case"))
    elif trial.tolerance is not None:
        outcome = run_plainly(trial.case, target, device, trial.tolerance)
    else:
        outcome = run_case(trial.case, target, device, trial.memory)
    if not (trial.diagnose and diagnoser and outcome.findings):
        return outcome
    diagnosed, confident = _function(diagnoser)(trial.case, target, device, outcome)
    return dataclasses.replace(outcome, diagnosed=diagnosed, confident=confident)


def _function(name: str) -> Diagnose:
    module, function = name.split(":")
    found: Diagnose = getattr(importlib.import_module(module), function)
    return found
