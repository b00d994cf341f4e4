"""From a failing case and a target to a Diagnosis: observe, suspect, eliminate, confirm.

A fault is named with confidence only if it explains every run, the correct model does not, and no other known fault is left that
predicts anything else on the variations of the case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.checks import conditional_faults, fitted_faults, precision, two_faults
from fuzz_decode.diagnose.checks.allocations import depends_on_uninitialised_memory, is_nondeterministic
from fuzz_decode.diagnose.checks.elimination import by_elimination
from fuzz_decode.diagnose.checks.unexplained import describe_unexplained
from fuzz_decode.diagnose.checks.unreferenced_memory import find_unmasked_regions
from fuzz_decode.diagnose.diagnosis import BETWEEN_CALLS, DiagnoseRequest, Diagnosis, beyond_reach
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import MODERATE, Observation
from fuzz_decode.diagnose.session import DiagnosisSession, TimeLimit, explains, is_right, predicted
from fuzz_decode.diagnose.variations import fits, occupied, other_seed
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.execute.watch import contained
from fuzz_decode.launches.record import LaunchRecord, OutOfBoundsAccess
from fuzz_decode.outcome import Stage, Status, Symptom
from fuzz_decode.targets.target import Target

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
    limit, found = TimeLimit(request.seconds), Diagnosis()
    for known in dict.fromkeys((request.known, ())):  # what shows in one path of the kernel alone hides the rest there
        session = DiagnosisSession(request.case, request.raw, request.probes, target, device, limit, launches, known)
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
    found = None if session.wrong or passed else _on_other_memory(session)
    if found is None or not found.fault:  # the case as it was drawn may show another fault, too
        _observe_all(_raw_case(session), session)
        if session.wrong:
            return _explain(session.wrong[0], session)
    if passed and session.out_of_bounds is not None:
        return _harmless(session.out_of_bounds)
    return found or _on_other_memory(session)


def _on_other_memory(session: DiagnosisSession) -> Diagnosis:
    """What is wrong with a case that is right on finite memory."""
    return (_between_calls(session) if session.probes else None) or find_unmasked_regions(session)


def _explain(wrong: Observation, session: DiagnosisSession) -> Diagnosis:
    """By one known fault, a fitted one, one that shows under a condition, two faults, or by what is known for certain."""
    suspects = _suspects(wrong, session)
    found = by_elimination(suspects, wrong, session) if suspects else None
    if not found and session.probes:
        _observe_all(_with_moderate_scores(session), session)
    found = found or fitted_faults.search(session.observations, _runs_on_variations(session), session.limit)
    if not found and suspects and session.probes:
        found = conditional_faults.search(suspects, session)
    if not found and session.probes:
        found = two_faults.search(suspects, wrong, session) or precision.search(session)
    guess = _guess(suspects[0], wrong, session) if suspects and not found else None
    return found or combine_known_and_guess(describe_unexplained(_single_tokens(session), session.out_of_time), guess)


def _observe_all(cases: Iterator[tuple[str, Case]], session: DiagnosisSession) -> None:
    for label, case in cases:
        session.observe(label, session.experiment(case))


def _first_cases(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    """What is run before anything is suspected."""
    cases: list[tuple[str, Case]] = [("the case with other data", other_seed(session.case))]
    if session.probes and not max(session.case.seq_lens):  # what is wrong with no tokens may be wrong with some, too
        cases += occupied(session.case)
    return ((label, case) for label, case in cases if fits(case) and session.supports(case))


def _raw_case(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    if session.raw is not None and session.raw != session.case and fits(session.raw) and session.supports(session.raw):
        yield "the case as it was drawn", session.raw


def _revealing_cases(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    """Large and tagged data may give a wrong token the weight 0, and where there is one block any id is right."""
    return ((label, case) for label, case in session.variations(session.case) if label in REVEALING)


def _with_moderate_scores(session: DiagnosisSession) -> Iterator[tuple[str, Case]]:
    """Twins of cases whose scores are so large that few tokens have any weight."""
    for label, case in (("the case with plain data", session.case), ("the case as it was drawn with plain data", session.raw)):
        if case is not None and case.data not in MODERATE:
            twin = dataclasses.replace(case, data=DEFAULTS["data"])
            if is_valid(twin) and fits(twin) and session.supports(twin):
                yield label, twin


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
    return Diagnosis(BETWEEN_CALLS, f"correct by itself, wrong when {seen.label}: suggests state cached between calls")


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
