"""A Reading: everything that a kernel computes addresses, visibility and scores from, as plain data.

`read_correctly` is what the contract says; a fault is another Reading of the same problem.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.problems.problem import Problem

Span = tuple[int, int]  # tokens [first, end)


@dataclass(frozen=True, slots=True)
class TensorView:
    """Where a kernel believes a tensor to lie: an allocation (of Problem.buffers), and offset and strides in elements.

    `bits`: "": nothing wraps. "block-offset int32", "address int32": the product of block id and stride, or the whole offset of
    a row, wraps to 32 bits, in elements; with " bytes" or " floats" in bytes, those of the element or of a float32.
    """

    buffer: str
    offset: int
    strides: tuple[int, ...]
    bits: str = ""


@dataclass(frozen=True, slots=True)
class AccessModel:
    """The strides are those of q and out (row, head, dim), k and v (block, slot, head, dim) and table (sequence, column).

    A row is a query token: number seq * q_len + query. For each row, `spans`: the tokens that it sees, one in two of them counts
    twice; `table_row`, `q_row`, `out_row`: which row of those it uses; `position`: where ALiBi believes it to be; `phantoms`: how
    many tokens of score 0 and value 0 it sees besides. For each q head, `q_head`, `kv_head`, `v_head`, `slope`, `sink`: which one
    of q, K, V, the ALiBi slopes and the sinks it uses; a sink counts `sink_count` times.

    `columns`: tokens of one table column; `tile`, `v_tile`: tokens that use the column of the first one, and those of V;
    `last_column`: the one that all later ones use; `filled`: columns that are not read as 0 (None: all). `block_id`: a name in
    `model.BLOCK_IDS`. `slots`: what slots are counted modulo (None: they are not); `v_slots`: slots of a block whose V is not
    0 (None: all). `sink_step`: how much further the sinks of the next row begin. `lse_head`: for each q head, the one whose
    lse is returned for it (empty: its own). `head_dim`, `value_head_dim`: how many dims of q and K, and of V, are read. `lse`,
    `empty_lse`: names in `model.LSE` and `model.EMPTY_LSE`. `empty_out`: what is written into rows that see nothing; None:
    nothing. `overhang`: dims stored beyond each row of out, negative if some are left out.
    """

    q: TensorView
    k: TensorView
    v: TensorView
    out: TensorView
    table: TensorView
    block_size: int
    columns: int
    q_head: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    table_row: tuple[int, ...]
    q_row: tuple[int, ...]
    out_row: tuple[int, ...]
    position: tuple[int, ...]
    kv_head: tuple[int, ...]
    v_head: tuple[int, ...]
    slope: tuple[int, ...]
    sink: tuple[int, ...]
    scale: float
    k_scale: float
    v_scale: float
    softcap: float | None
    head_dim: int
    value_head_dim: int
    block_id: str = "as it is"
    phantoms: tuple[int, ...] = ()
    tile: int = 1
    v_tile: int = 1
    last_column: int | None = None
    filled: int | None = None
    slots: int | None = None
    v_slots: int | None = None
    sink_step: int = 0
    lse_head: tuple[int, ...] = ()
    alibi_factor: float = 1.0
    sink_factor: float = 1.0
    sink_count: int = 1
    lse: str = "natural"
    empty_lse: str = "-inf"
    empty_out: float | None = 0.0
    overhang: int = 0


def read_correctly(problem: Problem) -> AccessModel:
    """What the contract asks a kernel to read."""
    case = problem.case
    kv_heads = tuple(head // case.group for head in range(case.num_q_heads))
    heads, rows = tuple(range(case.num_q_heads)), tuple(range(case.num_rows))
    ends = row_ends(case)
    return AccessModel(
        q=place("q", problem.q),
        k=place("k", problem.k_cache),
        v=place("v" if "v" in problem.buffers else "k", problem.v_cache),
        out=place("out", problem.out),
        table=place("block_table", problem.block_table),
        block_size=case.block_size,
        columns=case.block_size,
        spans=tuple(visible(end, case.window) for end in ends),
        table_row=tuple(row // case.q_len for row in rows),
        q_row=rows,
        out_row=rows,
        position=tuple(end - 1 for end in ends),
        q_head=heads,
        kv_head=kv_heads,
        v_head=kv_heads,
        slope=heads if case.alibi else (),
        sink=heads if case.sinks else (),
        scale=problem.scale,
        k_scale=1.0 if case.k_scale is None else case.k_scale,
        v_scale=1.0 if case.v_scale is None else case.v_scale,
        softcap=case.softcap,
        head_dim=case.head_dim,
        value_head_dim=case.value_head_dim,
    )


def row_ends(case: Case) -> tuple[int, ...]:
    """How many tokens there are up to each query token, itself included."""
    return tuple(length - case.q_len + 1 + query for length in case.seq_lens for query in range(case.q_len))


def place(buffer: str, tensor: Tensor) -> TensorView:
    return TensorView(buffer, int(tensor.storage_offset()), tuple(tensor.stride()))


def visible(end: int, window: int | None) -> tuple[Span, ...]:
    """The span that a query token sees, none if there is nothing."""
    return span(0 if window is None else end - window, end)


def span(first: int, end: int) -> tuple[Span, ...]:
    return ((max(0, first), end),) if end > max(0, first) else ()
