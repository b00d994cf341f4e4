"""Paged decode attention by gathering: the definition, in float64, one sequence at a time.

Only the tokens that a sequence can see are ever read, so whatever lies in unused slots, foreign blocks or unused table
entries cannot reach the result (a reference that masks with -inf instead shares the kernels' 0 * NaN bug, see Wan2GP PR 1628).
"""

from __future__ import annotations

import torch
from torch import Tensor


def gather_attention(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention of one query token per sequence over its paged keys and values.

    q            [num_seqs, num_q_heads, head_dim], any float dtype; q head h reads KV head h // (num_q_heads // num_kv_heads)
    k_cache      [num_blocks, block_size, num_kv_heads, head_dim], any strides
    v_cache      [num_blocks, block_size, num_kv_heads, value_head_dim], any strides
    block_table  [num_seqs, width] int; entry i // block_size is the block of token i, others are not read
    seq_lens     [num_seqs] int
    window       only the last `window` tokens are visible; None: all
    softcap      scores become softcap * tanh(score / softcap)

    Returns out [num_seqs, num_q_heads, value_head_dim] and the natural-log LSE [num_seqs, num_q_heads], both float64. A
    sequence of length 0 gives out = 0 and lse = -inf.
    """
    num_seqs, num_q_heads, _ = q.shape
    out = torch.zeros(num_seqs, num_q_heads, v_cache.shape[3], dtype=torch.float64, device=q.device)
    lse = torch.full((num_seqs, num_q_heads), -torch.inf, dtype=torch.float64, device=q.device)
    for seq, length in enumerate(seq_lens.tolist()):
        if length == 0:
            continue
        blocks, slots = visible_tokens(block_table[seq], length, k_cache.shape[1], window)
        rows, k, v = q[seq].double(), k_cache[blocks, slots].double(), v_cache[blocks, slots].double()
        out[seq], lse[seq] = attend(rows, k, v, scale, softcap)
    return out, lse


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None) -> tuple[Tensor, Tensor]:
    """out [num_q_heads, value_head_dim] and lse [num_q_heads] of one sequence's gathered rows, as in `attention_scores`."""
    scores = attention_scores(q, k, scale, softcap)
    lse = scores.logsumexp(dim=-1)
    return weighted_sum((scores - lse[:, None]).exp(), v), lse


def visible_tokens(table_row: Tensor, length: int, block_size: int, window: int | None) -> tuple[Tensor, Tensor]:
    """Block id and slot of each visible token of one sequence, oldest first."""
    first = 0 if window is None else max(0, length - window)
    tokens = torch.arange(first, length, device=table_row.device)
    return table_row[tokens // block_size].long(), tokens % block_size


def attention_scores(q: Tensor, k: Tensor, scale: float, softcap: float | None) -> Tensor:
    """Scores [num_q_heads, tokens] of q [num_q_heads, head_dim] against k [tokens, num_kv_heads, head_dim]."""
    grouped = q.view(k.shape[1], -1, q.shape[1])
    scores = torch.einsum("kgd,tkd->kgt", grouped, k).flatten(0, 1) * scale
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)


def weighted_sum(weights: Tensor, v: Tensor) -> Tensor:
    """[num_q_heads, dim]: weights [num_q_heads, tokens] over v [tokens, num_kv_heads, dim]."""
    return torch.einsum("kgt,tkd->kgd", weights.view(v.shape[1], -1, weights.shape[1]), v).flatten(0, 1)
