"""The contents of a finding's report as plain texts and numbers, for the terminal and the page to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.call_sequence import differences
from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.simplicity import features_of
from fuzz_decode.corpus.entry import Entry

OPTIONAL = ("q_len", "window", "softcap", "scale", "k_scale", "v_scale", "alibi", "sinks")
AXES = {"out": ("sequence", "q head", "dim"), "lse": ("sequence", "q head")}
LISTED_SEQUENCES = 12  # of seq_lens; more are counted


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor as it is passed to the target; `layout` in words."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    layout: str


def message(entry: Entry) -> str:
    """The message of the finding."""
    return str(entry.finding.get("message", ""))


def headline(entry: Entry) -> str:
    """The fault in one line: the diagnosis, or without one the message of the finding."""
    return entry.diagnosis or message(entry)


def case_facts(case: Case) -> list[tuple[str, str]]:
    """Sizes and options, each with its name."""
    lengths = ", ".join(map(str, case.seq_lens[:LISTED_SEQUENCES])) + (", ..." if case.num_seqs > LISTED_SEQUENCES else "")
    caches = f", caches {case.cache_dtype}" if case.cache_dtype else ""
    facts = [
        ("seq_lens", f"{lengths}  ({case.num_seqs} sequence{'s' * (case.num_seqs > 1)})"),
        ("heads", f"{case.num_q_heads} q, {case.num_kv_heads} KV, group {case.group}"),
        ("head_dim", f"{case.head_dim}, V {case.value_head_dim}"),
        ("block_size", f"{case.block_size}  ({case.num_blocks} block{'s' * (case.num_blocks > 1)} in the pool)"),
        ("dtype, data", f"{case.dtype}{caches}, {case.data}, seed {case.seed}"),
    ]
    facts += [(name, str(getattr(case, name))) for name in OPTIONAL if getattr(case, name) != DEFAULTS[name]]
    if case.layers > 1:
        facts.append(("layer", f"{case.layer} of {case.layers}"))
    features = {name: value for name, value in features_of(case).items() if name.startswith("table.") and name != "table.layout"}
    if features:
        facts.append(("block table", ", ".join(f"{name.removeprefix('table.')} {value}" for name, value in features.items())))
    return facts


def tensor_facts(case: Case) -> list[TensorFacts]:
    """Shape and strides of every tensor."""
    v = case.v if case.v is not None else case.k
    cache_k, cache_v = case.cache_sizes(case.k_row), case.cache_sizes(case.value_head_dim if case.v is not None else case.k_row)
    queries, outs = case.query_sizes(case.head_dim), case.query_sizes(case.value_head_dim)
    return [
        TensorFacts("q", *_shape_and_strides(case.q, queries, QUERY_AXES), str(case.q)),
        TensorFacts("k_cache", *_shape_and_strides(case.k, cache_k, CACHE_AXES, case.head_dim), str(case.k)),
        TensorFacts("v_cache", *_shape_and_strides(v, cache_v, CACHE_AXES, case.value_head_dim), _location_of_v(case)),
        TensorFacts(
            "block_table", *_shape_and_strides(case.table.layout, case.table_sizes(), TABLE_AXES), str(case.table.layout)
        ),
        TensorFacts("out", *_shape_and_strides(case.out, outs, QUERY_AXES), str(case.out)),
    ]


def worst_index(entry: Entry) -> str:
    """`out[sequence 0, q head 1, dim 5]`; empty where the finding names no element."""
    finding: dict[str, Any] = entry.finding
    where, axes = finding.get("where") or (), AXES.get(str(finding.get("tensor")), ())
    if not where or len(axes) != len(where):
        return ""
    row, *inner = where
    token = [("query token", row % entry.case.q_len)] if entry.case.q_len > 1 else []
    indices = [(axes[0], row // entry.case.q_len), *token, *zip(axes[1:], inner, strict=True)]
    return f"{finding['tensor']}[{', '.join(f'{axis} {index}' for axis, index in indices)}]"


def worst_numbers(entry: Entry) -> dict[str, str]:
    """The expected value there, the actual one and the allowed error, as far as the finding has them."""
    numbers = {key: entry.finding.get(key) for key in ("expected", "got", "allowed")}
    return {key: _number(number) for key, number in numbers.items() if number is not None}


def required_features(entry: Entry) -> list[tuple[str, str]]:
    """Each feature of the case that is not the default, with its value, and the result of the case with the default instead."""
    features = features_of(entry.case)
    return [(f"{name} = {features.get(name, '?')}", verdict) for name, verdict in entry.needed.items()]


def with_the_default(verdict: str) -> str:
    """The result of a case with a default in words: `passes with the default`."""
    return "passes with the default" if verdict == "passes" else f"with the default: {verdict}"


def call_facts(entry: Entry) -> list[str]:
    """The differences between each call before and the failing one: parameters that a cache key may omit."""
    last = len(entry.before) + 1
    return [f"call {number} -> {last}  {changes(case, entry.case)}" for number, case in enumerate(entry.before, 1)]


def changes(case: Case, last: Case) -> str:
    """The differences between a call and the last one, in words."""
    changed = differences(case, last).items()
    return ", ".join(f"{name} {word(before)} -> {word(after)}" for name, (before, after) in changed) or "the same call again"


def word(value: object) -> str:
    """A field's value in a word or two."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "default" if value is None else str(value)


def _number(number: Any) -> str:
    return f"{number:.6g}" if isinstance(number, (int, float)) else str(number)


def _location_of_v(case: Case) -> str:
    if case.v is not None:
        return str(case.v)
    if case.v_prefix_of_k:
        return "the first elements of K's rows"
    return f"K's buffer, {case.k.strides(case.cache_sizes(case.k_row))['kv']} elements further on"


def _shape_and_strides(
    layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], dim: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    strides = layout.strides(sizes)
    shape = tuple(dim if axis == "dim" and dim is not None else sizes[axis] for axis in axes)
    return shape, tuple(strides[axis] for axis in axes)
