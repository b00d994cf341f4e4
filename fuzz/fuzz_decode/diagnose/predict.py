"""What a kernel with a given Reading would put out: float64 attention over the raw storage, by flat addresses.

The error bound is the reference's, for the data that the reading gathers, so that a prediction is as sharp as the oracle.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel, Span, TensorView
from fuzz_decode.problems.problem import Problem
from fuzz_decode.triton_interpreter.memory_fence import standing
from fuzz_decode_reference import Rounding
from fuzz_decode_reference.bound import SLACK, row_bound
from fuzz_decode_reference.gather_attention import Row

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
    "consecutive": lambda ids, row, columns, width: ids + columns,
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
    """out [num_rows, num_q_heads, value_head_dim] and lse [num_rows, num_q_heads] in float64, and how far a kernel may be from
    them. Those [num_rows, num_q_heads] that are not `known` are made of what lies outside the storage."""

    reading: AccessModel
    out: Tensor
    lse: Tensor
    out_bound: Tensor
    lse_bound: Tensor
    known: Tensor

    @property
    def addresses(self) -> Tensor:
        """Where each element of out is stored [num_rows, num_q_heads, value_head_dim + overhang], by elements of its buffer."""
        (s_row, s_head, s_dim), (_, heads, dims) = self.reading.out.strides, self.out.shape
        row, head, dim = torch.tensor(self.reading.out_row), torch.arange(heads), torch.arange(dims + self.reading.overhang)
        return self.reading.out.offset + (row[:, None] * s_row + head * s_head)[..., None] + dim * s_dim


def predict(problem: Problem, reading: AccessModel, rounding: Rounding, only: int | None = None) -> Prediction:
    """The outcome of a kernel that reads so and is right otherwise; of one row `only`, if it is given."""
    shape = (problem.case.num_rows, problem.case.num_q_heads, problem.case.value_head_dim)
    empty_out = math.nan if reading.empty_out is None else reading.empty_out
    found = Prediction(
        reading,
        out=torch.full(shape, empty_out, dtype=torch.float64),
        lse=torch.full(shape[:2], EMPTY_LSE[reading.empty_lse], dtype=torch.float64),
        out_bound=torch.full(shape, rounding.out_tiny, dtype=torch.float64),
        lse_bound=torch.zeros(shape[:2], dtype=torch.float64),
        known=torch.ones(shape[:2], dtype=torch.bool),
    )
    for row in range(shape[0]) if only is None else (only,):
        spans = reading.spans[row]
        if spans or any(reading.phantoms[row : row + 1]):
            tokens = tokens_in(spans)
            step = max(1, CHUNK // max(1, len(tokens) * max(problem.case.head_dim, problem.case.value_head_dim)))
            for first in range(0, shape[1], step):
                _fill(found, problem, row, slice(first, min(first + step, shape[1])), tokens, rounding)
    return _reordered(found) if reading.lse_head else found


def _reordered(found: Prediction) -> Prediction:
    """With the lse of other heads."""
    order = list(found.reading.lse_head)
    return dataclasses.replace(found, lse=found.lse[:, order], lse_bound=found.lse_bound[:, order])


def gather(problem: Problem, reading: AccessModel, row: int, heads: slice, tokens: Tensor) -> tuple[Row, Tensor]:
    """What some q heads of one row are computed from, phantoms included, each with a KV head of its own, and which of them are
    known [heads]."""
    numbers = torch.tensor(reading.q_head)[heads]
    dims, value_dims = torch.arange(reading.head_dim), torch.arange(min(reading.value_head_dim, problem.case.value_head_dim))
    blocks, inside = block_ids(problem, reading, row, tokens, reading.tile)
    v_blocks, v_inside = (blocks, inside) if reading.v_tile == 1 else block_ids(problem, reading, row, tokens, reading.v_tile)
    slots = tokens % reading.block_size % (reading.slots or reading.block_size)
    kv_heads, v_heads = torch.tensor(reading.kv_head)[heads], torch.tensor(reading.v_head)[heads]
    s_row, s_head, s_dim = reading.q.strides
    q, q_known = _read(problem, reading.q, reading.q_row[row] * s_row + numbers[:, None] * s_head + dims * s_dim)
    k, k_known = _read(problem, reading.k, cache_offsets(problem, reading.k, blocks, slots, kv_heads, dims))
    v, v_known = _read(problem, reading.v, cache_offsets(problem, reading.v, v_blocks, slots, v_heads, value_dims))
    if reading.v_slots is not None:
        v = torch.where((slots < reading.v_slots)[:, None, None], v, 0.0)
    v = torch.nn.functional.pad(v, (0, problem.case.value_head_dim - v.shape[-1]))
    distance = (tokens - reading.position[row]).double()
    if extra := sum(reading.phantoms[row : row + 1]):
        k, v, distance = (torch.cat([part, part.new_zeros(extra, *part.shape[1:])]) for part in (k, v, distance))
    slopes = _of_heads(problem.alibi_slopes, reading.slope[heads], reading.alibi_factor)
    sinks, sinks_known = _sinks(problem, reading, row, heads)
    found = Row(
        q=q,
        k=k,
        v=v,
        distance=distance,
        position=reading.position[row],
        scale=reading.scale * reading.k_scale,
        k_scale=reading.k_scale,
        v_scale=reading.v_scale,
        softcap=reading.softcap,
        alibi_slopes=slopes,
        sinks=None if sinks is None else sinks + math.log(reading.sink_count),
    )
    told = inside.all() & v_inside.all() & sinks_known
    return found, q_known.all(-1) & k_known.all(-1).all(0) & v_known.all(-1).all(0) & told


def _sinks(problem: Problem, reading: AccessModel, row: int, heads: slice) -> tuple[Tensor | None, Tensor]:
    """The sinks of a row's heads, and which are known."""
    if problem.sinks is None or not reading.sink:
        return None, torch.tensor(True)
    offsets = torch.tensor(reading.sink)[heads] + row * reading.sink_step
    found, known = _read(problem, TensorView("sinks", int(problem.sinks.storage_offset()), (1,)), offsets)
    return found * reading.sink_factor, known


def _of_heads(numbers: Tensor | None, heads: tuple[int, ...], factor: float) -> Tensor | None:
    return None if numbers is None or not heads else numbers.double().cpu()[list(heads)] * factor


def block_ids(problem: Problem, reading: AccessModel, row: int, tokens: Tensor, tile: int = 1) -> tuple[Tensor, Tensor]:
    """The block of each token, and which of them the table's storage tells."""
    columns, seq = tokens // tile * tile // reading.columns, reading.table_row[row]
    read = columns if reading.last_column is None else columns.clamp(max=reading.last_column)
    ids, known = _read(problem, reading.table, seq * reading.table.strides[0] + read * reading.table.strides[1])
    if reading.filled is not None:
        ids, known = torch.where(columns < reading.filled, ids, 0.0), known | (columns >= reading.filled)
    return BLOCK_IDS[reading.block_id](ids.long(), seq, columns, problem.case.table_width), known


def cache_offsets(problem: Problem, where: TensorView, blocks: Tensor, slots: Tensor, heads: Tensor, dims: Tensor) -> Tensor:
    """Elements from the cache's element 0, [tokens, heads, dims]."""
    s_block, s_slot, s_head, s_dim = where.strides
    first = blocks * s_block
    if where.bits.startswith("block-offset"):
        first = _wrapped(first, where.bits, problem)
    rows = (first + slots * s_slot)[:, None] + heads * s_head
    if where.bits.startswith("address"):
        rows = _wrapped(rows, where.bits, problem)
    return rows[..., None] + dims * s_dim


def _wrapped(offsets: Tensor, bits: str, problem: Problem) -> Tensor:
    width = 2**32 // element_of(bits, problem)
    return (offsets + width // 2) % width - width // 2


def element_of(bits: str, problem: Problem) -> int:
    """What an offset of one element adds to the number that wraps."""
    return {"int32": 1, "bytes": problem.k_cache.element_size(), "floats": 4}[bits.split()[-1]]


def _fill(found: Prediction, problem: Problem, row: int, heads: slice, tokens: Tensor, rounding: Rounding) -> None:
    seen, known = gather(problem, found.reading, row, heads, tokens)
    out, lse = answer = seen.attend()
    out_bound, lse_bound = row_bound(seen, rounding, answer)
    out_bound, lse_bound = SLACK * (out_bound + rounding.out_tiny), SLACK * lse_bound
    if found.reading.lse != "natural":
        convention, top = LSE[found.reading.lse], seen.scores().amax(dim=-1)
        # a steep convention amplifies the error as it amplifies the number
        steep = (convention(lse + lse_bound, top) - convention(lse, top)).abs()
        lse, lse_bound = convention(lse, top), 2 * (lse_bound + steep)
    found.out[row, heads], found.lse[row, heads] = out, lse
    found.out_bound[row, heads], found.lse_bound[row, heads] = out_bound, lse_bound
    found.known[row, heads] = known & torch.isfinite(out).all(-1) & torch.isfinite(lse)


def tokens_in(spans: tuple[Span, ...]) -> Tensor:
    return torch.cat([torch.arange(0), *(torch.arange(first, end) for first, end in spans)])


def _read(problem: Problem, where: TensorView, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers at these offsets from a place, float64 on the CPU, and which of them the storage and finite memory tell."""
    storage = problem.buffers[where.buffer].storage
    addresses = where.offset + offsets
    inside = (addresses >= 0) & (addresses < storage.numel())
    bits = storage.view(torch.uint8) if storage.element_size() == 1 else storage  # float8 cannot be indexed everywhere
    found = bits[torch.where(inside, addresses, 0).to(storage.device)].view(storage.dtype).cpu().double()
    known = inside & torch.isfinite(found)
    values = torch.where(known, found, 0.0)
    return values, known | ~inside if standing() else known  # a fence gives 0 outside
