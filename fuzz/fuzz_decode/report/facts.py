"""The contents of a finding's report as plain texts and numbers, for the terminal and the page to lay out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.call_sequence import differences
from fuzz_decode.cases.case import DEFAULTS, Case, flatten
from fuzz_decode.cases.domain import FINITE_PLACES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, PlacedLayout
from fuzz_decode.cases.optional_arguments import in_order
from fuzz_decode.cases.simplicity import features_of
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.shrink.needed import size_in_words
from fuzz_decode.text import counted

AXES = {"out": ("sequence", "q head", "dim"), "lse": ("sequence", "q head")}
LISTED_SEQUENCES = 12  # of seq_lens; more are counted


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """A tensor as it is passed to the target; `layout` in words."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    layout: str
    """In words."""


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
        ("seq_lens", f"{lengths}  ({counted(case.num_seqs, 'sequence')})"),
        ("heads", f"{case.num_q_heads} q, {case.num_kv_heads} KV, group {case.group}"),
        ("head_dim", f"{case.head_dim}, V {case.value_head_dim}"),
        ("block_size", f"{case.block_size}  ({counted(case.num_blocks, 'block')} in the pool)"),
        ("dtype, data", f"{case.dtype}{caches}, {case.data}, seed {case.seed}"),
    ]
    facts += [(name, str(getattr(case, name))) for name in _option_fields() if getattr(case, name) != DEFAULTS[name]]
    if case.layers > 1:
        facts.append(("layer", f"{case.layer} of {case.layers}"))
    features = {name: value for name, value in features_of(case).items() if name.startswith("table.") and name != "table.layout"}
    if case.beyond != DEFAULTS["beyond"]:
        facts.append(("beyond ends", f"{case.beyond} integers after the lengths and around the block table"))
    if case.finite:
        places = "; ".join(FINITE_PLACES[place] for place in case.finite)
        facts.append(("not NaN", f"finite garbage in {places}"))
    if features:
        facts.append(("block table", ", ".join(f"{name.removeprefix('table.')} {value}" for name, value in features.items())))
    return facts


def _option_fields() -> list[str]:
    """Fields of the options; `cache_dtype` is shown beside the dtype."""
    options = [option for option in in_order("q_len", "window", "softcap", "scale", "cache_dtype") if option.changes_answer]
    return [name for option in options for name in option.fields if name != "cache_dtype"]


def tensor_facts(case: Case) -> list[TensorFacts]:
    """Shape and strides of every tensor."""
    layouts = case.layouts()
    v = layouts.get("v", layouts["k"])
    return [
        TensorFacts("q", *_shape_and_strides(layouts["q"], QUERY_AXES), _in_words(case.q)),
        TensorFacts("k_cache", *_shape_and_strides(layouts["k"], CACHE_AXES, case.head_dim), _in_words(case.k)),
        TensorFacts("v_cache", *_shape_and_strides(v, CACHE_AXES, case.value_head_dim), _location_of_v(case)),
        TensorFacts("block_table", *_shape_and_strides(layouts["table.layout"], TABLE_AXES), _in_words(case.table.layout)),
        TensorFacts("out", *_shape_and_strides(layouts["out"], QUERY_AXES), _in_words(case.out)),
    ]


def message_details(entry: Entry) -> str:
    """Lines beside the message: the address that each wrong row read, or the calls that led to an exception."""
    return "\n".join(str(entry.finding[lines]) for lines in ("reads", "calls") if entry.finding.get(lines))


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
    if entry.finding.get("oracle") == "provenance":  # what rounding allows is no matter there
        numbers["allowed"] = "0: the value spells the address that was read"
    return {key: _number(number) for key, number in numbers.items() if number is not None}


def required_features(entry: Entry) -> list[tuple[str, str]]:
    """Each feature or size of the case that the failure needs, with its value, and the result of the case without it."""
    every = {**{name: size_in_words(value) for name, value in flatten(entry.case)}, **features_of(entry.case)}
    return [(f"{name} = {every.get(name, '?')}", verdict) for name, verdict in entry.needed.items()]


def with_the_default(verdict: str) -> str:
    """The result of a case with a default or another size in words: `passes with the default`, `passes with 16`."""
    if verdict.startswith("passes with "):
        return verdict
    if verdict.startswith("is known: "):
        return f"with the default {verdict.removeprefix('is known: ')}"
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


def _in_words(layout: Layout) -> str:
    """With blanks where a line may break."""
    return str(layout).replace(">", " > ")


def _location_of_v(case: Case) -> str:
    if case.v is not None:
        return _in_words(case.v)
    if case.v_prefix_of_k:
        return "the first elements of K's rows"
    return f"K's buffer, {case.layouts()['k'].strides['kv']} elements further on"


def _shape_and_strides(
    placed: PlacedLayout, axes: tuple[str, ...], dim: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Those of the view with these axes; `dim` is its row, where the buffer's rows are longer."""
    strides = placed.strides
    shape = tuple(dim if axis == "dim" and dim is not None else placed.sizes[axis] for axis in axes)
    return shape, tuple(strides[axis] for axis in axes)
