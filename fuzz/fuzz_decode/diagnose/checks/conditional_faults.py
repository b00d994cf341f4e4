"""Faults of one path of a kernel: where it goes wrong it does so as the fault predicts, elsewhere it is right.

What is the same in all cases on which the fault shows, and in none of those on which it would show but does not, is told: it may
be what chooses the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import features_of
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.faults.fault import Fault
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.diagnose.session import Examiner, differ, explains, is_right, predicted

RUNS = 24  # on variations on which the fault would show
CERTAIN = 3  # wrong runs on variations that make it so


def search(suspects: list[Fault], case: Case, examiner: Examiner) -> Diagnosis | None:
    """The suspect that explains every run that is wrong, variations of the case included."""
    alive = _surviving(suspects, case, examiner)
    if not alive:
        return None
    fault = max(alive, key=lambda one: sum(explains(one, seen) for seen in examiner.observations))
    telling = [seen for seen in examiner.observations if _shows(fault, seen, examiner)]
    held, spared = [seen for seen in telling if not is_right(seen)], [seen for seen in telling if is_right(seen)]
    if not spared:
        return None
    on = held[0].scene
    sentence = f"{fault.sentence(on.problem, on.correct)}, {_when(held, spared)}"
    evidence = tuple(f"{'right' if is_right(seen) else 'explained'}: {seen.label}" for seen in telling)
    varied = [seen for seen in held if seen.scene.problem.case not in (case, examiner.observations[1].scene.problem.case)]
    return Diagnosis(fault.name, sentence, len(varied) >= CERTAIN, evidence)


def _surviving(suspects: list[Fault], case: Case, examiner: Examiner) -> list[Fault]:
    alive = [fault for fault in suspects if all(_agrees(fault, seen) for seen in examiner.observations)]
    looked_at = {seen.label for seen in examiner.observations}
    runs = 0
    for words, other in examiner.variations(case):
        if not alive or runs >= RUNS or examiner.out_of_time:
            break
        on = examiner.scene(other)
        if words not in looked_at and differ(predicted(alive[0], on), on.predict(on.correct), examiner.returns_lse):
            seen = examiner.look(words, on)
            runs += 1
            alive = [fault for fault in alive if seen is None or _agrees(fault, seen)]
    return alive


def _agrees(fault: Fault, seen: Observation) -> bool:
    return is_right(seen) or explains(fault, seen)


def _shows(fault: Fault, seen: Observation, examiner: Examiner) -> bool:
    """Whether the fault would make the run wrong."""
    return not is_right(seen) or differ(
        predicted(fault, seen.scene), seen.scene.predict(seen.scene.correct), examiner.returns_lse
    )


def _when(held: list[Observation], spared: list[Observation]) -> str:
    """`but, so far as was tried, only where group is 8 or more (right with 1), in 4 of 9 runs that it would spoil`."""
    wrong, right = ([seen.scene.problem.case for seen in runs] for runs in (held, spared))
    words = next((words for words in (*_dims(wrong, right), *_numbers(wrong, right), *_features(wrong, right))), "")
    where = f"but, so far as was tried, only where {words}" if words else f"though not always: right {spared[0].label}"
    return f"{where}, in {len(held)} of {len(held) + len(spared)} runs that it would spoil"


def _dims(wrong: list[Case], right: list[Case]) -> Iterator[str]:
    """How rows of K and V differ in length, where that divides the cases."""
    for words, sign in (("larger", 1), ("smaller", -1)):
        beyond = [[sign * (case.head_dim - case.value_head_dim) > 0 for case in cases] for cases in (wrong, right)]
        if all(beyond[0]) and not any(beyond[1]):
            yield f"head_dim is {words} than value_head_dim"


def _numbers(wrong: list[Case], right: list[Case]) -> Iterator[str]:
    """Numbers that are larger, or smaller, in all wrong cases than in all right ones."""
    for words, number in NUMBERS:
        bad, good = [number(case) for case in wrong], [number(case) for case in right]
        if min(bad) > max(good):
            yield f"{words} is {min(bad)} or more (right with {max(good)})"
        if max(bad) < min(good):
            yield f"{words} is {max(bad)} or less (right with {min(good)})"


def _features(wrong: list[Case], right: list[Case]) -> Iterator[str]:
    """What all wrong cases have and no right one has, or the other way round."""
    for name in sorted({name for case in (*wrong, *right) for name in features_of(case)}):
        bad, good = [name in features_of(case) for case in wrong], [name in features_of(case) for case in right]
        if all(bad) and not any(good):
            yield f"{name} is not plain"
        if not any(bad) and all(good):
            yield f"{name} is plain"


NUMBERS: tuple[tuple[str, Callable[[Case], int]], ...] = (
    ("group", lambda case: case.group),
    ("the number of KV heads", lambda case: case.num_kv_heads),
    ("the number of sequences", lambda case: case.num_seqs),
    ("q_len", lambda case: case.q_len),
    ("block_size", lambda case: case.block_size),
    ("the longest sequence", lambda case: max(case.seq_lens)),
    ("the block table's room in tokens", lambda case: case.table_width * case.block_size),
    ("head_dim", lambda case: case.head_dim),
    ("value_head_dim", lambda case: case.value_head_dim),
)
