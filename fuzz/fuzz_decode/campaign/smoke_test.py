"""A first check of a target: a few tiny cases, each with one more feature than those before. Is it attention at all; does it walk
blocks and share KV heads; does it use its strides and block ids; does it stop at each sequence's length; do its options work.
Blocks are full before the question of lengths. Nothing is stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from fuzz_decode.cases.call_sequence import altered
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.finite_places import needed_places, places_in_order, with_finite
from fuzz_decode.cases.layout import FAMILIES, Layout, family
from fuzz_decode.cases.optional_arguments import all_options, in_order
from fuzz_decode.outcome import Outcome, Stage, Status
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo
from fuzz_decode.workers.resilient_worker import ResilientWorker, Tell

INTERLEAVED = Layout(FAMILIES["interleaved HND"])  # no stride of it is that of a contiguous cache
SCATTERED = BlockTable(placement="permuted", first_block=1, spare_blocks=2)
WIDE = BlockTable(spare_blocks=1, extra_columns=2, unused="huge")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, and a case that answers it."""

    question: str
    setting: str
    """The feature that is new in the case, in words."""
    case: Case


@dataclass(frozen=True, slots=True)
class Answer:
    probe: Probe
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A declaration with which a probe that fails would pass."""

    needs_finite: tuple[str, ...]


def check(plan: WorkerConfig, tell: Tell = str) -> Iterator[WorkerInfo | Answer | Suggestion]:
    """The target's description, then the answer to each probe.
    `tell` gets the reason if the interpreter takes over. Raises UsageError if it cannot be a target."""
    with ResilientWorker(plan, tell) as worker:
        yield worker.ready
        answers = []
        for probe in probes(worker.ready.space):
            answers.append(Answer(probe, worker.run_calls((probe.case,))))
            yield answers[-1]
        yield from _suggestions(answers, worker)


def _suggestions(answers: list[Answer], worker: ResilientWorker) -> Iterator[Suggestion]:
    """The places where finite numbers, with which probes pass, would have to be declared; nothing if there are none."""

    def passes(case: Case) -> bool:
        return worker.run_calls((case,)).status is Status.PASSED

    failed = [answer.probe.case for answer in answers if answer.outcome.findings and answer.outcome.stage == Stage.COMPARE]
    if places := places_in_order(place for case in failed for place in needed_places(case, passes)):
        yield Suggestion(places_in_order((*worker.ready.space.finite, *places)))


def probes(space: CaseSpace) -> tuple[Probe, ...]:
    """The probes in the order of their questions, within the space of a target."""
    shortest, plain = space.min_seq_len, _plain(space)
    several = dataclasses.replace(
        plain,
        seq_lens=(max(shortest, 3 * plain.block_size),),
        num_kv_heads=2,
        group=min((group for group in space.groups or (2,) if group > 1), default=1),
    )
    cases = {
        "plain": plain,
        "blocks and heads": several,
        "strides": dataclasses.replace(several, k=INTERLEAVED, v=None, table=SCATTERED),
        "lengths": dataclasses.replace(several, seq_lens=_ragged(plain.block_size, shortest), table=WIDE),
        "options": _with_options(several, space),
    }
    if cases["options"] == several:
        del cases["options"]
    fitting = {question: with_finite(space.strides.nearest(case), space.finite) for question, case in cases.items()}
    return tuple(Probe(question, SETTINGS[question](case), case) for question, case in fitting.items())


def _plain(space: CaseSpace) -> Case:
    """One full block, in sizes that most kernels take, or the smallest that this one takes."""
    head_dim = min(space.head_dims or (64,))
    block_size = min((size for size in space.block_sizes or (16,) if size > 1), default=1)
    return Case(
        seq_lens=(max(block_size, space.min_seq_len),),
        group=min(space.groups or (1,)),
        head_dim=head_dim,
        value_head_dim=_value_head_dim(head_dim, space.value_head_dims),
        block_size=block_size,
        dtype=space.dtypes[0],
    )


def _value_head_dim(head_dim: int, allowed: tuple[int, ...] | Literal["head_dim"] | None) -> int:
    """The head_dim itself if it is allowed."""
    if allowed is None or allowed == "head_dim" or head_dim in allowed:
        return head_dim
    return min(allowed)


def _ragged(block_size: int, shortest: int) -> tuple[int, ...]:
    return tuple(max(shortest, length) for length in (block_size + 1, 0, 1, 3 * block_size - 1))


def _with_options(case: Case, space: CaseSpace) -> Case:
    """The case with every option that the target takes."""
    used: dict[str, object] = {}
    for option in all_options():
        if option.parameters and space.takes(option):
            used |= dict(zip(option.fields, option.used, strict=True))
    # values that show more in so small a case, and a cache_dtype of this target
    telling = {"window": case.block_size + 2, "softcap": 1.0, "v_scale": 2.0, "cache_dtype": next(iter(space.cache_dtypes), None)}
    return altered(case, used | {name: value for name, value in telling.items() if name in used})


def _options_of(case: Case) -> str:
    """The options that a case uses, in words."""
    options = in_order("out", "softcap", "window", "alibi", "sinks")
    values = {name: getattr(case, name) for option in options for name in option.fields}
    return ", ".join(option.summary.format(**values) for option in options if option.summary and option.is_used(case))


# question -> the new feature of its case, in words
SETTINGS: dict[str, Callable[[Case], str]] = {
    "plain": lambda case: f"{case.seq_lens[0]} tokens, contiguous, {case.dtype}",
    "blocks and heads": lambda case: f"{case.num_pages} blocks, {case.num_q_heads} query heads on {case.num_kv_heads} KV heads",
    "strides": lambda case: f"{family(case.k, case.v)} cache, permuted blocks",
    "lengths": lambda case: f"{', '.join(map(str, case.seq_lens))}; NaN in what is unused{', as declared' * bool(case.finite)}",
    "options": _options_of,
}
