"""Which of the faults that explain the failing case explain every run, variations of the case included."""

from __future__ import annotations

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import correct_model
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Experiment, Observation
from fuzz_decode.diagnose.session import DiagnosisSession, differ, explains, is_right, predicted, would_show
from fuzz_decode.diagnose.variations import GROUPS
from fuzz_decode.problems.build import build_problem

CONFIRMATIONS = 12  # runs on variations that a fault must explain even if no other suspect is left


def by_elimination(suspects: list[Fault], wrong: Observation, session: DiagnosisSession) -> Diagnosis | None:
    """The one of the suspects that explains every run."""
    experiment = wrong.experiment
    for seen in session.observations:
        suspects = [fault for fault in suspects if explains(fault, seen)]
    suspects, finished = _eliminate(suspects, session) if session.probes else (suspects, False)
    if not suspects:
        return None
    sentence = suspects[0].sentence(experiment.problem, experiment.correct)
    model = predicted(suspects[0], experiment).model
    if finished:
        rivals = [other for other in suspects[1:] if _differ_in_other_groups(suspects[0], other)]
    else:
        rivals = [other for other in suspects[1:] if predicted(other, experiment).model != model]
    others = (other.sentence(experiment.problem, experiment.correct) for other in rivals if other.name != suspects[0].name)
    if other := next((words for words in others if words != sentence), None):
        sentence = f"either {sentence}; or {other}"
    return Diagnosis(suspects[0].name, sentence, finished and not other, _evidence(session.observations))


def _differ_in_other_groups(fault: Fault, other: Fault) -> bool:
    """Whether the faults read other KV heads in groups that the target may not take, so that no run can tell them apart."""
    for _, change in GROUPS:
        problem = build_problem(change(Case(seq_lens=(2,))), "cpu")
        correct = correct_model(problem)
        first, second = (each.apply(problem, correct) or correct for each in (fault, other))
        if (first.lookup.k_head, first.lookup.v_head) != (second.lookup.k_head, second.lookup.v_head):
            return True
    return False


def _eliminate(suspects: list[Fault], session: DiagnosisSession) -> tuple[list[Fault], bool]:
    """Those that also explain variations of the case, and whether there was time for all that can distinguish them.

    A variation is run only if the suspects predict different things there or, up to CONFIRMATIONS times, something else than
    the correct model does: a run on which all agree tells nothing and costs as much.
    """
    confirmed = 0
    for label, case in session.variations(session.case):
        if not suspects or (len(suspects) == 1 and confirmed >= CONFIRMATIONS):
            break
        if session.out_of_time:
            return suspects, False
        experiment = session.experiment(case)
        if _distinguishes(suspects, experiment, session.returns_lse) or (
            confirmed < CONFIRMATIONS and would_show(suspects[0], experiment, session.returns_lse)
        ):
            seen = session.observe(label, experiment)
            if seen is not None:
                confirmed += 1
                suspects = [fault for fault in suspects if explains(fault, seen)]
    return suspects, True


def _distinguishes(suspects: list[Fault], experiment: Experiment, lse: bool) -> bool:
    """Whether the suspects predict different things there."""
    first = predicted(suspects[0], experiment)
    return any(differ(first, predicted(fault, experiment), lse) for fault in suspects[1:])


def _evidence(observations: list[Observation]) -> tuple[str, ...]:
    return tuple(f"explained: {seen.label}" + (" (correct there)" if is_right(seen) else "") for seen in observations)
