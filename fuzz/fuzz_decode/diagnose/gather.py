"""What rows of out are computed from in a given access model: float64 numbers, read from the raw storage by flat addresses.

Rows come in batches, as in the reference: a row is some thirty small operations otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel, Span, TensorView
from fuzz_decode.diagnose.memory import Memory, cache_offsets, has_blocks, shift_of_packing, slots_of
from fuzz_decode_reference.gather_attention import QueryRow


@dataclasses.dataclass(frozen=True, slots=True)
class SeenTokens:
    """The tokens that count in some rows, padded to those of the row with most."""

    tokens: Tensor
    """[rows, n]; what stands for padding is never used"""
    read: Tensor
    """[rows, n], bool: tokens whose K and V are read"""
    counted: Tensor
    """[rows, n], bool: these, and tokens of score 0 and value 0"""


def gather_row(memory: Memory, model: AccessModel, row: int, heads: slice) -> QueryRow:
    """What some q heads of one row are computed from."""
    batch, _ = gather(memory, model, [row], heads)
    sinks = None if batch.sinks is None else batch.sinks[0]
    position = model.scores.position[row]
    alone = dataclasses.replace(batch, q=batch.q[0], k=batch.k[0], v=batch.v[0], sinks=sinks, position=position)
    return dataclasses.replace(alone, distance=batch.distance[0], visible=None)


def gather(memory: Memory, model: AccessModel, rows: Sequence[int], heads: slice) -> tuple[QueryRow, Tensor]:
    """What some q heads of rows are computed from, extra tokens included, and which are known [rows, heads].

    Groups in the QueryRow are those whose q heads all read the same KV heads: a fault may send two of a group to different ones.
    """
    scores, number = model.scores, torch.tensor(rows)
    seen = seen_tokens(model, rows)
    position = torch.tensor(scores.position)[number][:, None].double()
    q, q_known = _queries(memory, model, number, heads)
    k, v, kv_known = _keys_and_values(memory, model, number, heads, seen)
    sinks, sinks_known = _sinks(memory, model, number, heads)
    gathered = QueryRow(
        q=q,
        k=k,
        v=v,
        distance=torch.where(seen.read, seen.tokens - position, 0.0),
        position=position,
        scale=scores.scale * scores.k_scale,
        k_scale=scores.k_scale,
        v_scale=scores.v_scale,
        softcap=scores.softcap,
        alibi_slopes=_slopes(memory, model, heads),
        sinks=None if sinks is None else sinks + math.log(scores.sink_count),
        visible=None if bool(seen.counted.all()) else seen.counted,
    )
    return gathered, q_known & kv_known & sinks_known


def num_kv_heads_read(model: AccessModel) -> int:
    """How many rows of K are read for a token of one row, all q heads together."""
    lookup = model.lookup
    return len(lookup.k_head) // _largest_group([*zip(lookup.k_head, lookup.v_head, strict=True)])


def num_counted(model: AccessModel) -> list[int]:
    """Of each row, how many tokens count."""
    seen = model.visibility
    extra = seen.extra_tokens or (0,) * len(seen.spans)
    return [sum(end - first for first, end in spans) + more for spans, more in zip(seen.spans, extra, strict=True)]


def seen_tokens(model: AccessModel, rows: Sequence[int]) -> SeenTokens:
    counts = num_counted(model)
    shape = len(rows), max(counts[row] for row in rows)
    tokens, read, counted = (torch.zeros(shape, dtype=dtype) for dtype in (torch.long, torch.bool, torch.bool))
    for index, row in enumerate(rows):
        found = tokens_in(model.visibility.spans[row])
        tokens[index] = found[0] if len(found) else 0
        tokens[index, : len(found)] = found
        read[index, : len(found)] = True
        counted[index, : counts[row]] = True
    return SeenTokens(tokens, read, counted)


def tokens_in(spans: tuple[Span, ...]) -> Tensor:
    return torch.cat([torch.arange(0), *(torch.arange(first, end) for first, end in spans)])


def _queries(memory: Memory, model: AccessModel, rows: Tensor, heads: slice) -> tuple[Tensor, Tensor]:
    """q [rows, heads, head_dim], and which heads are known."""
    view, lookup = model.addresses.q, model.lookup
    s_row, s_head, s_dim = view.strides
    q_rows, q_heads = torch.tensor(lookup.q_row)[rows], torch.tensor(lookup.q_head)[heads]
    offsets = (q_rows[:, None] * s_row + q_heads * s_head)[..., None] + torch.arange(lookup.head_dim) * s_dim
    q, known = memory.read(view, offsets)
    return q, known.all(-1)


def _keys_and_values(
    memory: Memory, model: AccessModel, rows: Tensor, heads: slice, seen: SeenTokens
) -> tuple[Tensor, Tensor, Tensor]:
    """K [rows, n, KV heads, head_dim], V [rows, n, KV heads, value_head_dim], 0 where nothing is read, each KV head for as many
    q heads; and which q heads are known [rows, heads]."""
    problem, lookup, tokens = memory.problem, model.lookup, seen.tokens
    value_head_dim = problem.case.value_head_dim
    k_dims, v_dims = torch.arange(lookup.head_dim), torch.arange(min(lookup.value_head_dim, value_head_dim))
    group = _largest_group([*zip(lookup.k_head[heads], lookup.v_head[heads], strict=True)])
    k_heads, v_heads = torch.tensor(lookup.k_head[heads][::group]), torch.tensor(lookup.v_head[heads][::group])
    slots = slots_of(model, tokens)
    k_blocks, k_found = memory.block_ids(model, rows[:, None], tokens, lookup.tile)
    v_blocks, v_found = k_blocks, k_found
    if lookup.v_tile != 1:
        v_blocks, v_found = memory.block_ids(model, rows[:, None], tokens, lookup.v_tile)
    k_view, v_view = model.addresses.k, model.addresses.v
    k_offsets = cache_offsets(problem, k_view, k_blocks, slots, k_heads, k_dims)
    v_offsets = cache_offsets(problem, v_view, v_blocks, slots, v_heads, v_dims)
    if lookup.k_packing is not None:
        k_offsets = k_offsets + shift_of_packing(lookup.k_packing, k_view, lookup.block_size, slots, k_dims)
    k, k_known = memory.read(k_view, k_offsets, has_blocks(problem, k_blocks))
    v, v_known = memory.read(v_view, v_offsets, has_blocks(problem, v_blocks))
    used = seen.read[..., None, None]
    v_used = used if lookup.v_slots is None else used & (slots < lookup.v_slots)[..., None, None]
    v = torch.nn.functional.pad(torch.where(v_used, v, 0.0), (0, value_head_dim - v.shape[-1]))
    known = (k_known | ~used).all(-1).all(-2) & (v_known | ~used).all(-1).all(-2)
    found = ((k_found & v_found) | ~seen.read).all(-1, keepdim=True)
    return torch.where(used, k, 0.0), v, known.repeat_interleave(group, dim=-1) & found


def _largest_group(read: list[tuple[int, int]]) -> int:
    """How many q heads in a row read the same KV heads, all along."""
    sizes = (size for size in range(len(read), 0, -1) if len(read) % size == 0)
    return next(size for size in sizes if all(read[at] == read[at // size * size] for at in range(len(read))))


def _sinks(memory: Memory, model: AccessModel, rows: Tensor, heads: slice) -> tuple[Tensor | None, Tensor]:
    """The sinks of the rows' heads [rows, heads], and which are known."""
    sinks, scores = memory.problem.sinks, model.scores
    if sinks is None or not scores.sink_head:
        return None, torch.tensor(True)
    offsets = torch.tensor(scores.sink_head)[heads] + rows[:, None] * scores.sink_step
    found, known = memory.read(TensorView("sinks", int(sinks.storage_offset()), (1,)), offsets)
    return found * scores.sink_factor, known


def _slopes(memory: Memory, model: AccessModel, heads: slice) -> Tensor | None:
    slopes, read = memory.problem.alibi_slopes, model.scores.slope_head[heads]
    return None if slopes is None or not read else slopes.double().cpu()[list(read)] * model.scores.alibi_factor
