"""A Reading: everything that a kernel computes addresses, visibility and scores from, as plain data.

`read_correctly` is what the contract says; a fault is another Reading of the same problem.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fuzz_decode.build import Problem

Span = tuple[int, int]  # tokens [first, end)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kernel believes a tensor to lie: an allocation (of Problem.buffers), and offset and strides in elements.

    `bits`: products of block id and stride wrap to so many bits ("": none do), "int32" in elements, "int32 bytes" in bytes.
    """

    buffer: str
    offset: int
    strides: tuple[int, ...]
    bits: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """The strides are those of q and out (sequence, head, dim), k and v (block, slot, head, dim) and table (row, column).

    `kv_head` and `v_head`: the head of K and V for each q head. `table_row`, `q_row`: the row for each sequence. `spans`: the
    tokens that each sequence sees; one in two of them counts twice. `columns`: tokens of one table column.
    `block_id`: a name in `model.BLOCK_IDS`. `head_dim`, `value_head_dim`: how many dims of q and K, and of V, are read.
    `phantoms`: for each sequence, tokens of score 0 and value 0 beside the visible ones. `lse`, `empty_lse`: names in `model.LSE`
    and `model.EMPTY_LSE`. `empty_out`: what is written into rows of empty sequences; None: nothing. `overhang`: dims stored
    beyond each row of out.
    """

    q: Place
    k: Place
    v: Place
    out: Place
    table: Place
    block_size: int
    columns: int
    kv_head: tuple[int, ...]
    v_head: tuple[int, ...]
    table_row: tuple[int, ...]
    q_row: tuple[int, ...]
    spans: tuple[tuple[Span, ...], ...]
    scale: float
    softcap: float | None
    head_dim: int
    value_head_dim: int
    block_id: str = "as it is"
    phantoms: tuple[int, ...] = ()
    lse: str = "natural"
    empty_lse: str = "-inf"
    empty_out: float | None = 0.0
    overhang: int = 0


def read_correctly(problem: Problem) -> Reading:
    """What the contract asks a kernel to read."""
    case = problem.case
    v_buffer = "v" if "v" in problem.buffers else "k"
    heads = tuple(head // case.group for head in range(case.num_q_heads))
    rows = tuple(range(case.num_seqs))
    return Reading(
        q=place("q", problem.q),
        k=place("k", problem.k_cache),
        v=place(v_buffer, problem.v_cache),
        out=place("out", problem.out),
        table=place("block_table", problem.block_table),
        block_size=case.block_size,
        columns=case.block_size,
        kv_head=heads,
        v_head=heads,
        table_row=rows,
        q_row=rows,
        spans=tuple(visible(length, case.window) for length in case.seq_lens),
        scale=problem.scale,
        softcap=case.softcap,
        head_dim=case.head_dim,
        value_head_dim=case.value_head_dim,
    )


def place(buffer: str, tensor: Tensor) -> Place:
    return Place(buffer, int(tensor.storage_offset()), tuple(tensor.stride()))


def visible(length: int, window: int | None) -> tuple[Span, ...]:
    """The span that a sequence of this length sees, none if it is empty."""
    return span(0 if window is None else length - window, length)


def span(first: int, end: int) -> tuple[Span, ...]:
    return ((max(0, first), end),) if end > max(0, first) else ()
