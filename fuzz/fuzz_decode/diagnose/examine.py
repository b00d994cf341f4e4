"""From a failing case and a target to a Diagnosis: look, suppose, eliminate, confirm.

A fault is named with confidence only if it explains every run, the correct reading does not, and no other known fault that
predicts anything else on the variations of the case is left.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.checks import allocations as dirt
from fuzz_decode.diagnose.checks import conditional_faults as sometimes
from fuzz_decode.diagnose.checks import fitted_faults as latent
from fuzz_decode.diagnose.checks import unexplained as remains
from fuzz_decode.diagnose.checks import unreferenced_memory as poison
from fuzz_decode.diagnose.diagnosis import DiagnoseRequest, Diagnosis, beyond_reach
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Experiment, Observation
from fuzz_decode.diagnose.session import Examiner, differ, explains, is_right, predicted
from fuzz_decode.diagnose.variations import fits, occupied, other_seed
from fuzz_decode.execute.run_case import run_case
from fuzz_decode.outcome import PASSED, REJECTED
from fuzz_decode.targets.target import Target
from fuzz_decode.triton_interpreter.memory_fence import Fence, OutOfBoundsAccess, memory_fence

CONFIRMATIONS = 12  # runs on variations that a fault must explain although nothing else is left


def examine(asked: DiagnoseRequest, target: Target, device: str) -> Diagnosis:
    """What the target does wrong on the case. Empty if it does nothing wrong there. In the interpreter all runs are fenced."""
    with memory_fence() if device == "cpu" else contextlib.nullcontext(Fence()) as fence:
        found = _examine(asked, target, device, fence)
    if found.fault or fence.wild is None or not found.sentence:
        return found
    return dataclasses.replace(found, sentence=f"{found.sentence}; it {fence.wild.words}")


def _examine(asked: DiagnoseRequest, target: Target, device: str, fence: Fence) -> Diagnosis:
    outcome = run_case(asked.case, target, device)
    if outcome.status == REJECTED or (outcome.status == PASSED and fence.wild is None):
        return Diagnosis()
    first = outcome.findings[0] if outcome.findings else None
    if outcome.stage == "run" or not fits(asked.case):
        return Diagnosis(sentence=beyond_reach(asked.case))
    if first is not None and first.symptom == "input-modified":
        return Diagnosis("input-modified", f"it writes into its own input: {first.message}", True, (first.message,))
    examiner = Examiner(target, device, time.monotonic() + asked.seconds, fence)
    return _look_at(asked, examiner, passed=outcome.status == PASSED)


def _harmless_but_wild(wild: OutOfBoundsAccess) -> Diagnosis:
    """It crashed, and does not where wild reads are harmless."""
    if wild.stored:
        return Diagnosis("wild-write", wild.words, True)
    return Diagnosis("wild-read", f"{wild.words}, and what is there weighs nothing", True)


def _look_at(asked: DiagnoseRequest, examiner: Examiner, passed: bool) -> Diagnosis:
    """`passed`: the case did, but for the fence it would have crashed."""
    target, device = examiner.target, examiner.device
    first = examiner.look("the case", examiner.scene(asked.case))
    if first is None:
        return Diagnosis(sentence="fails to run when all memory holds finite numbers")
    if found := dirt.unsteady(first, target) or dirt.depends_on_dirt(first, target):
        return found
    for label, case in _others(asked):
        if case is not None and fits(case) and target.unsupported_reason(case) is None:
            examiner.look(label, examiner.scene(case))
    if not examiner.wrong and asked.probes:
        for label, case in _plainer(asked.case, examiner):
            examiner.look(label, examiner.scene(case))
    if not examiner.wrong and passed and examiner.fence.wild is not None:
        return _harmless_but_wild(examiner.fence.wild)
    if not examiner.wrong and asked.probes and (found := _between_calls(asked.case, examiner)):
        return found
    if not examiner.wrong:
        return poison.what_matters(asked.case, target, device)
    wrong = examiner.wrong[0]
    suspects = _explaining_both(wrong, examiner)
    found = _by_fault(suspects, wrong, asked, examiner) if suspects else None
    found = found or latent.search(examiner.observations, _confirm_latent(asked, examiner), examiner.deadline)
    if not found and suspects and asked.probes:
        found = sometimes.search(suspects, asked.case, examiner)
    guess = _only_here(suspects[0], wrong, examiner) if suspects and not found else None
    return found or _honestly(remains.known(_single_tokens(asked, examiner), examiner.out_of_time), guess)


def _between_calls(case: Case, examiner: Examiner) -> Diagnosis | None:
    """A case that is right, but wrong when its numbers come laid out plainly in a later call: nothing is certain without a fresh
    process."""
    plain = in_plain_layout(case)
    if plain == case or examiner.target.unsupported_reason(plain) is not None:
        return None
    seen = examiner.look("the same laid out plainly, in a later call", examiner.scene(plain))
    if seen is None or is_right(seen):
        return None
    return Diagnosis("state-between-calls", f"right by itself, wrong when {seen.label}: as if by state that a call left")


def _honestly(known: Diagnosis, guess: Diagnosis | None) -> Diagnosis:
    """What is known, and what it looks like on the failing case alone."""
    if guess is None:
        return known
    return dataclasses.replace(guess, sentence=f"{known.sentence}; {guess.sentence}")


def _single_tokens(asked: DiagnoseRequest, examiner: Examiner) -> list[Observation]:
    """Wrong runs, first one in which each sequence sees one token: its out is a row of V, which tells where it was read."""
    case = dataclasses.replace(asked.case, seq_lens=tuple(min(1, length) for length in asked.case.seq_lens))
    if asked.probes and is_valid(case) and examiner.target.unsupported_reason(case) is None:
        examiner.look("with one token in each sequence", examiner.scene(case))
    wrong = examiner.wrong
    return [*wrong[-1:], *wrong[:-1]] if wrong[-1].label.startswith("with one token in") else wrong


def _others(asked: DiagnoseRequest) -> Iterator[tuple[str, Case | None]]:
    yield "the case with other data", other_seed(asked.case)
    if asked.raw != asked.case:
        yield "the case as it was drawn", asked.raw
    if asked.probes and not max(asked.case.seq_lens):  # what is wrong with nothing may be wrong with something, too
        yield from occupied(asked.case)


def _plainer(case: Case, examiner: Examiner) -> Iterator[tuple[str, Case]]:
    """Large and tagged data may give a wrong token the weight 0, and where there is one block any id is right."""
    wanted = ("with gaussian data in float32", "with all tokens weighing the same", "in permuted blocks")
    return ((words, other) for words, other in examiner.variations(case) if words in wanted)


def _speaks_of(fault: Fault, wrong: Observation) -> bool:
    """Whether the fault predicts what is wrong; numbers from outside the storage would agree with everything."""
    known, row = predicted(fault, wrong.scene).known, wrong.telling_row
    return bool(known.all() if row is None else known[row].all())


def _by_fault(suspects: list[Fault], wrong: Observation, asked: DiagnoseRequest, examiner: Examiner) -> Diagnosis | None:
    """The one of the suspects that explains every run."""
    on = wrong.scene
    for seen in examiner.observations:
        suspects = [fault for fault in suspects if explains(fault, seen)]
    suspects, apart = _told_apart(suspects, asked.case, examiner) if asked.probes else (suspects, False)
    if not suspects:
        return None
    sentence = suspects[0].sentence(on.problem, on.correct)
    rivals = (
        [] if apart else [other for other in suspects[1:] if predicted(other, on).reading != predicted(suspects[0], on).reading]
    )
    if rivals:
        sentence = f"either {sentence}; or {rivals[0].sentence(on.problem, on.correct)}"
    return Diagnosis(suspects[0].name, sentence, apart and not rivals, _evidence(examiner.observations))


def _explaining_both(wrong: Observation, examiner: Examiner) -> list[Fault]:
    """The faults that explain a run that is wrong and the case with other data; none if there is no time to try them all."""
    suspects = []
    for fault in FAULTS:
        if examiner.out_of_time:
            return []
        if fault.apply(wrong.scene.problem, wrong.scene.correct) is None or not explains(fault, wrong):
            continue
        if _speaks_of(fault, wrong) and all(explains(fault, seen) for seen in examiner.observations[:2]):
            suspects.append(fault)
    return suspects


def _told_apart(suspects: list[Fault], case: Case, examiner: Examiner) -> tuple[list[Fault], bool]:
    """Those that also explain the target on variations of the case, on which suspects differ from each other or, a few times,
    from the correct reading; and whether there was time for all that can tell them apart."""
    confirmed = 0
    for words, other in examiner.variations(case):
        if not suspects or (len(suspects) == 1 and confirmed >= CONFIRMATIONS):
            break
        if examiner.out_of_time:
            return suspects, False
        on = examiner.scene(other)
        telling = _telling(suspects, on, examiner.returns_lse)
        if telling or (
            confirmed < CONFIRMATIONS and differ(predicted(suspects[0], on), on.predict(on.correct), examiner.returns_lse)
        ):
            seen = examiner.look(words, on)
            if seen is not None:
                confirmed += 1
                suspects = [fault for fault in suspects if explains(fault, seen)]
    return suspects, True


def _telling(suspects: list[Fault], on: Experiment, lse: bool) -> bool:
    """Whether the suspects predict different things there."""
    first = predicted(suspects[0], on)
    return any(differ(first, predicted(fault, on), lse) for fault in suspects[1:])


def _only_here(fault: Fault, wrong: Observation, examiner: Examiner) -> Diagnosis:
    """A fault that explains the case, but not what the kernel does nearby: perhaps one path of it, perhaps something else."""
    sentence = f"on this case as if: {fault.sentence(wrong.scene.problem, wrong.scene.correct)}"
    contrary = next((seen for seen in examiner.observations if not explains(fault, seen)), None)
    sentence += f", but not so {contrary.label}" if contrary else ""
    evidence = tuple(f"{'' if explains(fault, seen) else 'not '}explained: {seen.label}" for seen in examiner.observations)
    return Diagnosis(fault.name, sentence, False, evidence)


def _confirm_latent(asked: DiagnoseRequest, examiner: Examiner) -> Iterator[Observation]:
    """Runs on variations, for hypotheses whose numbers are found anew in each run."""
    for words, other in examiner.variations(asked.case) if asked.probes else ():
        if examiner.out_of_time:
            return
        seen = examiner.look(words, examiner.scene(other))
        if seen is not None:
            yield seen


def _evidence(observations: list[Observation]) -> tuple[str, ...]:
    return tuple(f"explained: {seen.label}" + (" (right there)" if is_right(seen) else "") for seen in observations)
