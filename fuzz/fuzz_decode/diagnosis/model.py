"""What a kernel with a given Reading would put out: float64 attention over the raw storage, by flat addresses.

The error bound is the reference's, for the data that the reading gathers, so that a prediction is as sharp as the oracle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.build import Problem
from fuzz_decode.diagnosis.reading import Place, Reading, Span
from fuzz_decode_reference import Rounding, attend, gathered_bound
from fuzz_decode_reference.gather_attention import attention_scores

CHUNK = 2**22  # elements of K or V that are gathered at once
LOG2_E = math.log2(math.e)

# (ids read from the table, the row they are in, their columns, the table's width) -> block ids
BLOCK_IDS: dict[str, Callable[[Tensor, int, Tensor, int], Tensor]] = {
    "as it is": lambda ids, row, columns, width: ids,
    "& 0xFFFF": lambda ids, row, columns, width: ids & 0xFFFF,
    "int16": lambda ids, row, columns, width: (ids + 2**15) % 2**16 - 2**15,
    "& 0xFF": lambda ids, row, columns, width: ids & 0xFF,
    "next block": lambda ids, row, columns, width: ids + 1,
    "previous block": lambda ids, row, columns, width: ids - 1,
    "column": lambda ids, row, columns, width: columns,
    "row and column": lambda ids, row, columns, width: row * width + columns,
}
# (lse, largest score) -> what is returned
LSE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "natural": lambda lse, top: lse,
    "base 2": lambda lse, top: lse * LOG2_E,
    "base 10": lambda lse, top: lse / math.log(10),
    "ln 2 too much": lambda lse, top: lse / LOG2_E,
    "without maximum": lambda lse, top: lse - top,
    "maximum only": lambda lse, top: top,
    "maximum twice": lambda lse, top: lse + top,
    "maximum in base 2": lambda lse, top: lse - top + top * LOG2_E,
    "sum in base 2": lambda lse, top: top + (lse - top) * LOG2_E,
    "sum": lambda lse, top: lse.exp(),
    "sum without maximum": lambda lse, top: (lse - top).exp(),
    "negative": lambda lse, top: -lse,
}
EMPTY_LSE = {
    "-inf": -math.inf,
    "+inf": math.inf,
    "0": 0.0,
    "nan": math.nan,
    "lowest": torch.finfo(torch.float32).min,
    "-1e30": -1e30,
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """out [num_seqs, num_q_heads, value_head_dim] and lse [num_seqs, num_q_heads] in float64, and how far a kernel may be from
    them. Rows [num_seqs, num_q_heads] that are not `known` are made of what lies outside the storage."""

    reading: Reading
    out: Tensor
    lse: Tensor
    out_bound: Tensor
    lse_bound: Tensor
    known: Tensor

    @property
    def addresses(self) -> Tensor:
        """Where each element of out is stored [num_seqs, num_q_heads, value_head_dim + overhang], by elements of its buffer."""
        (s_seq, s_head, s_dim), (seqs, heads, dims) = self.reading.out.strides, self.out.shape
        seq, head, dim = torch.arange(seqs), torch.arange(heads), torch.arange(dims + self.reading.overhang)
        return self.reading.out.offset + (seq[:, None] * s_seq + head * s_head)[..., None] + dim * s_dim


def predict(problem: Problem, reading: Reading, rounding: Rounding) -> Prediction:
    """The outcome of a kernel that reads so and is right otherwise."""
    shape = (problem.case.num_seqs, problem.case.num_q_heads, problem.case.value_head_dim)
    empty_out = math.nan if reading.empty_out is None else reading.empty_out
    found = Prediction(
        reading,
        out=torch.full(shape, empty_out, dtype=torch.float64),
        lse=torch.full(shape[:2], EMPTY_LSE[reading.empty_lse], dtype=torch.float64),
        out_bound=torch.full(shape, rounding.out_tiny, dtype=torch.float64),
        lse_bound=torch.zeros(shape[:2], dtype=torch.float64),
        known=torch.ones(shape[:2], dtype=torch.bool),
    )
    for seq, spans in enumerate(reading.spans):
        if spans or any(reading.phantoms[seq : seq + 1]):
            tokens = _tokens(spans)
            step = max(1, CHUNK // max(1, len(tokens) * max(problem.case.head_dim, problem.case.value_head_dim)))
            for first in range(0, shape[1], step):
                _fill(found, problem, seq, slice(first, min(first + step, shape[1])), tokens, rounding)
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    """What some q heads of one sequence are made of, float64: q [heads, dim], k and v [tokens, heads, dim]. `known` [heads]."""

    q: Tensor
    k: Tensor
    v: Tensor
    known: Tensor


def gather(problem: Problem, reading: Reading, seq: int, heads: slice, tokens: Tensor) -> Rows:
    """The rows that a sequence's q heads are computed from, phantoms included."""
    numbers = torch.arange(problem.case.num_q_heads)[heads]
    dims, value_dims = torch.arange(reading.head_dim), torch.arange(min(reading.value_head_dim, problem.case.value_head_dim))
    blocks, inside = block_ids(problem, reading, seq, tokens)
    kv_heads, v_heads = torch.tensor(reading.kv_head)[heads], torch.tensor(reading.v_head)[heads]
    s_seq, s_head, s_dim = reading.q.strides
    q, q_known = _read(problem, reading.q, reading.q_row[seq] * s_seq + numbers[:, None] * s_head + dims * s_dim)
    k, k_known = _read(problem, reading.k, cache_offsets(problem, reading.k, blocks, tokens % reading.block_size, kv_heads, dims))
    v, v_known = _read(
        problem, reading.v, cache_offsets(problem, reading.v, blocks, tokens % reading.block_size, v_heads, value_dims)
    )
    v = torch.nn.functional.pad(v, (0, problem.case.value_head_dim - v.shape[-1]))
    if extra := sum(reading.phantoms[seq : seq + 1]):
        k, v = (torch.cat([rows, rows.new_zeros(extra, *rows.shape[1:])]) for rows in (k, v))
    known = q_known.all(-1) & k_known.all(-1).all(0) & v_known.all(-1).all(0) & inside.all()
    return Rows(q, k, v, known)


def block_ids(problem: Problem, reading: Reading, seq: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The block of each token, and which of them the table's storage tells."""
    columns, row = tokens // reading.columns, reading.table_row[seq]
    ids, known = _read(problem, reading.table, row * reading.table.strides[0] + columns * reading.table.strides[1])
    return BLOCK_IDS[reading.block_id](ids.long(), row, columns, problem.case.table_width), known


def cache_offsets(problem: Problem, where: Place, blocks: Tensor, slots: Tensor, heads: Tensor, dims: Tensor) -> Tensor:
    """Elements from the cache's element 0, [tokens, heads, dims]."""
    s_block, s_slot, s_head, s_dim = where.strides
    rows = (blocks * s_block + slots * s_slot)[:, None] + heads * s_head
    if where.bits:
        width = 2**32 if where.bits == "int32" else 2**32 // problem.q.element_size()
        rows = (rows + width // 2) % width - width // 2
    return rows[..., None] + dims * s_dim


def _fill(found: Prediction, problem: Problem, seq: int, heads: slice, tokens: Tensor, rounding: Rounding) -> None:
    reading = found.reading
    rows = gather(problem, reading, seq, heads, tokens)
    scale, softcap = reading.scale, reading.softcap
    out, lse = attend(rows.q, rows.k, rows.v, scale, softcap)
    out_bound, lse_bound = gathered_bound(rows.q, rows.k, rows.v, scale, softcap, rounding)
    if reading.lse != "natural":
        top = attention_scores(rows.q, rows.k, scale, softcap).amax(dim=-1)
        # a steep convention amplifies the error as it amplifies the number
        steep = (LSE[reading.lse](lse + lse_bound, top) - LSE[reading.lse](lse, top)).abs()
        lse, lse_bound = LSE[reading.lse](lse, top), 2 * (lse_bound + steep)
    found.out[seq, heads], found.lse[seq, heads] = out, lse
    found.out_bound[seq, heads], found.lse_bound[seq, heads] = out_bound, lse_bound
    found.known[seq, heads] = rows.known & torch.isfinite(out).all(-1) & torch.isfinite(lse)


def _tokens(spans: tuple[Span, ...]) -> Tensor:
    return torch.cat([torch.arange(0), *(torch.arange(first, end) for first, end in spans)])


def _read(problem: Problem, where: Place, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers at these offsets from a place, float64 on the CPU, and which of them the storage and finite memory tell."""
    storage = problem.buffers[where.buffer].storage
    addresses = where.offset + offsets
    inside = (addresses >= 0) & (addresses < storage.numel())
    found = storage[torch.where(inside, addresses, 0).to(storage.device)].cpu().double()
    known = inside & torch.isfinite(found)
    return torch.where(known, found, 0.0), known
