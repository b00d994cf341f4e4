"""Hypothesis strategies for decode problems: valid by construction, simplest value first.

`cases()` is what the campaign draws from; use it with `@given` in your own tests. Every number below is a value that an
engine uses or a bug needed (docs of the layouts: `fuzz_decode.layout`); small values come first and most often, since most
faults live in tiny cases and the interpreter pays per program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fuzz_decode.case import BlockTable, Case
from fuzz_decode.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.strides import Strides
from fuzz_decode.validity import CACHE_DTYPES, DTYPES, MAX_SPAN, UNUSED_ENTRIES, tags_fit

HEAD_DIMS = (16, 32, 64, 128, 40, 72, 80, 96, 192, 256, 576)
VALUE_HEAD_DIMS = (16, 32, 64, 128, 40, 72, 80, 96, 192, 256, 512)
BLOCK_SIZES = (1, 16, 2, 4, 8, 32, 3, 5, 64, 24, 128, 256, 480, 528, 544, 1056)
GROUPS = (1, 2, 4, 3, 8, 5, 6, 7, 16)
NUM_KV_HEADS = (1, 2, 3, 4, 8)
OPTIONS = frozenset({"out", "window", "softcap", "alibi_slopes", "sinks", "k_scale", "v_scale", "q_len"})
Q_LENS = (2, 3, 4, 5, 8)
FP8_SCALES = (0.5, 2.0, 0.3, 1.7)  # never 1, which hides that they are ignored
SPLIT_EDGES = (16, 32, 64, 128, 256, 512)
MLA = (576, 512)  # rows of K, and the prefix of them that is V
MAX_ROWS = 6  # sequences * KV heads: one program each in most kernels, milliseconds each in the interpreter
MAX_ELEMENTS = 2**20  # of K and V that are really used, unless a single token has more

T = TypeVar("T")
_HUNDRED = st.integers(0, 99)


@st.composite
def cases(
    draw: DrawFn,
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
    strides: Strides = Strides(),
) -> Case:
    """Any decode problem that a target with these capabilities can get.

    `options` are the keyword parameters that the target takes, among OPTIONS; one that it lacks is never drawn. Float8 caches,
    of `cache_dtypes`, need `k_scale` and `v_scale`. `value_head_dims=None` draws the head_dim itself mostly, and any other of
    VALUE_HEAD_DIMS now and then; "head_dim" draws nothing else, and a sequence restricts it. `huge_spans` allows caches that
    reach beyond 2**31 elements on few touched pages. `strides` are what the target assumes of them.
    """
    heads = _early(draw, num_kv_heads)
    head_dim = _early(draw, head_dims)
    value_head_dim = _value_head_dim(draw, head_dim, value_head_dims)
    block_size = _early(draw, block_sizes)
    num_seqs = min(draw(st.sampled_from((1, 2, 3, 4))), max(1, MAX_ROWS // heads))
    affordable = MAX_ELEMENTS // (num_seqs * heads * (head_dim + value_head_dim))
    longest = max(1, min_seq_len, min(max_seq_len, affordable))
    q_len = min((_sometimes(draw, 20, st.sampled_from(Q_LENS)) or 1) if "q_len" in options else 1, longest)
    case = Case(
        seq_lens=tuple(_holding(_length(draw, block_size, min_seq_len, longest), q_len) for _ in range(num_seqs)),
        q_len=q_len,
        num_kv_heads=heads,
        group=_early(draw, groups),
        head_dim=head_dim,
        value_head_dim=value_head_dim,
        block_size=block_size,
        dtype=draw(st.sampled_from(dtypes)),
        window=_window(draw, max_seq_len) if "window" in options else None,
        softcap=_sometimes(draw, 20, st.sampled_from((30.0, 1.0, 50.0))) if "softcap" in options else None,
        scale=_sometimes(draw, 15, st.sampled_from((1.0, 0.3))),
        alibi=_percent(draw, 15) if "alibi_slopes" in options else False,
        sinks=_percent(draw, 20) if "sinks" in options else False,
        q=_query_layouts(draw),
        out=_query_layouts(draw) if "out" in options else dense(QUERY_AXES),
        table=_block_tables(draw),
        seed=draw(st.integers(0, 2**16)),
    )
    if {"k_scale", "v_scale"} <= set(options) and cache_dtypes and _percent(draw, 20):
        case = _with_float8(draw, case, cache_dtypes)
    case = _with_cache(draw, case)
    if huge_spans and _percent(draw, 4):
        case = _with_huge_span(draw, case)
    case = strides.conform(case)
    return dataclasses.replace(case, data=draw(_data_mode(case)))


def _percent(draw: DrawFn, percent: int) -> bool:
    """True in `percent` of 100 draws; shrinks to False."""
    return draw(_HUNDRED) >= 100 - percent


def _early(draw: DrawFn, values: Sequence[T]) -> T:
    """One of the values, three times in four from the first half: small cases are cheap, and most bugs live there."""
    common = values[: (len(values) + 1) // 2]
    return draw(st.sampled_from(values if _percent(draw, 25) else common))


def _sometimes(draw: DrawFn, percent: int, values: SearchStrategy[T]) -> T | None:
    return draw(values) if _percent(draw, percent) else None


def _value_head_dim(draw: DrawFn, head_dim: int, allowed: Sequence[int] | Literal["head_dim"] | None) -> int:
    if allowed == "head_dim":
        return head_dim
    if allowed is None and not _percent(draw, 20):
        return MLA[1] if head_dim == MLA[0] else head_dim
    return _early(draw, VALUE_HEAD_DIMS if allowed is None else allowed)


def _length(draw: DrawFn, block_size: int, low: int, high: int) -> int:
    """Where length bugs live: tiny, at a block edge, at a split edge, and anywhere, now and then long."""
    kind = draw(st.integers(0, 19))
    if kind < 4:
        length = draw(st.sampled_from((1, 0, 2, 3, 0, 5)))
    elif kind < 11:
        length = draw(st.integers(1, 4)) * block_size + draw(st.sampled_from((0, 1, -1)))
    elif kind < 15:
        length = draw(st.sampled_from(SPLIT_EDGES[:4])) + draw(st.sampled_from((0, 1, -1)))
    elif kind < 19:
        length = draw(st.integers(1, 100))
    else:
        length = draw(st.sampled_from(SPLIT_EDGES)) * draw(st.integers(1, 4)) + draw(st.integers(-1, 1))
    return max(low, min(length, high))


def _holding(length: int, q_len: int) -> int:
    """A sequence holds its query tokens, or is an empty row of a padded batch."""
    return max(length, q_len) if length else 0


def _with_float8(draw: DrawFn, case: Case, cache_dtypes: Sequence[str]) -> Case:
    k_scale, v_scale = draw(st.sampled_from(FP8_SCALES)), draw(st.sampled_from(FP8_SCALES))
    return dataclasses.replace(case, cache_dtype=_early(draw, cache_dtypes), k_scale=k_scale, v_scale=v_scale)


def _window(draw: DrawFn, high: int) -> int | None:
    if not _percent(draw, 30):
        return None
    return draw(st.one_of(st.integers(1, 20), st.sampled_from((16, 17, 31, 32, 64, 100)), st.integers(1, max(1, min(high, 200)))))


def _padded(draw: DrawFn, layout: Layout, percent: int) -> Layout:
    """The layout with padding on some axes: little, much or odd; on the innermost axis seldom, since few kernels take it."""
    pads = []
    for axis in layout.order:
        chance = percent // 4 if axis == layout.order[-1] else percent
        pad = draw(st.sampled_from((8, 1, 16, 3, 64, 13, 1000))) if _percent(draw, chance) else 0
        pads.append(pad if axis != layout.order[-1] else min(pad, 3))
    offset = draw(st.sampled_from((8, 1, 16, 37))) if _percent(draw, percent) else 0
    return Layout(layout.order, tuple(pads), offset)


def _query_layouts(draw: DrawFn) -> Layout:
    """[num_seqs, num_q_heads, head_dim]: mostly dense, else a slice of packed QKV, a transpose or any order with padding."""
    if not _percent(draw, 35):
        return dense(QUERY_AXES)
    order = QUERY_AXES if not _percent(draw, 30) else draw(st.sampled_from((("head", "seq", "dim"), ("seq", "dim", "head"))))
    return _padded(draw, dense(order), 40)


def _block_tables(draw: DrawFn) -> BlockTable:
    order = TABLE_AXES if not _percent(draw, 15) else TABLE_AXES[::-1]
    layout = _padded(draw, dense(order), 25)
    return BlockTable(
        layout=layout,
        placement=draw(st.sampled_from(("identity", "permuted", "permuted", "reversed"))),
        first_block=draw(st.integers(1, 5)) if _percent(draw, 30) else 0,
        spare_blocks=draw(st.integers(1, 5)) if _percent(draw, 40) else 0,
        shared_blocks=draw(st.integers(1, 3)) if _percent(draw, 20) else 0,
        extra_columns=draw(st.integers(1, 9)) if _percent(draw, 35) else 0,
        unused=draw(st.sampled_from(tuple(UNUSED_ENTRIES))),
    )


def _with_cache(draw: DrawFn, case: Case) -> Case:
    """The case with K and V laid out: a family of the wild mostly, else any order; K and V alike, apart, or V within K."""
    kind = draw(st.integers(0, 19))
    padding = draw(st.sampled_from((0, 20, 50)))
    if kind < 12:
        order = draw(st.sampled_from(tuple(FAMILIES.values())))
    elif kind < 14:
        order = tuple(draw(st.permutations(("block", "kv", "slot", "head", "dim"))))
    else:
        order = tuple(draw(st.permutations(CACHE_AXES))) if kind == 19 else FAMILIES["NHD" if kind % 2 else "HND"]
    k = _padded(draw, dense(order), padding)
    layers = draw(st.integers(1, 3)) if "layer" in order else 1
    layer = draw(st.integers(0, layers - 1))
    # drawn even where V lies in K's buffer, so that Hypothesis finds no family simpler than the simplest for needing less
    prefix, separate = _percent(draw, 60 if case.head_dim == MLA[0] else 15), _percent(draw, 70)
    v: Layout | None = None
    if "kv" not in order and not (case.value_head_dim <= case.head_dim and prefix):
        v = _separate_v(draw, padding) if separate else k
    case = dataclasses.replace(case, k=k, v=v, layers=layers, layer=layer)
    if case.num_kv_heads == 1 and _percent(draw, 30):
        case = _with_singleton_stride(case, draw(st.integers(0, 3)))
    return case


def _separate_v(draw: DrawFn, padding: int) -> Layout:
    order = FAMILIES[draw(st.sampled_from(("NHD", "HND")))]
    return _padded(draw, dense(order), padding + 10)


def _with_singleton_stride(case: Case, stride: int) -> Case:
    """A head axis of size 1 may have any stride: make K's tiny when it is just outside dim (vLLM PR 40737)."""
    k, head = case.k, case.k.order.index("head")
    if k.order[head + 1 :] != ("dim",) or k.pad[-1]:
        return case
    return dataclasses.replace(case, k=dataclasses.replace(k, pad=(*k.pad[:head], stride - case.k_row, *k.pad[head + 1 :])))


def _with_huge_span(draw: DrawFn, case: Case) -> Case:
    """The case with block ids beyond 2**16, or with page strides that reach past 2**31 elements; as it was if neither fits."""
    if draw(st.booleans()):
        huge = dataclasses.replace(
            case, table=dataclasses.replace(case.table, first_block=draw(st.sampled_from((65_530, 70_000))))
        )
    else:
        block = case.k.order.index("block")
        pad = 2**31 // max(1, case.num_blocks - 1) + draw(st.integers(0, 1000))
        k = dataclasses.replace(case.k, pad=(*case.k.pad[:block], case.k.pad[block] + pad, *case.k.pad[block + 1 :]))
        huge = dataclasses.replace(case, k=k)
    spans = [layout.extent(sizes) for layout, sizes in huge.layouts().values()]
    return huge if max(spans) < MAX_SPAN // 2 else case


def _data_mode(case: Case) -> SearchStrategy[str]:
    modes = ("gaussian", "uniform", "large", "tagged", "tagged")
    return st.sampled_from(modes if tags_fit(case) else modes[:3])
