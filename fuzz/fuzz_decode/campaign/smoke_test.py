"""A newcomer's first questions about a target, a tiny case each, asked in this order: is it attention at all; does it walk
blocks and share KV heads; does it use the strides and block ids that it is given; does it keep to each sequence's length; do
its options work. Blocks are full until lengths are asked about. Nothing is stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, QUERY_AXES, Layout, family
from fuzz_decode.outcome import Outcome
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo
from fuzz_decode.workers.resilient_worker import ResilientWorker

INTERLEAVED = Layout(FAMILIES["interleaved HND"])  # no stride of it is that of a contiguous cache
SCATTERED = BlockTable(placement="permuted", first_block=1, spare_blocks=2)
WIDE = BlockTable(spare_blocks=1, extra_columns=2, unused="huge")
GAPS = Layout(QUERY_AXES, (8, 16, 0))


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, and a case that answers it; `setting` says in words what is new in the case."""

    question: str
    setting: str
    case: Case


@dataclass(frozen=True, slots=True)
class Answer:
    probe: Probe
    outcome: Outcome


def check(plan: WorkerConfig) -> Iterator[WorkerInfo | Answer]:
    """What was understood of the target, then the probes' answers. Raises UsageError if it cannot be a target."""
    with ResilientWorker(plan) as worker:
        yield worker.ready
        for probe in probes(worker.ready.generates):
            yield Answer(probe, worker.run(probe.case))


def probes(generates: Mapping[str, Any]) -> tuple[Probe, ...]:
    """The questions in the order to ask them, within what a target takes (`Target.generates`)."""
    shortest, plain = generates["min_seq_len"], _plain(generates)
    several = dataclasses.replace(
        plain,
        seq_lens=(max(shortest, 3 * plain.block_size),),
        num_kv_heads=2,
        group=min((group for group in generates.get("groups", (2,)) if group > 1), default=1),
    )
    asked = {
        "plain": plain,
        "blocks and heads": several,
        "strides": dataclasses.replace(several, k=INTERLEAVED, v=None, table=SCATTERED),
        "lengths": dataclasses.replace(several, seq_lens=_ragged(plain.block_size, shortest), table=WIDE),
        "options": _with_options(several, generates),
    }
    if asked["options"] == several:
        del asked["options"]
    kept = {question: generates["strides"].nearest(case) for question, case in asked.items()}
    return tuple(Probe(question, SETTINGS[question](case), case) for question, case in kept.items())


def _plain(generates: Mapping[str, Any]) -> Case:
    """One block, full, in sizes that most kernels take, or the smallest that this one does."""
    head_dim, widths = min(generates.get("head_dims", (64,))), generates.get("value_head_dims", "head_dim")
    block_size = min((size for size in generates.get("block_sizes", (16,)) if size > 1), default=1)
    return Case(
        seq_lens=(max(block_size, generates["min_seq_len"]),),
        group=min(generates.get("groups", (1,))),
        head_dim=head_dim,
        value_head_dim=head_dim if widths == "head_dim" or head_dim in widths else min(widths),
        block_size=block_size,
        dtype=generates["dtypes"][0],
    )


def _ragged(block_size: int, shortest: int) -> tuple[int, ...]:
    return tuple(max(shortest, length) for length in (block_size + 1, 0, 1, 3 * block_size - 1))


def _with_options(case: Case, generates: Mapping[str, Any]) -> Case:
    """One of everything that the target takes; float8 caches need both their scales."""
    options, cache_dtypes = generates["options"], generates.get("cache_dtypes", ())
    changes: dict[str, dict[str, Any]] = {
        "out": {"out": GAPS},
        "softcap": {"softcap": 1.0},
        "window": {"window": case.block_size + 2},
        "alibi_slopes": {"alibi": True},
        "sinks": {"sinks": True},
        "q_len": {"q_len": 2},
    }
    if {"k_scale", "v_scale"} <= options and cache_dtypes:
        changes["k_scale"] = {"cache_dtype": cache_dtypes[0], "k_scale": 0.5, "v_scale": 2.0}
    for name in sorted(options & set(changes)):
        case = dataclasses.replace(case, **changes[name])
    return case


def _options_of(case: Case) -> str:
    used = {
        "out with gaps": case.out.padded,
        f"softcap {case.softcap}": case.softcap is not None,
        f"window {case.window}": case.window is not None,
        "ALiBi": case.alibi,
        "sinks": case.sinks,
        f"{case.cache_dtype} caches": case.cache_dtype is not None,
        f"q_len {case.q_len}": case.q_len > 1,
    }
    return ", ".join(words for words, is_used in used.items() if is_used)


# what is new in a case, in words
SETTINGS: dict[str, Callable[[Case], str]] = {
    "plain": lambda case: f"{case.seq_lens[0]} tokens, contiguous, {case.dtype}",
    "blocks and heads": lambda case: f"{case.num_pages} blocks, {case.num_q_heads} query heads on {case.num_kv_heads} KV heads",
    "strides": lambda case: f"{family(case.k, case.v)} cache, permuted blocks",
    "lengths": lambda case: f"{', '.join(map(str, case.seq_lens))}; NaN in what is unused",
    "options": _options_of,
}
