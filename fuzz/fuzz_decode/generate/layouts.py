"""Drawing where tensors lie in memory: layouts of q, out, K and V, the block table, and spans that exceed 32 bits."""

from __future__ import annotations

import dataclasses

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import MAX_SPAN, UNUSED_ENTRIES
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.generate.choices import Choices, happens

LATENT = 512  # dims of V in MLA, whose longer rows of K hold V and the positions


def draw_query_layout(source: Choices) -> Layout:
    """[num_seqs, num_q_heads, head_dim]: mostly dense, else a slice of packed QKV, a transpose or any order with padding."""
    if not happens(source, 35):
        return dense(QUERY_AXES)
    order = QUERY_AXES if not happens(source, 30) else source.one_of((("head", "seq", "dim"), ("seq", "dim", "head")))
    return _padded(source, dense(order), 40)


def draw_block_table(source: Choices) -> BlockTable:
    order = TABLE_AXES if not happens(source, 15) else TABLE_AXES[::-1]
    layout = _padded(source, dense(order), 25)
    return BlockTable(
        layout=layout,
        placement=source.one_of(("identity", "permuted", "permuted", "reversed")),
        first_block=source.integer(1, 5) if happens(source, 30) else 0,
        spare_blocks=source.integer(1, 5) if happens(source, 40) else 0,
        shared_blocks=source.integer(1, 3) if happens(source, 20) else 0,
        extra_columns=source.integer(1, 9) if happens(source, 35) else 0,
        unused=source.one_of(tuple(UNUSED_ENTRIES)),
    )


def with_cache(source: Choices, case: Case) -> Case:
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
    prefix, separate = happens(source, 60 if case.head_dim > LATENT else 15), happens(source, 70)
    v: Layout | None = None
    if "kv" not in order and not (case.value_head_dim <= case.head_dim and prefix):
        v = _separate_v(source, padding) if separate else k
    case = dataclasses.replace(case, k=k, v=v, layers=layers, layer=layer)
    if case.num_kv_heads == 1 and happens(source, 30):
        case = _with_singleton_stride(case, source.integer(0, 3))
    if case.span <= MAX_SPAN:
        return case
    return dataclasses.replace(case, k=dense(k.order), v=None if v is None else dense(v.order))


def with_huge_span(source: Choices, case: Case) -> Case:
    """The case with block ids beyond 2**16, or with page strides that reach past 2**31 elements; as it was if neither fits."""
    if source.coin():
        huge = dataclasses.replace(case, table=dataclasses.replace(case.table, first_block=source.one_of((65_530, 70_000))))
    else:
        block = case.k.order.index("block")
        pad = 2**31 // max(1, case.num_blocks - 1) + source.integer(0, 1000)
        k = dataclasses.replace(case.k, pad=(*case.k.pad[:block], case.k.pad[block] + pad, *case.k.pad[block + 1 :]))
        huge = dataclasses.replace(case, k=k)
    return huge if huge.span < MAX_SPAN // 2 else case


def _separate_v(source: Choices, padding: int) -> Layout:
    order = FAMILIES[source.one_of(("NHD", "HND"))]
    return _padded(source, dense(order), padding + 10)


def _with_singleton_stride(case: Case, stride: int) -> Case:
    """A head axis of size 1 may have any stride: make K's tiny when it is just outside dim (vLLM PR 40737)."""
    k, head = case.k, case.k.order.index("head")
    if k.order[head + 1 :] != ("dim",) or k.pad[-1]:
        return case
    return dataclasses.replace(case, k=dataclasses.replace(k, pad=(*k.pad[:head], stride - case.k_row, *k.pad[head + 1 :])))


def _padded(source: Choices, layout: Layout, percent: int) -> Layout:
    """The layout with padding on some axes: little, much or odd; rarely on the innermost axis, since few kernels take it."""
    pads = []
    for axis in layout.order:
        innermost = axis == layout.order[-1]
        pad = source.one_of((8, 1, 16, 3, 64, 13, 1000)) if happens(source, percent // 4 if innermost else percent) else 0
        pads.append(min(pad, 3) if innermost else pad)
    offset = source.one_of((8, 1, 16, 37)) if happens(source, percent) else 0
    return Layout(layout.order, tuple(pads), offset)
