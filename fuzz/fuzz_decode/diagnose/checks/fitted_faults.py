"""Faults with numbers that only the output tells, fitted anew in every run.

A fit must predict the whole output of every run, rows and heads that it was not fitted to included, so that it cannot hold by
chance.
"""

from __future__ import annotations

from collections.abc import Iterable

from fuzz_decode.diagnose.checks.fitting import SIMPLE_FAULTS, Fit, FittedFault
from fuzz_decode.diagnose.checks.token_counts import TOKEN_COUNTS
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.diagnose.session import TimeLimit

FITTED_FAULTS = (*SIMPLE_FAULTS, TOKEN_COUNTS)  # one that says more comes first
MAX_RUNS = 10  # on variations, until CONFIRMATIONS of them are wrong
CONFIRMATIONS = 2


def search(seen: list[Observation], more: Iterable[Observation], limit: TimeLimit) -> Diagnosis | None:
    """The first fault that fits every run, those of `more` included, which are made until enough of them are wrong. Runs on data
    with very large scores count only if no other run is wrong: few of their tokens have any weight."""
    if any(run.has_moderate_scores and not run.is_explained_by(run.experiment.correct) for run in seen):
        seen = [run for run in seen if run.has_moderate_scores]
    fits: dict[FittedFault, list[Fit | None]] = {}
    for fault in FITTED_FAULTS:
        fits[fault] = [None if limit.is_over else _fit_if_told(fault, run, not number) for number, run in enumerate(seen)]
    left = [fault for fault, found in fits.items() if None not in found]
    if left:
        left = _confirmed(left, fits, more)
    if not left:
        return None
    found = [fit for fit in fits[left[0]] if fit is not None and _is_wrong(fit)]
    evidence = tuple(f"{_judged(fit, run)}: {run.label}" for fit, run in zip(fits[left[0]], seen, strict=False))
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
    """Those that fit further runs, too, or cannot be told by them; their fits are added."""
    confirmed = 0
    for number, run in enumerate(more, 1):
        for fault in left:
            fits[fault].append(_fit_if_told(fault, run, first=False))
        left = [fault for fault in left if fits[fault][-1] is not None]
        confirmed += any(_is_wrong(fits[fault][-1]) for fault in left)
        if not left or confirmed >= CONFIRMATIONS or number >= MAX_RUNS:
            break
    return left


def _is_wrong(fit: Fit | None) -> bool:
    return fit is not None and fit.correct != fit.faulty


def _judged(fit: Fit | None, run: Observation) -> str:
    return "explained" if _is_wrong(fit) or run.is_explained_by(run.experiment.correct) else "tells too little"


def _fit_if_told(fault: FittedFault, run: Observation, first: bool) -> Fit | None:
    """The fit; of a run other than the first one that does not tell the numbers, as if it were right."""
    fit, correct = _fit(fault, run), run.experiment.correct
    told = first or (run.has_moderate_scores and fault.tells(run))
    return fit if fit is not None or told else Fit(run.experiment.problem.case, correct, correct)


def _fit(fault: FittedFault, run: Observation) -> Fit | None:
    """None if the fault cannot explain the run; one that is right needs no fault."""
    case, correct = run.experiment.problem.case, run.experiment.correct
    if run.is_explained_by(correct):
        return Fit(case, correct, correct)
    model = fault.fit(run)
    return Fit(case, correct, model) if model is not None and run.is_explained_by(model) else None
