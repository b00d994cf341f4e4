"""Everything that a kernel computes addresses, visibility, scores and results from, as plain data.

`correct_model` is what the contract says; a fault is another AccessModel of the same problem. A *row* is a query token, number
seq * q_len + query, and `row_...` fields have an entry for each of them; `..._head` fields have one for each q head.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.problem import Problem

Span = tuple[int, int]  # tokens [first, end)
Part = Literal["addresses", "lookup", "visibility", "scores", "output"]


@dataclass(frozen=True, slots=True)
class TensorView:
    """Where a kernel takes a tensor to be."""

    buffer: str
    """The allocation, by its name in Problem.buffers."""
    offset: int
    """Elements from the start of the allocation to element 0 of the tensor."""
    strides: tuple[int, ...]
    """Elements: (row, head, dim) of q and out, (block, slot, head, dim) of K and V, (sequence, column) of the block table."""
    bits: str = ""
    """What wraps to 32 bits: "" nothing, "block-offset int32" block id * stride, "address int32" the whole offset of a row. They
    count elements; with " bytes" or " floats" appended, bytes of the element or of a float32."""


@dataclass(frozen=True, slots=True)
class AddressModel:
    """Where the tensors are and with which strides."""

    q: TensorView
    k: TensorView
    v: TensorView
    out: TensorView
    table: TensorView


@dataclass(frozen=True, slots=True)
class LookupModel:
    """Which row, head, block, slot and dims are read for a token."""

    q_row: tuple[int, ...]
    """[num_rows]: the row of q that is read."""
    out_row: tuple[int, ...]
    """[num_rows]: the row of out that is written."""
    table_row: tuple[int, ...]
    """[num_rows]: the row of the block table that is read."""
    q_head: tuple[int, ...]
    """[num_q_heads]: the head of q that is read."""
    k_head: tuple[int, ...]
    """[num_q_heads]: the KV head whose K is read."""
    v_head: tuple[int, ...]
    """[num_q_heads]: the KV head whose V is read."""
    head_dim: int
    """Dims of q and K that are read."""
    value_head_dim: int
    """Dims of V that are read; the others count as 0."""
    block_size: int
    """Tokens in a block: a token's slot is its number modulo this."""
    column_tokens: int
    """Tokens in a column of the block table: a token's column is its number divided by this."""
    block_id: str = "as it is"
    """What becomes of an entry of the block table: a name in `memory.BLOCK_IDS`."""
    tile: int = 1
    """Tokens that share one block id, that of the first of them."""
    v_tile: int = 1
    """The same for V alone, where it is not 1."""
    last_column: int | None = None
    """The column that is read for all later ones, too; None: each column is read."""
    filled_columns: int | None = None
    """Columns that are read; the entries of later ones count as 0. None: all are read."""
    slots_modulo: int | None = None
    """Slots are counted modulo this; None: they are not."""
    k_packing: tuple[int, int] | None = None
    """Dims in a part of a row of K where parts of a block's slots lie side by side: as they are stored, as they are read. None:
    whole rows lie side by side."""
    v_slots: int | None = None
    """Slots of a block whose V is read, that of the others counts as 0; None: all are read."""


@dataclass(frozen=True, slots=True)
class VisibilityModel:
    """Which tokens a row attends to."""

    spans: tuple[tuple[Span, ...], ...]
    """[num_rows]: runs of visible tokens; a token in two of them counts twice."""
    extra_tokens: tuple[int, ...] = ()
    """[num_rows]: how many tokens of score 0 and value 0 count besides; empty: none."""


@dataclass(frozen=True, slots=True)
class ScoreModel:
    """How scores and weighted sums are computed from what was read."""

    scale: float
    """Softmax scale."""
    k_scale: float
    """Factor of a float8 K; 1.0 without scales."""
    v_scale: float
    """Factor of a float8 V; 1.0 without scales."""
    softcap: float | None
    position: tuple[int, ...]
    """[num_rows]: the position in its sequence from which ALiBi counts distances."""
    slope_head: tuple[int, ...] = ()
    """[num_q_heads]: the head whose ALiBi slope is used; empty: no ALiBi."""
    alibi_factor: float = 1.0
    """Factor of the ALiBi slopes."""
    sink_head: tuple[int, ...] = ()
    """[num_q_heads]: the head whose sink is used; empty: no sinks."""
    sink_factor: float = 1.0
    """Factor of the sinks."""
    sink_count: int = 1
    """How many times a sink counts."""
    sink_step: int = 0
    """Elements from the sinks of one row to those of the next; 0: all rows have the same."""


@dataclass(frozen=True, slots=True)
class OutputModel:
    """What is stored and returned."""

    lse: str = "natural"
    """The convention of the LSE: a name in `predict.LSE`."""
    lse_head: tuple[int, ...] = ()
    """[num_q_heads]: the head whose LSE is returned; empty: its own."""
    empty_lse: str = "-inf"
    """The LSE of a row without visible tokens: a name in `predict.EMPTY_LSE`."""
    empty_out: float | None = 0.0
    """What is stored in a row without visible tokens; None: nothing."""
    stored_beyond_row: int = 0
    """Dims stored beyond each row of out; negative if some are left out."""


@dataclass(frozen=True, slots=True)
class AccessModel:
    """All that a prediction depends on, in five parts."""

    addresses: AddressModel
    lookup: LookupModel
    visibility: VisibilityModel
    scores: ScoreModel
    output: OutputModel


def replace(model: AccessModel, part: Part, **changes: Any) -> AccessModel:
    """The model with some fields of one part changed: `replace(model, "scores", scale=1.0)`."""
    return dataclasses.replace(model, **{part: dataclasses.replace(getattr(model, part), **changes)})


def correct_model(problem: Problem) -> AccessModel:
    """What the contract asks a kernel to do."""
    case = problem.case
    ends = row_ends(case)
    heads = tuple(range(case.num_q_heads))
    return AccessModel(
        addresses=AddressModel(
            q=view_of("q", problem.q),
            k=view_of("k", problem.k_cache),
            v=view_of("v" if "v" in problem.buffers else "k", problem.v_cache),
            out=view_of("out", problem.out),
            table=view_of("block_table", problem.block_table),
        ),
        lookup=_correct_lookup(case),
        visibility=VisibilityModel(spans=tuple(visible(end, case.window) for end in ends)),
        scores=ScoreModel(
            scale=problem.scale,
            k_scale=1.0 if case.k_scale is None else case.k_scale,
            v_scale=1.0 if case.v_scale is None else case.v_scale,
            softcap=case.softcap,
            position=tuple(end - 1 for end in ends),
            slope_head=heads if case.alibi else (),
            sink_head=heads if case.sinks else (),
        ),
        output=OutputModel(),
    )


def _correct_lookup(case: Case) -> LookupModel:
    rows, heads = tuple(range(case.num_rows)), tuple(range(case.num_q_heads))
    kv_heads = tuple(head // case.group for head in heads)
    return LookupModel(
        q_row=rows,
        out_row=rows,
        table_row=tuple(row // case.q_len for row in rows),
        q_head=heads,
        k_head=kv_heads,
        v_head=kv_heads,
        head_dim=case.head_dim,
        value_head_dim=case.value_head_dim,
        block_size=case.block_size,
        column_tokens=case.block_size,
    )


def row_ends(case: Case) -> tuple[int, ...]:
    """How many tokens there are up to each query token, itself included."""
    return tuple(length - case.q_len + 1 + query for length in case.seq_lens for query in range(case.q_len))


def view_of(buffer: str, tensor: Tensor) -> TensorView:
    return TensorView(buffer, int(tensor.storage_offset()), tuple(tensor.stride()))


def visible(end: int, window: int | None) -> tuple[Span, ...]:
    """The span that a query token sees, none if there is nothing."""
    return span(0 if window is None else end - window, end)


def span(first: int, end: int) -> tuple[Span, ...]:
    """[first, end) without negative tokens; none if it is empty."""
    return ((max(0, first), end),) if end > max(0, first) else ()
