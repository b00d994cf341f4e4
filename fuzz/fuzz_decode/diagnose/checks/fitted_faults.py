"""Faults with numbers that only the output tells, fitted anew in every run.

A fit must predict the whole output of every run, rows and heads that it was not fitted to included, so that it cannot hold by
chance.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from fuzz_decode.diagnose.checks.fitting import FITTED_FAULTS, Fit, FittedFault
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import Observation

MAX_RUNS = 10  # on variations, until CONFIRMATIONS of them are wrong
CONFIRMATIONS = 2


def search(seen: list[Observation], more: Iterable[Observation], deadline: float) -> Diagnosis | None:
    """The first fault that fits every run, those of `more` included, which are made until enough of them are wrong."""
    fits: dict[FittedFault, list[Fit | None]] = {}
    for fault in FITTED_FAULTS:
        fits[fault] = [None if time.monotonic() > deadline else _fit(fault, run) for run in seen]
    left = [fault for fault, found in fits.items() if None not in found]
    if left:
        left = _confirmed(left, fits, more)
    if not left:
        return None
    found = [fit for fit in fits[left[0]] if fit is not None and fit.correct != fit.faulty]
    evidence = tuple(f"explained: {run.label}" for run in seen)
    return Diagnosis(*left[0].describe(found), True, evidence)


def has_fault(name: str) -> bool:
    """Whether it is a name that `describe` of one of the faults gives."""
    return any(name in fault.names for fault in FITTED_FAULTS)


def fits_run(name: str, run: Observation) -> bool:
    """Whether the fault explains a wrong run with numbers of its own, which may suggest another name."""
    fits = (_fit(fault, run) for fault in FITTED_FAULTS if name in fault.names)
    return any(fit is not None and fit.correct != fit.faulty for fit in fits)


def _confirmed(
    left: list[FittedFault], fits: dict[FittedFault, list[Fit | None]], more: Iterable[Observation]
) -> list[FittedFault]:
    """Those that fit further runs, too; their fits are added."""
    confirmed = 0
    for number, run in enumerate(more, 1):
        for fault in left:
            fits[fault].append(_fit(fault, run))
        left = [fault for fault in left if fits[fault][-1] is not None]
        confirmed += not run.is_explained_by(run.experiment.correct)
        if not left or confirmed >= CONFIRMATIONS or number >= MAX_RUNS:
            break
    return left


def _fit(fault: FittedFault, run: Observation) -> Fit | None:
    """None if the fault cannot explain the run; one that is right needs no fault."""
    case, correct = run.experiment.problem.case, run.experiment.correct
    if run.is_explained_by(correct):
        return Fit(case, correct, correct)
    model = fault.fit(run)
    return Fit(case, correct, model) if model is not None and run.is_explained_by(model) else None
