"""Two faults at once: pairs of known faults that explain together what neither explains alone.

Not all pairs are tried. The first fault of a pair explains the failing case, or its lse, or its out; the second one explains,
together with the first, a run that is left.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fuzz_decode.diagnose.checks.elimination import by_elimination
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.faults.fault import Fault, together
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.diagnose.session import DiagnosisSession, explains

MAX_FIRST = 6  # faults that are taken for the first of a pair
MAX_PAIRS = 40


@dataclass(frozen=True, slots=True)
class FaultPair:
    """Two faults of one kernel."""

    first: Fault
    """Shows on the failing case."""
    second: Fault
    both: Fault

    def second_shows(self, seen: Observation) -> bool:
        """Whether the first alone does not explain the run."""
        return not explains(self.first, seen)


def search(suspects: list[Fault], wrong: Observation, session: DiagnosisSession) -> Diagnosis | None:
    """The pair that explains every run, named by the first fault if the case shows it alone, or by both."""
    found = _pairs(suspects, wrong, session)
    named = by_elimination([pair.both for pair in found], wrong, session) if found else None
    if named is None:
        return None
    pair = next(pair for pair in found if pair.both.name == named.fault)
    if pair.second_shows(wrong):
        return dataclasses.replace(named, sentence=f"two faults: {named.sentence}")
    other = next(seen for seen in session.observations if pair.second_shows(seen))
    problem, correct = other.experiment.problem, other.experiment.correct
    sentence = f"{named.sentence}; {other.label} there is another fault, too: {pair.second.sentence(problem, correct)}"
    return dataclasses.replace(named, fault=pair.first.name, sentence=sentence)


def _pairs(suspects: list[Fault], wrong: Observation, session: DiagnosisSession) -> list[FaultPair]:
    """Pairs that explain every run so far; `suspects` explain the failing case, but no other run."""
    firsts = suspects or [*_of_a_part(wrong, session)]
    runs = sorted(session.observations, key=_size)
    found = (pair for first in firsts[:MAX_FIRST] for pair in _with_a_second(first, runs, session))
    return [*itertools.islice(found, MAX_PAIRS)]


def _with_a_second(first: Fault, runs: list[Observation], session: DiagnosisSession) -> Iterator[FaultPair]:
    left = [seen for seen in runs if not explains(first, seen)]
    for second in FAULTS if left else ():
        if session.out_of_time:
            return
        if second.name == first.name or not _applies(second, left[0]):
            continue
        both = together(f"{first.name}+{second.name}", first, second)
        if all(explains(both, seen) for seen in (*left, *runs)):
            yield FaultPair(first, second, both)


def _of_a_part(wrong: Observation, session: DiagnosisSession) -> Iterator[Fault]:
    """Faults that explain the out of the failing case, or its lse where that is wrong, but not both."""
    for fault in FAULTS:
        if session.out_of_time:
            return
        if _applies(fault, wrong) and any(_explains_part(fault, wrong)):
            yield fault


def _explains_part(fault: Fault, seen: Observation) -> Iterable[bool]:
    """Whether the fault explains out, and lse, where that part is wrong and returned."""
    correct = seen.experiment.correct
    model = fault.apply(seen.experiment.problem, correct) or correct
    if not seen.has_right_out(correct) and seen.has_right_out(model):
        yield True
    if not seen.has_right_lse(correct) and seen.has_right_lse(model):
        yield True


def _applies(fault: Fault, seen: Observation) -> bool:
    return fault.apply(seen.experiment.problem, seen.experiment.correct) is not None


def _size(seen: Observation) -> int:
    case = seen.experiment.problem.case
    return sum(case.seq_lens) * case.num_q_heads * case.head_dim
