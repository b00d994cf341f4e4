"""Paged decode attention by gathering: the definition, in float64, one query token at a time.

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
    """One query token and the n tokens that it sees; q, k and v are float64."""

    q: Tensor
    """[num_q_heads, head_dim]"""
    k: Tensor
    """[n, num_kv_heads, head_dim], as stored: not yet multiplied by k_scale."""
    v: Tensor
    """[n, num_kv_heads, value_head_dim], as stored: not yet multiplied by v_scale."""
    distance: Tensor
    """[n]: position of each key minus that of the query token, hence 0 or negative."""
    position: int
    """Of the query token in its sequence."""
    scale: float
    """The softmax scale times k_scale."""
    k_scale: float = 1.0
    v_scale: float = 1.0
    softcap: float | None = None
    alibi_slopes: Tensor | None = None
    """[num_q_heads]"""
    sinks: Tensor | None = None
    """[num_q_heads]"""

    @functools.cached_property
    def products(self) -> Tensor:
        """q.k times the scale [num_q_heads, n]."""
        return scaled_products(self.q, self.k, self.scale)

    @functools.cached_property
    def magnitudes(self) -> Tensor:
        """Sums of |q_i k_i|, unscaled [num_q_heads, n]."""
        return scaled_products(self.q.abs(), self.k.abs(), 1.0)

    @functools.cached_property
    def capped(self) -> Tensor:
        """The products after the softcap [num_q_heads, n]."""
        return self.products if self.softcap is None else self.softcap * torch.tanh(self.products / self.softcap)

    @functools.cached_property
    def scores(self) -> Tensor:
        """The logits of the softmax [num_q_heads, n]."""
        slopes = self.alibi_slopes
        return self.capped if slopes is None else self.capped + slopes.double()[:, None] * self.distance

    def attend(self) -> tuple[Tensor, Tensor]:
        """out [num_q_heads, value_head_dim] and the natural-log LSE [num_q_heads], the sink included."""
        lse = self.scores.logsumexp(dim=-1)
        lse = lse if self.sinks is None else torch.logaddexp(lse, self.sinks.double())
        return weighted_sum((self.scores - lse[:, None]).exp(), self.v) * self.v_scale, lse


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
    for index, row in gather_rows(q, k_cache, v_cache, block_table, seq_lens, scale, Options(**options)):
        out[index], lse[index] = row.attend()
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
) -> Iterator[tuple[int, QueryRow]]:
    """Number and contents of each query token that sees something. Arguments as in `gather_attention`."""
    window, q_len = options.window, options.q_len
    k_scale, v_scale = (1.0 if given is None else given for given in (options.k_scale, options.v_scale))
    for seq, length in enumerate(seq_lens.tolist()):
        num_seen = length - q_len + 1  # by the first query token
        first = 0 if window is None else max(0, num_seen - window)
        blocks, slots = locate(block_table[seq], first, length, k_cache.shape[1])
        # contiguous, so that no bit depends on the layout: an indexed view keeps the order of its strides
        k, v = (cache[blocks, slots].double().contiguous() for cache in (k_cache, v_cache))
        for query in range(max(0, -num_seen + 1), q_len):
            start, end = first if window is None else max(0, num_seen + query - window), num_seen + query
            index, seen = seq * q_len + query, slice(start - first, end - first)
            yield (
                index,
                QueryRow(
                    q=q[index].double(),
                    k=k[seen],
                    v=v[seen],
                    distance=torch.arange(start - end + 1, 1, dtype=torch.float64, device=q.device),
                    position=end - 1,
                    scale=scale * k_scale,
                    k_scale=k_scale,
                    v_scale=v_scale,
                    softcap=options.softcap,
                    alibi_slopes=options.alibi_slopes,
                    sinks=options.sinks,
                ),
            )


def locate(table_row: Tensor, first: int, end: int, block_size: int) -> tuple[Tensor, Tensor]:
    """Block id and slot of tokens `first` to `end` of one sequence, oldest first."""
    tokens = torch.arange(first, max(first, end), device=table_row.device)
    return table_row[tokens // block_size].long(), tokens % block_size


def scaled_products(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """[num_q_heads, tokens] of q [num_q_heads, head_dim] with k [tokens, num_kv_heads, head_dim]."""
    grouped = q.view(k.shape[1], -1, q.shape[1])
    return (grouped @ k.permute(1, 2, 0)).flatten(0, 1) * scale


def weighted_sum(weights: Tensor, v: Tensor) -> Tensor:
    """[num_q_heads, dim]: weights [num_q_heads, tokens] over v [tokens, num_kv_heads, dim]."""
    return (weights.view(v.shape[1], -1, weights.shape[1]) @ v.transpose(0, 1)).flatten(0, 1)
