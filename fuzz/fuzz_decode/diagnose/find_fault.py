"""From a failing case and a target to a Diagnosis: observe, suspect, eliminate, confirm.

A fault is named with confidence only if it explains every run, the correct model does not, and no other known fault is left that
predicts anything else on the variations of the case.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.access_model import correct_model
from fuzz_decode.diagnose.checks import conditional_faults, fitted_faults, precision
from fuzz_decode.diagnose.checks.allocations import depends_on_uninitialised_memory, is_nondeterministic
from fuzz_decode.diagnose.checks.two_faults import pairs
from fuzz_decode.diagnose.checks.unexplained import describe_unexplained
from fuzz_decode.diagnose.checks.unreferenced_memory import find_unmasked_regions
from fuzz_decode.diagnose.diagnosis import DiagnoseRequest, Diagnosis, beyond_reach
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Experiment, Observation
from fuzz_decode.diagnose.session import DiagnosisSession, differ, explains, is_right, predicted, would_show
from fuzz_decode.diagnose.variations import GROUPS, fits, occupied, other_seed
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.execute.watch import contained
from fuzz_decode.launches.record import LaunchRecord, OutOfBoundsAccess
from fuzz_decode.outcome import Stage, Status, Symptom
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets.target import Target

CONFIRMATIONS = 12  # runs on variations that a fault must explain even if no other suspect is left
SAID_BY_SYMPTOM = {
    Symptom.INPUT_MODIFIED: "it modifies its own input",
    Symptom.UNDEFINED_VALUE: "it uses a lane that a mask leaves without a value",
    Symptom.ORDER_DEPENDENT: "its programs race",
}
SINGLE_TOKENS = "with one token in each sequence"
REVEALING = ("with gaussian data in float32", "with equal weights of all tokens", "in permuted blocks")


def examine(request: DiagnoseRequest, target: Target, device: str) -> Diagnosis:
    """What the target does wrong on the case. Empty if it does nothing wrong there. On the CPU accesses out of bounds are
    contained in all runs."""
    with contained(device) as launches:
        found = _examine(request, target, device, launches)
    if found.fault or not found.sentence or launches is None or launches.out_of_bounds is None:
        return found
    return dataclasses.replace(found, sentence=f"{found.sentence}; it {launches.out_of_bounds.words}")


def _examine(request: DiagnoseRequest, target: Target, device: str, launches: LaunchRecord | None) -> Diagnosis:
    outcome = run_case(request.case, target, device)
    left_bounds = launches is not None and launches.out_of_bounds is not None
    if outcome.status == Status.REJECTED or (outcome.status == Status.PASSED and not left_bounds):
        return Diagnosis()
    first = outcome.findings[0] if outcome.findings else None
    if outcome.stage == Stage.RUN or not fits(request.case):
        return Diagnosis(sentence=beyond_reach(request.case))
    if first is not None and first.symptom in SAID_BY_SYMPTOM:
        sentence = f"{SAID_BY_SYMPTOM[first.symptom]}: {first.message}"
        return Diagnosis(str(first.symptom), sentence, True, (first.message,))
    passed = all(finding.symptom is Symptom.OUT_OF_BOUNDS for finding in outcome.findings)
    deadline, found = time.monotonic() + request.seconds, Diagnosis()
    for known in dict.fromkeys((request.known, ())):  # what shows in one path of the kernel alone hides the rest there
        session = DiagnosisSession(request.case, request.raw, request.probes, target, device, deadline, launches, known)
        found = diagnose_case(session, passed)
        if found.confident:
            break
    return found


def diagnose_case(session: DiagnosisSession, passed: bool) -> Diagnosis:
    """`passed`: the result is right, thanks to the fence: without it, the kernel might have crashed.

    The order matters. Nondeterminism and uninitialised memory come first, since predictions mean nothing without them; faults are
    tried only on a run that is wrong on finite memory; if there is none, the wrong result came from memory that held NaN.
    """
    first = session.observe("the case", session.experiment(session.case))
    if first is None:
        return Diagnosis(sentence="fails to run when all memory holds finite numbers")
    if found := is_nondeterministic(first, session.target) or depends_on_uninitialised_memory(first, session.target):
        return found
    _observe_all(_first_cases(session), session)
    if not session.wrong and session.probes:
        _observe_all(_revealing_cases(session), session)
    if not session.wrong and passed and session.out_of_bounds is not None:
        return _harmless(session.out_of_bounds)
    if not session.wrong and session.probes and (found := _between_calls(session)):
        return found
    if not session.wrong:
        return find_unmasked_regions(session)
    return _explain(session.wrong[0], session)


def _explain(wrong: Observation, session: DiagnosisSession) -> Diagnosis:
    """By one known fault, a fitted one, one that shows under a condition, two faults, or by what is known for certain."""
    suspects = _suspects(wrong, session)
    found = _by_elimination(suspects, wrong, session) if suspects else None
    found = found or fitted_faults.search(session.observations, _runs_on_variations(session), session.deadline)
    if not found and suspects and session.probes:
        found = conditional_faults.search(suspects, session)
    if not found and session.probes:
        found = _by_two_faults(suspects, wrong, session) or precision.search(session)
    guess = _guess(suspects[0], wrong, session) if suspects and not found else None
    return found or combine_known_and_guess(describe_unexplained(_single_tokens(session), session.out_of_time), guess)


def _observe_all(cases: Iterator[tuple[str, Case]], session: DiagnosisSession) -> None:
    for label, case in cases:
        session.observe(label, session.experiment(case))


def _first_cases(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    """What is run before anything is suspected."""
    cases: list[tuple[str, Case]] = [("the case with other data", other_seed(session.case))]
    if session.raw is not None and session.raw != session.case:
        cases.append(("the case as it was drawn", session.raw))
    if session.probes and not max(session.case.seq_lens):  # what is wrong with no tokens may be wrong with some, too
        cases += occupied(session.case)
    return ((label, case) for label, case in cases if fits(case) and session.supports(case))


def _revealing_cases(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    """Large and tagged data may give a wrong token the weight 0, and where there is one block any id is right."""
    return ((label, case) for label, case in session.variations(session.case) if label in REVEALING)


def _harmless(access: OutOfBoundsAccess) -> Diagnosis:
    """The kernel leaves its tensors, and gives the right result where these accesses are contained."""
    if access.stored:
        return Diagnosis("wild-write", access.words, True)
    return Diagnosis("wild-read", f"{access.words}, without effect on the result", True)


def _between_calls(session: DiagnosisSession) -> Diagnosis | None:
    """A case that is right, but wrong when its numbers come laid out plainly in a later call: nothing is certain without a fresh
    process."""
    plain = session.target.strides.nearest(in_plain_layout(session.case))
    if plain == session.case or not session.supports(plain):
        return None
    seen = session.observe("laid out plainly in a later call", session.experiment(plain))
    if seen is None or is_right(seen):
        return None
    return Diagnosis("state-between-calls", f"correct by itself, wrong when {seen.label}: suggests state cached between calls")


def combine_known_and_guess(known: Diagnosis, guess: Diagnosis | None) -> Diagnosis:
    """What is known, and what it looks like on the failing case alone."""
    if guess is None:
        return known
    return dataclasses.replace(guess, sentence=f"{known.sentence}; {guess.sentence}")


def _single_tokens(session: DiagnosisSession) -> list[Observation]:
    """Wrong runs, first one in which each sequence has one token: its out is a row of V, which shows where it was read."""
    case = dataclasses.replace(session.case, seq_lens=tuple(min(1, length) for length in session.case.seq_lens))
    if session.probes and is_valid(case) and session.supports(case):
        session.observe(SINGLE_TOKENS, session.experiment(case))
    wrong = session.wrong
    return [*wrong[-1:], *wrong[:-1]] if wrong[-1].label == SINGLE_TOKENS else wrong


def _suspects(wrong: Observation, session: DiagnosisSession) -> list[Fault]:
    """The faults that explain a run that is wrong and the case with other data; none if there is no time to try them all."""
    suspects = []
    for fault in FAULTS:
        if session.out_of_time:
            return []
        if fault.apply(wrong.experiment.problem, wrong.experiment.correct) is None or not explains(fault, wrong):
            continue
        if _predicts_what_is_wrong(fault, wrong) and all(explains(fault, seen) for seen in session.observations[:2]):
            suspects.append(fault)
    return suspects


def _predicts_what_is_wrong(fault: Fault, wrong: Observation) -> bool:
    """Whether the prediction is known where the run is wrong; unknown numbers would agree with everything."""
    known, row = predicted(fault, wrong.experiment).known, wrong.telling_row
    return bool(known.all() if row is None else known[row].all())


def _by_elimination(suspects: list[Fault], wrong: Observation, session: DiagnosisSession) -> Diagnosis | None:
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
    rivals = [other for other in rivals if other.name != suspects[0].name]
    if rivals:
        sentence = f"either {sentence}; or {rivals[0].sentence(experiment.problem, experiment.correct)}"
    return Diagnosis(suspects[0].name, sentence, finished and not rivals, _evidence(session.observations))


def _by_two_faults(suspects: list[Fault], wrong: Observation, session: DiagnosisSession) -> Diagnosis | None:
    """Named by the first one, if the case shows it alone, or by both."""
    found = pairs(suspects, wrong, session)
    named = _by_elimination([pair.both for pair in found], wrong, session) if found else None
    if named is None:
        return None
    pair = next(pair for pair in found if pair.both.name == named.fault)
    if pair.second_shows(wrong):
        return dataclasses.replace(named, sentence=f"two faults: {named.sentence}")
    other = next(seen for seen in session.observations if pair.second_shows(seen))
    problem, correct = other.experiment.problem, other.experiment.correct
    sentence = f"{named.sentence}; {other.label} there is another fault, too: {pair.second.sentence(problem, correct)}"
    return dataclasses.replace(named, fault=pair.first.name, sentence=sentence)


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


def _guess(fault: Fault, wrong: Observation, session: DiagnosisSession) -> Diagnosis:
    """A fault that explains the case, but not what the kernel does nearby: perhaps one path of it, perhaps something else."""
    sentence = f"consistent with {fault.sentence(wrong.experiment.problem, wrong.experiment.correct)} on this case"
    contrary = next((seen for seen in session.observations if not explains(fault, seen)), None)
    sentence += f", but not {contrary.label}" if contrary else ""
    evidence = tuple(f"{'' if explains(fault, seen) else 'not '}explained: {seen.label}" for seen in session.observations)
    return Diagnosis(fault.name, sentence, False, evidence)


def _runs_on_variations(session: DiagnosisSession) -> Iterator[Observation]:
    """For hypotheses whose numbers are fitted anew in each run."""
    for label, case in session.variations(session.case) if session.probes else ():
        if session.out_of_time:
            return
        seen = session.observe(label, session.experiment(case))
        if seen is not None:
            yield seen


def _evidence(observations: list[Observation]) -> tuple[str, ...]:
    return tuple(f"explained: {seen.label}" + (" (correct there)" if is_right(seen) else "") for seen in observations)
