"""A kernel launched with more programs than there are sequences, whose surplus programs read lengths beyond the batch, as in
ColossalAI PR 5306; and the same with the check that was missing."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode import Arithmetic, target

TILE = 32
SEQS = 4  # the batch is rounded up to multiples of this


@triton.jit
def _decode(
    Q, K, V, TABLE, LENS, OUT, scale, count,
    q_seq: tl.int64, q_head: tl.int64, q_dim: tl.int64,
    k_block: tl.int64, k_slot: tl.int64, k_head: tl.int64, k_dim: tl.int64,
    v_block: tl.int64, v_slot: tl.int64, v_head: tl.int64, v_dim: tl.int64,
    t_seq: tl.int64, t_column: tl.int64, o_seq: tl.int64, o_head: tl.int64, o_dim: tl.int64,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr, DV: tl.constexpr,
    D_PAD: tl.constexpr, DV_PAD: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    seq, head = tl.program_id(0), tl.program_id(1)
    length = tl.load(LENS + seq)
    if (seq >= count) | (length <= 0):
        return
    dims, v_dims, at = tl.arange(0, D_PAD), tl.arange(0, DV_PAD), tl.arange(0, TILE)
    q = tl.load(Q + seq * q_seq + head * q_head + dims * q_dim, mask=dims < D, other=0.0).to(tl.float32)
    best, total = -float("inf"), 0.0
    acc = tl.zeros([DV_PAD], tl.float32)
    for start in range(0, length, TILE):
        token = start + at
        seen = token < length
        block = tl.load(TABLE + seq * t_seq + token // BLOCK * t_column, mask=seen, other=0)
        k_at = block * k_block + token % BLOCK * k_slot + head // GROUP * k_head
        k = tl.load(K + k_at[:, None] + dims[None, :] * k_dim, mask=seen[:, None] & (dims < D)[None, :], other=0.0)
        score = tl.where(seen, tl.sum(q[None, :] * k.to(tl.float32), 1) * scale, -float("inf"))
        top = tl.maximum(best, tl.max(score, 0))
        fade, p = tl.exp(best - top), tl.exp(score - top)
        v_at = block * v_block + token % BLOCK * v_slot + head // GROUP * v_head
        v = tl.load(V + v_at[:, None] + v_dims[None, :] * v_dim, mask=seen[:, None] & (v_dims < DV)[None, :], other=0.0)
        acc = acc * fade + tl.sum(p[:, None] * v.to(tl.float32), 0)
        total = total * fade + tl.sum(p, 0)
        best = top
    tl.store(OUT + seq * o_seq + head * o_head + v_dims * o_dim, acc / total, mask=v_dims < DV)


def _launch(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float, out: Tensor, count: int) -> Tensor:
    """Programs from `count` on return."""
    programs = triton.cdiv(len(q), SEQS) * SEQS
    out.zero_()  # rows of empty sequences
    strides = *q.stride(), *k.stride(), *v.stride(), *table.stride(), *out.stride()
    sizes = q.shape[1] // k.shape[2], k.shape[1], q.shape[2], v.shape[3]
    padded = triton.next_power_of_2(q.shape[2]), triton.next_power_of_2(v.shape[3])
    _decode[programs, q.shape[1]](q, k, v, table, lens, out, scale, count, *strides, *sizes, *padded, TILE)
    return out


@target(arithmetic=Arithmetic(probabilities="float32"))
def unchecked(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, out: Tensor
) -> Tensor:
    return _launch(q, k_cache, v_cache, block_table, seq_lens, scale, out, len(q) + SEQS)


@target(arithmetic=Arithmetic(probabilities="float32"))
def checked(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, out: Tensor
) -> Tensor:
    """Surplus programs read lengths beyond the batch, which do not matter to them."""
    return _launch(q, k_cache, v_cache, block_table, seq_lens, scale, out, len(q))
