"""Numbers that are rounded more coarsely than declared: scores, or sums and partial results, in the dtype of q or in bfloat16.

Rounding is not predicted to the bit. Where scores are moderate, its error is a few unit roundoffs of the format, and no wrong
address gives that; where they are not, the result must lie within the error bound of the format.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.diagnose.predict import predict
from fuzz_decode.diagnose.session import DiagnosisSession, is_right
from fuzz_decode_reference.bound import UNIT_ROUNDOFF

RUNS = ("with gaussian data in float32", "with more of everything", "with longer rows", "much longer")
FORMATS = ("input", "bfloat16")  # input: the dtype of q
UNITS = 4.0  # roundoffs of the format, relative to the largest number of the result
CONFIRMATIONS = 2  # wrong runs with moderate scores


def search(session: DiagnosisSession) -> Diagnosis | None:
    """The format that explains every run, those in other dtypes included, named with confidence if several runs show it."""
    if not any(_explains(each, session.observations) for each in FORMATS):
        return None
    for label, case in session.variations(session.case):
        if label in RUNS and not session.out_of_time:
            session.observe(label, session.experiment(case))
    left = [each for each in FORMATS if _explains(each, session.observations)]
    telling = [seen for seen in session.wrong if seen.has_moderate_scores]
    if not left or not telling:
        return None
    place = "sums" if all(_lse_is_right(seen) for seen in session.wrong) else "scores"
    what = "sums, weights or partial results are" if place == "sums" else "scores are"
    words = " or ".join("the dtype of q" if each == "input" else each for each in left)
    name = f"{place}-in-{'input-dtype' if left[0] == 'input' else left[0]}"
    evidence = tuple(f"{'correct' if is_right(seen) else 'within that error'}: {seen.label}" for seen in session.observations)
    confident = len(left) == 1 and len(telling) >= CONFIRMATIONS and not session.out_of_time
    return Diagnosis(name, f"{what} rounded to {words}, more coarsely than the target declares", confident, evidence)


def _explains(format: str, runs: list[Observation]) -> bool:
    return all(
        is_right(seen) or (_is_near(format, seen) if seen.has_moderate_scores else _is_within(format, seen)) for seen in runs
    )


def _is_near(format: str, seen: Observation) -> bool:
    """Whether the error is a few roundoffs of a format coarser than the declared one."""
    unit, right = _unit(format, seen), seen.experiment.predict(seen.experiment.correct)
    if unit <= seen.experiment.rounding.accumulate:
        return False
    near = _error(seen.out, right.out) <= UNITS * unit * float(right.out.abs().max())
    return near and (seen.lse is None or _error(seen.lse, right.lse) <= UNITS * unit * _largest(right.lse))


def _is_within(format: str, seen: Observation) -> bool:
    """Whether the error is one that rounding every intermediate result to the format allows."""
    unit, declared = _unit(format, seen), seen.experiment.rounding
    coarse = dataclasses.replace(declared, accumulate=unit, out=unit + declared.out, scores=2 * unit, score_sums=unit)
    wide = predict(seen.experiment.memory, seen.experiment.correct, coarse)
    out = (seen.out - wide.out).abs() <= wide.out_bound
    lse = torch.tensor(True) if seen.lse is None else ((seen.lse - wide.lse).abs() <= wide.lse_bound) | (seen.lse == wide.lse)
    return bool(out.all()) and bool(lse.all())


def _lse_is_right(seen: Observation) -> bool:
    return seen.has_right_lse(seen.experiment.correct)


def _unit(format: str, seen: Observation) -> float:
    return UNIT_ROUNDOFF[seen.experiment.problem.case.dtype if format == "input" else format]


def _error(got: Tensor, wanted: Tensor) -> float:
    """The largest difference; infinite where one is not finite and the other is."""
    return float(torch.where(got == wanted, 0.0, (got - wanted).abs()).nan_to_num(torch.inf).max())


def _largest(numbers: Tensor) -> float:
    return float(numbers[torch.isfinite(numbers)].abs().max().clamp(min=1.0)) if bool(torch.isfinite(numbers).any()) else 1.0
