"""Decode problems, drawn: valid by construction, simplest value first.

`draw_case` draws a campaign's cases; `decode_cases()` is the same as a Hypothesis strategy, for `@given` in your own tests. Every
number below is a value that an engine uses or that a bug needed (layouts: `fuzz_decode.cases.layout`); small values come first
and most often, since tiny cases show most faults, and the interpreter's time grows with the number of programs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
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
from fuzz_decode.cases.optional_arguments import OptionalArgument, all_options, generated_parameters, option_of
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import tags_fit
from fuzz_decode.generate.choices import Choices

Q_LENS = (2, 3, 4, 5, 8)
FP8_SCALES = (0.5, 2.0, 0.3, 1.7)  # never 1, which hides a kernel that ignores them
SPLIT_EDGES = (16, 32, 64, 128, 256, 512)
LATENT = 512  # dims of V in MLA, whose longer rows of K hold V and the positions
MAX_ROWS = 6  # sequences * KV heads: one program each in most kernels, milliseconds each in the interpreter
LARGE_BATCHES = (9, 33, 130)  # sequences of a few tokens, now and then: some kernels reduce over 8, 32 or 128 of them at once
LARGE_BATCH_LENGTH = 3
MAX_LARGE_BATCH = 2**22  # elements of K and V in the blocks of a large batch
MAX_ELEMENTS = 2**20  # of K and V that are really used, unless a single token has more

T = TypeVar("T")


def draw_case(source: Choices, space: CaseSpace) -> Case:
    """Any decode problem that a target with this space can get. The order of draws belongs to the meaning of a seed."""
    large_batch = _sometimes(source, 1, LARGE_BATCHES)
    every_num_kv_heads = _or_all(space.num_kv_heads, NUM_KV_HEADS)
    heads = min(every_num_kv_heads) if large_batch else _early(source, every_num_kv_heads)
    head_dim = _early(source, _or_all(space.head_dims, HEAD_DIMS))
    value_head_dim = _value_head_dim(source, head_dim, space.value_head_dims)
    block_size = _early(source, _or_all(space.block_sizes, BLOCK_SIZES))
    token = heads * (head_dim + value_head_dim)  # elements
    max_seqs = MAX_LARGE_BATCH // (block_size * token) if large_batch else MAX_ROWS // heads
    num_seqs = min(large_batch or source.one_of((1, 2, 3, 4)), max(1, max_seqs))
    longest = LARGE_BATCH_LENGTH if large_batch else space.max_seq_len
    longest = max(1, space.min_seq_len, min(longest, space.max_seq_len, MAX_ELEMENTS // (num_seqs * token)))
    q_len = min((_sometimes(source, 20, Q_LENS) or 1) if "q_len" in space.options else 1, longest)
    lengths = [_length(source, block_size, space.min_seq_len, longest) for _ in range(num_seqs)]
    case = Case(
        seq_lens=tuple(_holding(length, q_len) for length in lengths),
        q_len=q_len,
        num_kv_heads=heads,
        group=_early(source, _or_all(space.groups, GROUPS)),
        head_dim=head_dim,
        value_head_dim=value_head_dim,
        block_size=block_size,
        dtype=source.one_of(space.dtypes),
        window=_window(source, space.max_seq_len) if "window" in space.options else None,
        **_listed_options(source, space),
        q=_query_layout(source),
        out=_query_layout(source) if "out" in space.options else dense(QUERY_AXES),
        table=_block_table(source),
        seed=source.integer(0, 2**16),
    )
    if space.takes(option_of("k_scale")) and _percent(source, 50 if head_dim > LATENT else 20):
        case = _with_float8(source, case, space.cache_dtypes)
    case = _with_cache(source, case)
    if space.huge_spans and _percent(source, 4):
        case = _with_huge_span(source, case)
    case = space.strides.nearest(case)
    return dataclasses.replace(case, data=source.one_of(_data_modes(case)))


def decode_cases(
    *,
    dtypes: Sequence[str] = DTYPES,
    cache_dtypes: Sequence[str] = CACHE_DTYPES,
    head_dims: Sequence[int] | None = None,
    value_head_dims: Sequence[int] | Literal["head_dim"] | None = None,
    block_sizes: Sequence[int] | None = None,
    groups: Sequence[int] | None = None,
    num_kv_heads: Sequence[int] | None = None,
    options: Collection[str] | None = None,
    min_seq_len: int = 0,
    max_seq_len: int = 2048,
    huge_spans: bool = True,
    strides: StrideRules = StrideRules(),
) -> SearchStrategy[Case]:
    """A Hypothesis strategy of any decode problem that a target with these limits can get; they are those of a CaseSpace.

    `options` are optional parameters of the target; an option without its parameters is never drawn. Float8 caches, of
    `cache_dtypes`, need `k_scale` and `v_scale`. `value_head_dims=None` mostly draws the head_dim itself, and any other of
    VALUE_HEAD_DIMS now and then; "head_dim" draws nothing else, and a sequence restricts it. `huge_spans` allows caches that
    reach beyond 2**31 elements on few touched pages. `strides` are the target's assumptions.
    """
    return _strategy(
        CaseSpace(
            dtypes=tuple(dtypes),
            cache_dtypes=tuple(cache_dtypes),
            head_dims=_as_tuple(head_dims),
            value_head_dims="head_dim" if value_head_dims == "head_dim" else _as_tuple(value_head_dims),
            block_sizes=_as_tuple(block_sizes),
            groups=_as_tuple(groups),
            num_kv_heads=_as_tuple(num_kv_heads),
            options=generated_parameters() if options is None else frozenset(options),
            min_seq_len=min_seq_len,
            max_seq_len=max_seq_len,
            huge_spans=huge_spans,
            strides=strides,
        )
    )


@st.composite
def _strategy(draw: DrawFn, space: CaseSpace) -> Case:
    return draw_case(HypothesisChoices(draw), space)


@dataclass(frozen=True, slots=True)
class HypothesisChoices:
    """Choices that Hypothesis records and shrinks."""

    draw: DrawFn

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, values: Sequence[T]) -> T:
        return self.draw(st.sampled_from(values))

    def coin(self) -> bool:
        return self.draw(st.booleans())

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        return tuple(self.draw(st.permutations(values)))


def _as_tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _or_all(values: Sequence[T] | None, every: Sequence[T]) -> Sequence[T]:
    """The values of a limit; every value if there is no limit."""
    return every if values is None else values


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
    """Lengths that bugs depend on: tiny, at a block edge, at a split edge, and anywhere, now and then long."""
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


def _listed_options(source: Choices, space: CaseSpace) -> dict[str, Any]:
    """Fields of the options that are drawn from a list of values."""
    return {option.field: _listed_option(source, space, option) for option in all_options() if option.chance}


def _listed_option(source: Choices, space: CaseSpace, option: OptionalArgument) -> object:
    if not space.takes(option) or not _percent(source, option.chance):
        return option.unused[0]
    return source.one_of(option.values) if len(option.values) > 1 else option.values[0]


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
    """The layout with padding on some axes: little, much or odd; rarely on the innermost axis, since few kernels take it."""
    pads = []
    for axis in layout.order:
        innermost = axis == layout.order[-1]
        pad = source.one_of((8, 1, 16, 3, 64, 13, 1000)) if _percent(source, percent // 4 if innermost else percent) else 0
        pads.append(min(pad, 3) if innermost else pad)
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
    """The case with K and V laid out: mostly a family that engines use, else any order; V like K, apart from K, or within K."""
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
    # drawn even where V lies in K's buffer: otherwise Hypothesis would shrink towards the families that need fewer draws
    prefix, separate = _percent(source, 60 if case.head_dim > LATENT else 15), _percent(source, 70)
    v: Layout | None = None
    if "kv" not in order and not (case.value_head_dim <= case.head_dim and prefix):
        v = _separate_v(source, padding) if separate else k
    case = dataclasses.replace(case, k=k, v=v, layers=layers, layer=layer)
    if case.num_kv_heads == 1 and _percent(source, 30):
        case = _with_singleton_stride(case, source.integer(0, 3))
    if case.span <= MAX_SPAN:
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
    return huge if huge.span < MAX_SPAN // 2 else case


def _data_modes(case: Case) -> Sequence[str]:
    modes = ("gaussian", "uniform", "large", "tagged", "tagged")
    return modes if tags_fit(case) else modes[:3]
