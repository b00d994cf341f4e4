"""Paged decode attention by gathering: the definition, in float64, a batch of query tokens at a time.

Only the tokens that a query token can see are ever read, so whatever lies in unused slots, foreign blocks or unused table
entries cannot reach the result (a reference that masks with -inf instead shares the kernels' 0 * NaN bug, see Wan2GP PR 1628).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BATCH_ELEMENTS = 2**16  # of K that a batch gathers, unless one query token alone needs more


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a decode, which `gather_attention` explains. The defaults mean: not used."""

    window: int | None = None
    softcap: float | None = None
    alibi_slopes: Tensor | None = None
    sinks: Tensor | None = None
    k_scale: float | None = None
    v_scale: float | None = None
    q_len: int = 1


@dataclass(frozen=True)  # no slots: what both the answer and its bound need is computed once
class QueryRow:
    """One query token and the n tokens that it sees, or a batch of them along leading axes `...`; q, k and v are float64.

    In a batch n is that of the query token that sees most. The others are padded with tokens that are not visible, whose
    rows of K and V are 0.
    """

    q: Tensor
    """[..., num_q_heads, head_dim]"""
    k: Tensor
    """[..., n, num_kv_heads, head_dim], as stored: not yet multiplied by k_scale."""
    v: Tensor
    """[..., n, num_kv_heads, value_head_dim], as stored: not yet multiplied by v_scale."""
    distance: Tensor
    """[..., n]: position of each key minus that of the query token, hence 0 or negative where visible."""
    position: int | Tensor
    """Of the query token in its sequence; a tensor is [..., 1] float64."""
    scale: float
    """The softmax scale times k_scale."""
    k_scale: float = 1.0
    v_scale: float = 1.0
    softcap: float | None = None
    alibi_slopes: Tensor | None = None
    """[num_q_heads]"""
    sinks: Tensor | None = None
    """[num_q_heads]"""
    visible: Tensor | None = None
    """[..., n]; None: every token."""

    @functools.cached_property
    def num_seen(self) -> Tensor:
        """Number of visible tokens [..., 1]."""
        seen = torch.ones_like(self.distance, dtype=torch.bool) if self.visible is None else self.visible
        return seen.double().sum(dim=-1, keepdim=True)

    @functools.cached_property
    def products(self) -> Tensor:
        """q.k times the scale [..., num_q_heads, n]."""
        return scaled_products(self.q, self.k, self.scale)

    @functools.cached_property
    def magnitudes(self) -> Tensor:
        """Sums of |q_i k_i|, unscaled [..., num_q_heads, n]."""
        return scaled_products(self.q.abs(), self.k.abs(), 1.0)

    @functools.cached_property
    def capped(self) -> Tensor:
        """The products after the softcap [..., num_q_heads, n]."""
        return self.products if self.softcap is None else self.softcap * torch.tanh(self.products / self.softcap)

    @functools.cached_property
    def scores(self) -> Tensor:
        """The logits of the softmax [..., num_q_heads, n], -inf where a token is not visible."""
        slopes, scores = self.alibi_slopes, self.capped
        scores = scores if slopes is None else scores + slopes.double()[:, None] * self.distance[..., None, :]
        return scores if self.visible is None else scores.masked_fill(~self.visible[..., None, :], -torch.inf)

    @functools.cached_property
    def lse(self) -> Tensor:
        """The natural-log LSE of the scores [..., num_q_heads], the sink included."""
        lse = self.scores.logsumexp(dim=-1)
        return lse if self.sinks is None else torch.logaddexp(lse, self.sinks.double())

    @functools.cached_property
    def weights(self) -> Tensor:
        """The softmax weights [..., num_q_heads, n]."""
        return (self.scores - self.lse[..., None]).exp()

    def attend(self) -> tuple[Tensor, Tensor]:
        """out [..., num_q_heads, value_head_dim] and the LSE [..., num_q_heads]."""
        return weighted_sum(self.weights, self.v) * self.v_scale, self.lse


def gather_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Attention of the last `q_len` tokens of each sequence over its paged keys and values.

    q            [num_seqs * q_len, num_q_heads, head_dim], any float dtype; the query tokens of a sequence stand together, in
                 order; q head h reads KV head h // (num_q_heads // num_kv_heads)
    k_cache      [num_blocks, block_size, num_kv_heads, head_dim], any strides
    v_cache      [num_blocks, block_size, num_kv_heads, value_head_dim], any strides
    block_table  [num_seqs, width] int; entry i // block_size is the block of token i, others are not read
    seq_lens     [num_seqs] int, query tokens included: a query token sees the tokens up to itself
    window       only the last `window` of them; None: all
    softcap      scores become softcap * tanh(score / softcap)
    alibi_slopes [num_q_heads]: slope * (key position - query position) is added to the scores then (Press et al. 2022)
    sinks        [num_q_heads]: a logit beside the scores that has no value (gpt-oss)
    k_scale, v_scale  what the stored numbers are multiplied by; None: 1

    Returns out [num_seqs * q_len, num_q_heads, value_head_dim] and the natural-log LSE [num_seqs * q_len, num_q_heads], both
    float64. A query token that sees nothing gives out = 0 and lse = -inf.
    """
    out, lse = unseen(q, v_cache.shape[3])
    for rows, batch in gather_rows(q, k_cache, v_cache, block_table, seq_lens, scale, Options(**options)):
        out[rows], lse[rows] = batch.attend()
    return out, lse


def unseen(q: Tensor, value_head_dim: int) -> tuple[Tensor, Tensor]:
    """out = 0 and lse = -inf, as for query tokens that see nothing."""
    num_rows, num_q_heads, _ = q.shape
    out = torch.zeros(num_rows, num_q_heads, value_head_dim, dtype=torch.float64, device=q.device)
    return out, torch.full((num_rows, num_q_heads), -torch.inf, dtype=torch.float64, device=q.device)


def gather_rows(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    options: Options,
) -> Iterator[tuple[Tensor, QueryRow]]:
    """The query tokens that see something, in batches: their numbers and their contents. Arguments as in `gather_attention`."""
    q_len, window, device = options.q_len, options.window, q.device
    k_scale, v_scale = (1.0 if given is None else given for given in (options.k_scale, options.v_scale))
    ends = (seq_lens.long()[:, None] + torch.arange(1 - q_len, 1, device=device)).flatten()
    firsts = torch.zeros_like(ends) if window is None else (ends - window).clamp(min=0)
    lengths = (ends - firsts).tolist()
    for numbers in batches_of_like_length(lengths, BATCH_ELEMENTS // (k_cache.shape[2] * k_cache.shape[3])):
        rows = torch.tensor(numbers, device=device)
        first, end = firsts[rows, None], ends[rows, None]
        tokens = first + torch.arange(lengths[numbers[0]], device=device)
        visible = None if lengths[numbers[-1]] == lengths[numbers[0]] else tokens < end
        # what is not visible is not read: the first visible token stands for it, until it is 0
        read = tokens if visible is None else tokens.where(visible, first)
        blocks, slots = locate(block_table, rows[:, None] // q_len, read, k_cache.shape[1])
        yield (
            rows,
            QueryRow(
                q=q[rows].double(),
                k=_gathered(k_cache, blocks, slots, visible),
                v=_gathered(v_cache, blocks, slots, visible),
                distance=(tokens - (end - 1)).double(),
                position=(end - 1).double(),
                scale=scale * k_scale,
                k_scale=k_scale,
                v_scale=v_scale,
                softcap=options.softcap,
                alibi_slopes=options.alibi_slopes,
                sinks=options.sinks,
                visible=visible,
            ),
        )


def batches_of_like_length(lengths: list[int], budget: int) -> Iterator[list[int]]:
    """The numbers of the rows that have a length, longest first, in batches. A batch has one row, or is padded to no more than
    `budget` tokens in all."""
    rows = sorted((row for row, length in enumerate(lengths) if length > 0), key=lambda row: -lengths[row])
    while rows:
        size = max(1, budget // lengths[rows[0]])
        yield rows[:size]
        rows = rows[size:]


def locate(block_table: Tensor, seqs: Tensor | int, tokens: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """Block ids and slots of tokens of sequences."""
    return block_table[seqs, tokens // block_size].long(), tokens % block_size


def _gathered(cache: Tensor, blocks: Tensor, slots: Tensor, visible: Tensor | None) -> Tensor:
    """Rows of a cache [..., n, num_kv_heads, dim], 0 where not visible. Heads lie outside of tokens, as products need them, and
    no bit depends on the cache's layout."""
    rows = cache[blocks, slots].transpose(-3, -2).to(torch.float64, memory_format=torch.contiguous_format)
    rows = rows if visible is None else rows.masked_fill_(~visible[..., None, :, None], 0.0)
    return rows.transpose(-3, -2)


def scaled_products(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """[..., num_q_heads, tokens] of q [..., num_q_heads, head_dim] with k [..., tokens, num_kv_heads, head_dim]."""
    return (_grouped(q, k.shape[-2]) @ k.movedim(-3, -1)).flatten(-3, -2) * scale


def weighted_sum(weights: Tensor, v: Tensor) -> Tensor:
    """[..., num_q_heads, dim]: weights [..., num_q_heads, tokens] over v [..., tokens, num_kv_heads, dim]."""
    return (_grouped(weights, v.shape[-2]) @ v.transpose(-3, -2)).flatten(-3, -2)


def _grouped(rows: Tensor, num_kv_heads: int) -> Tensor:
    """Rows of q heads [..., num_q_heads, dim] as [..., num_kv_heads, group, dim]."""
    return rows.reshape(*rows.shape[:-2], num_kv_heads, -1, rows.shape[-1])
