"""Decode problems, drawn: valid by construction, simplest value first.

`draw_case` is what the campaign draws from; `cases()` is the same as a Hypothesis strategy, for `@given` in your own tests. Every
number below is a value that an engine uses or a bug needed (layouts: `fuzz_decode.cases.layout`); small values come first
and most often, since most faults live in tiny cases and the interpreter pays per program.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Concatenate, Literal, ParamSpec, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import (
    BLOCK_SIZES,
    CACHE_DTYPES,
    DTYPES,
    GROUPS,
    HEAD_DIMS,
    MAX_SPAN,
    NUM_KV_HEADS,
    UNUSED_ENTRIES,
    VALUE_HEAD_DIMS,
)
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import tags_fit
from fuzz_decode.generate.choices import Choices

OPTIONS = frozenset({"out", "window", "softcap", "alibi_slopes", "sinks", "k_scale", "v_scale", "q_len"})
Q_LENS = (2, 3, 4, 5, 8)
FP8_SCALES = (0.5, 2.0, 0.3, 1.7)  # never 1, which hides that they are ignored
SPLIT_EDGES = (16, 32, 64, 128, 256, 512)
LATENT = 512  # dims of MLA: rows of K that are longer hold V, which is so long, and positions
MAX_ROWS = 6  # sequences * KV heads: one program each in most kernels, milliseconds each in the interpreter
CROWDS = (9, 33, 130)  # or so many sequences of a few tokens, now and then: kernels look at so many at once
CROWDED_LENGTH = 3
MAX_CROWDED = 2**22  # elements of K and V in a crowd's blocks
MAX_ELEMENTS = 2**20  # of K and V that are really used, unless a single token has more

T = TypeVar("T")
P = ParamSpec("P")


def draw_case(
    source: Choices,
    *,
    dtypes: Sequence[str] = DTYPES,
    cache_dtypes: Sequence[str] = CACHE_DTYPES,
    head_dims: Sequence[int] = HEAD_DIMS,
    value_head_dims: Sequence[int] | Literal["head_dim"] | None = None,
    block_sizes: Sequence[int] = BLOCK_SIZES,
    groups: Sequence[int] = GROUPS,
    num_kv_heads: Sequence[int] = NUM_KV_HEADS,
    options: Collection[str] = OPTIONS,
    min_seq_len: int = 0,
    max_seq_len: int = 2048,
    huge_spans: bool = True,
    strides: StrideRules = StrideRules(),
) -> Case:
    """Any decode problem that a target with these capabilities can get.

    `options` are the keyword parameters that the target takes, among OPTIONS; one that it lacks is never drawn. Float8 caches,
    of `cache_dtypes`, need `k_scale` and `v_scale`. `value_head_dims=None` draws the head_dim itself mostly, and any other of
    VALUE_HEAD_DIMS now and then; "head_dim" draws nothing else, and a sequence restricts it. `huge_spans` allows caches that
    reach beyond 2**31 elements on few touched pages. `strides` are what the target assumes of them.
    """
    crowd = _sometimes(source, 1, CROWDS)
    heads = min(num_kv_heads) if crowd else _early(source, num_kv_heads)
    head_dim = _early(source, head_dims)
    value_head_dim = _value_head_dim(source, head_dim, value_head_dims)
    block_size = _early(source, block_sizes)
    token = heads * (head_dim + value_head_dim)  # elements
    few = MAX_CROWDED // (block_size * token) if crowd else MAX_ROWS // heads
    num_seqs = min(crowd or source.one_of((1, 2, 3, 4)), max(1, few))
    longest = CROWDED_LENGTH if crowd else max_seq_len
    longest = max(1, min_seq_len, min(longest, max_seq_len, MAX_ELEMENTS // (num_seqs * token)))
    q_len = min((_sometimes(source, 20, Q_LENS) or 1) if "q_len" in options else 1, longest)
    lengths = [_length(source, block_size, min_seq_len, longest) for _ in range(num_seqs)]
    case = Case(
        seq_lens=tuple(_holding(length, q_len) for length in lengths),
        q_len=q_len,
        num_kv_heads=heads,
        group=_early(source, groups),
        head_dim=head_dim,
        value_head_dim=value_head_dim,
        block_size=block_size,
        dtype=source.one_of(dtypes),
        window=_window(source, max_seq_len) if "window" in options else None,
        softcap=_sometimes(source, 20, (30.0, 1.0, 50.0)) if "softcap" in options else None,
        scale=_sometimes(source, 15, (1.0, 0.3)),
        alibi=_percent(source, 15) if "alibi_slopes" in options else False,
        sinks=_percent(source, 20) if "sinks" in options else False,
        q=_query_layout(source),
        out=_query_layout(source) if "out" in options else dense(QUERY_AXES),
        table=_block_table(source),
        seed=source.integer(0, 2**16),
    )
    if {"k_scale", "v_scale"} <= set(options) and cache_dtypes and _percent(source, 50 if head_dim > LATENT else 20):
        case = _with_float8(source, case, cache_dtypes)
    case = _with_cache(source, case)
    if huge_spans and _percent(source, 4):
        case = _with_huge_span(source, case)
    case = strides.nearest(case)
    return dataclasses.replace(case, data=source.one_of(_data_modes(case)))


@dataclass(frozen=True, slots=True)
class HypothesisChoices:
    """Choices that Hypothesis remembers, and shrinks."""

    draw: DrawFn

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, values: Sequence[T]) -> T:
        return self.draw(st.sampled_from(values))

    def coin(self) -> bool:
        return self.draw(st.booleans())

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        return tuple(self.draw(st.permutations(values)))


def _strategy(drawn: Callable[Concatenate[Choices, P], Case]) -> Callable[P, SearchStrategy[Case]]:
    """The same arguments, but for where choices come from; Hypothesis makes them."""

    @st.composite
    def strategy(draw: DrawFn, /, *args: P.args, **kwargs: P.kwargs) -> Case:
        return drawn(HypothesisChoices(draw), *args, **kwargs)

    @functools.wraps(drawn)
    def decode_cases(*args: P.args, **kwargs: P.kwargs) -> SearchStrategy[Case]:
        return strategy(*args, **kwargs)

    return decode_cases


decode_cases = _strategy(draw_case)


def _percent(source: Choices, percent: int) -> bool:
    """True in `percent` of 100 draws; shrinks to False."""
    return source.integer(0, 99) >= 100 - percent


def _early(source: Choices, values: Sequence[T]) -> T:
    """One of the values, three times in four from the first half: small cases are cheap, and most bugs live there."""
    common = values[: (len(values) + 1) // 2]
    return source.one_of(values if _percent(source, 25) else common)


def _sometimes(source: Choices, percent: int, values: Sequence[T]) -> T | None:
    return source.one_of(values) if _percent(source, percent) else None


def _value_head_dim(source: Choices, head_dim: int, allowed: Sequence[int] | Literal["head_dim"] | None) -> int:
    if allowed == "head_dim":
        return head_dim
    if allowed is None and not _percent(source, 20):
        return min(head_dim, LATENT)
    return _early(source, VALUE_HEAD_DIMS if allowed is None else allowed)


def _length(source: Choices, block_size: int, low: int, high: int) -> int:
    """Where length bugs live: tiny, at a block edge, at a split edge, and anywhere, now and then long."""
    kind = source.integer(0, 19)
    if kind < 4:
        length = source.one_of((1, 0, 2, 3, 0, 5))
    elif kind < 11:
        length = source.integer(1, 4) * block_size + source.one_of((0, 1, -1))
    elif kind < 15:
        length = source.one_of(SPLIT_EDGES[:4]) + source.one_of((0, 1, -1))
    elif kind < 19:
        length = source.integer(1, 100)
    else:
        length = source.one_of(SPLIT_EDGES) * source.integer(1, 4) + source.integer(-1, 1)
    return max(low, min(length, high))


def _holding(length: int, q_len: int) -> int:
    """A sequence holds its query tokens, or is an empty row of a padded batch."""
    return max(length, q_len) if length else 0


def _with_float8(source: Choices, case: Case, cache_dtypes: Sequence[str]) -> Case:
    k_scale, v_scale = source.one_of(FP8_SCALES), source.one_of(FP8_SCALES)
    return dataclasses.replace(case, cache_dtype=_early(source, cache_dtypes), k_scale=k_scale, v_scale=v_scale)


def _window(source: Choices, high: int) -> int | None:
    if not _percent(source, 30):
        return None
    kind = source.integer(0, 2)
    if kind == 0:
        return source.integer(1, 20)
    return source.one_of((16, 17, 31, 32, 64, 100)) if kind == 1 else source.integer(1, max(1, min(high, 200)))


def _padded(source: Choices, layout: Layout, percent: int) -> Layout:
    """The layout with padding on some axes: little, much or odd; on the innermost axis seldom, since few kernels take it."""
    pads = []
    for axis in layout.order:
        chance = percent // 4 if axis == layout.order[-1] else percent
        pad = source.one_of((8, 1, 16, 3, 64, 13, 1000)) if _percent(source, chance) else 0
        pads.append(pad if axis != layout.order[-1] else min(pad, 3))
    offset = source.one_of((8, 1, 16, 37)) if _percent(source, percent) else 0
    return Layout(layout.order, tuple(pads), offset)


def _query_layout(source: Choices) -> Layout:
    """[num_seqs, num_q_heads, head_dim]: mostly dense, else a slice of packed QKV, a transpose or any order with padding."""
    if not _percent(source, 35):
        return dense(QUERY_AXES)
    order = QUERY_AXES if not _percent(source, 30) else source.one_of((("head", "seq", "dim"), ("seq", "dim", "head")))
    return _padded(source, dense(order), 40)


def _block_table(source: Choices) -> BlockTable:
    order = TABLE_AXES if not _percent(source, 15) else TABLE_AXES[::-1]
    layout = _padded(source, dense(order), 25)
    return BlockTable(
        layout=layout,
        placement=source.one_of(("identity", "permuted", "permuted", "reversed")),
        first_block=source.integer(1, 5) if _percent(source, 30) else 0,
        spare_blocks=source.integer(1, 5) if _percent(source, 40) else 0,
        shared_blocks=source.integer(1, 3) if _percent(source, 20) else 0,
        extra_columns=source.integer(1, 9) if _percent(source, 35) else 0,
        unused=source.one_of(tuple(UNUSED_ENTRIES)),
    )


def _with_cache(source: Choices, case: Case) -> Case:
    """The case with K and V laid out: a family of the wild mostly, else any order; K and V alike, apart, or V within K."""
    kind = source.integer(0, 19)
    padding = source.one_of((0, 20, 50))
    if kind < 12:
        order = source.one_of(tuple(FAMILIES.values()))
    elif kind < 14:
        order = source.shuffled(("block", "kv", "slot", "head", "dim"))
    else:
        order = source.shuffled(CACHE_AXES) if kind == 19 else FAMILIES["NHD" if kind % 2 else "HND"]
    k = _padded(source, dense(order), padding)
    layers = source.integer(1, 3) if "layer" in order else 1
    layer = source.integer(0, layers - 1)
    # drawn even where V lies in K's buffer, so that Hypothesis finds no family simpler than the simplest for needing less
    prefix, separate = _percent(source, 60 if case.head_dim > LATENT else 15), _percent(source, 70)
    v: Layout | None = None
    if "kv" not in order and not (case.value_head_dim <= case.head_dim and prefix):
        v = _separate_v(source, padding) if separate else k
    case = dataclasses.replace(case, k=k, v=v, layers=layers, layer=layer)
    if case.num_kv_heads == 1 and _percent(source, 30):
        case = _with_singleton_stride(case, source.integer(0, 3))
    if _span(case) <= MAX_SPAN:
        return case
    return dataclasses.replace(case, k=dense(k.order), v=None if v is None else dense(v.order))


def _separate_v(source: Choices, padding: int) -> Layout:
    order = FAMILIES[source.one_of(("NHD", "HND"))]
    return _padded(source, dense(order), padding + 10)


def _with_singleton_stride(case: Case, stride: int) -> Case:
    """A head axis of size 1 may have any stride: make K's tiny when it is just outside dim (vLLM PR 40737)."""
    k, head = case.k, case.k.order.index("head")
    if k.order[head + 1 :] != ("dim",) or k.pad[-1]:
        return case
    return dataclasses.replace(case, k=dataclasses.replace(k, pad=(*k.pad[:head], stride - case.k_row, *k.pad[head + 1 :])))


def _with_huge_span(source: Choices, case: Case) -> Case:
    """The case with block ids beyond 2**16, or with page strides that reach past 2**31 elements; as it was if neither fits."""
    if source.coin():
        huge = dataclasses.replace(case, table=dataclasses.replace(case.table, first_block=source.one_of((65_530, 70_000))))
    else:
        block = case.k.order.index("block")
        pad = 2**31 // max(1, case.num_blocks - 1) + source.integer(0, 1000)
        k = dataclasses.replace(case.k, pad=(*case.k.pad[:block], case.k.pad[block] + pad, *case.k.pad[block + 1 :]))
        huge = dataclasses.replace(case, k=k)
    return huge if _span(huge) < MAX_SPAN // 2 else case


def _span(case: Case) -> int:
    """Elements between the first and the last one of the tensor that reaches farthest."""
    return max(layout.extent(sizes) for layout, sizes in case.layouts().values())


def _data_modes(case: Case) -> Sequence[str]:
    modes = ("gaussian", "uniform", "large", "tagged", "tagged")
    return modes if tags_fit(case) else modes[:3]
