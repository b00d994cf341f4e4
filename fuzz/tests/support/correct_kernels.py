"""Correct kernels, each of a kind that was blamed once: their constructs, declarations and arithmetic are all that is special."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode import Arithmetic, Strides, target

TILE = 64
IN_FLOAT32 = Arithmetic(probabilities="float32")


@triton.jit
def _annotated(
    Q, K, V, TABLE, LENS, OUT,
    scale: tl.float32,
    q_seq: tl.int64, q_head: tl.int64, q_dim: tl.int64,
    k_block: tl.int64, k_slot: tl.int64, k_head: tl.int64, k_dim: tl.int64,
    v_block: tl.int64, v_slot: tl.int64, v_head: tl.int64, v_dim: tl.int64,
    t_seq: tl.int64, t_column: tl.int64,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr, DV: tl.constexpr,
    D_PAD: tl.constexpr, DV_PAD: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Strides are annotated int64, so that block id * stride is 64 bits wide although the id is int32."""
    seq, head = tl.program_id(0), tl.program_id(1)
    dims, v_dims, at = tl.arange(0, D_PAD), tl.arange(0, DV_PAD), tl.arange(0, TILE)
    length = tl.load(LENS + seq)
    q = tl.load(Q + seq * q_seq + head * q_head + dims * q_dim, mask=dims < D, other=0.0).to(tl.float32)
    best, total = -float("inf"), 0.0
    acc = tl.zeros([DV_PAD], tl.float32)
    for start in range(0, length, TILE):
        token = start + at
        visible = token < length
        block = tl.load(TABLE + seq * t_seq + token // BLOCK * t_column, mask=visible, other=0)
        k_at = block * k_block + token % BLOCK * k_slot + head // GROUP * k_head
        k = tl.load(K + k_at[:, None] + dims[None, :] * k_dim, mask=visible[:, None] & (dims < D)[None, :], other=0.0)
        score = tl.where(visible, tl.sum(q[None, :] * k.to(tl.float32), 1) * scale, -float("inf"))
        top = tl.maximum(best, tl.max(score, 0))
        fade, p = tl.exp(best - top), tl.exp(score - top)
        v_at = block * v_block + token % BLOCK * v_slot + head // GROUP * v_head
        v = tl.load(V + v_at[:, None] + v_dims[None, :] * v_dim, mask=visible[:, None] & (v_dims < DV)[None, :], other=0.0)
        acc = acc * fade + tl.sum(p[:, None] * v.to(tl.float32), 0)
        total = total * fade + tl.sum(p, 0)
        best = top
    out = OUT + (seq * tl.num_programs(1) + head) * DV + v_dims
    tl.store(out, tl.where(total > 0.0, acc / tl.where(total > 0.0, total, 1.0), 0.0), mask=v_dims < DV)


@triton.jit
def _pythonic(
    Q, K, V, TABLE, LENS, OUT, scale, q_seq, q_head, q_dim,
    k_block, k_slot, k_head, k_dim, v_block, v_slot, v_head, v_dim, t_seq, t_column,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr, DV: tl.constexpr,
    D_PAD: tl.constexpr, DV_PAD: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Python's own and, or, not, max and min, chained comparisons, ternaries and while."""
    seq, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    dims, v_dims, at = tl.arange(0, D_PAD), tl.arange(0, DV_PAD), tl.arange(0, TILE).to(tl.int64)
    length = tl.load(LENS + seq)
    in_row, in_v = 0 <= dims < D, not (v_dims >= DV)
    q = tl.load(Q + seq * q_seq + head * q_head + dims * q_dim, mask=in_row, other=0.0).to(tl.float32)
    best, total = -float("inf"), 0.0
    acc = tl.zeros([DV_PAD], tl.float32)
    start = 0
    while start < length and length > 0:
        token = start + at
        visible = (token < length) and not (token < 0)
        block = tl.load(TABLE + seq * t_seq + min(token, length - 1) // BLOCK * t_column).to(tl.int64)
        k_at = block * k_block + token % BLOCK * k_slot + head // GROUP * k_head
        k = tl.load(K + k_at[:, None] + dims[None, :] * k_dim, mask=visible[:, None] and in_row[None, :], other=0.0)
        score = tl.where(visible, tl.sum(q[None, :] * k.to(tl.float32), 1) * scale, -float("inf"))
        top = max(best, tl.max(score, 0))
        fade, p = tl.exp(-tl.abs(best - top)), tl.exp(-tl.abs(score - top))
        v_at = block * v_block + token % BLOCK * v_slot + head // GROUP * v_head
        v = tl.load(V + v_at[:, None] + v_dims[None, :] * v_dim, mask=visible[:, None] and in_v[None, :], other=0.0)
        acc = acc * fade + tl.sum(p[:, None] * v.to(tl.float32), 0)
        total = total * fade + tl.sum(p, 0)
        best = top
        start += TILE
    out = OUT + (seq * tl.num_programs(1) + head) * DV + v_dims
    tl.store(out, acc / total if total > 0.0 else acc, mask=in_v)


@triton.jit
def _narrow(
    Q, K, V, TABLE, LENS, OUT, scale, q_seq, q_head, q_dim,
    k_block, k_slot, k_head, k_dim, v_block, v_slot, v_head, v_dim, t_seq, t_column,
    GROUP: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr, DV: tl.constexpr,
    D_PAD: tl.constexpr, DV_PAD: tl.constexpr, TILE: tl.constexpr, SKIPPED: tl.constexpr = 0,
):  # fmt: skip
    """q.k is multiplied and summed in the dtype of q. `SKIPPED` tokens at the end are left out: a fault."""
    seq, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    dims, v_dims, at = tl.arange(0, D_PAD), tl.arange(0, DV_PAD), tl.arange(0, TILE).to(tl.int64)
    length = tl.load(LENS + seq)
    length = tl.where(length > SKIPPED, length - SKIPPED, length)
    q = tl.load(Q + seq * q_seq + head * q_head + dims * q_dim, mask=dims < D, other=0.0)
    best, total = -float("inf"), 0.0
    acc = tl.zeros([DV_PAD], tl.float32)
    for start in range(0, length, TILE):
        token = start + at
        visible = token < length
        block = tl.load(TABLE + seq * t_seq + token // BLOCK * t_column, mask=visible, other=0).to(tl.int64)
        k_at = block * k_block + token % BLOCK * k_slot + head // GROUP * k_head
        k = tl.load(K + k_at[:, None] + dims[None, :] * k_dim, mask=visible[:, None] & (dims < D)[None, :], other=0.0)
        score = tl.where(visible, tl.sum(q[None, :] * k, 1) * scale, -float("inf")).to(tl.float32)
        top = tl.maximum(best, tl.max(score, 0))
        fade, p = tl.exp(best - top), tl.exp(score - top)
        v_at = block * v_block + token % BLOCK * v_slot + head // GROUP * v_head
        v = tl.load(V + v_at[:, None] + v_dims[None, :] * v_dim, mask=visible[:, None] & (v_dims < DV)[None, :], other=0.0)
        acc = acc * fade + tl.sum(p[:, None] * v.to(tl.float32), 0)
        total = total * fade + tl.sum(p, 0)
        best = top
    out = OUT + (seq * tl.num_programs(1) + head) * DV + v_dims
    tl.store(out, tl.where(total > 0.0, acc / tl.where(total > 0.0, total, 1.0), 0.0), mask=v_dims < DV)


def _launch(kernel: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float, **more: int) -> Tensor:
    out = q.new_empty((*q.shape[:2], v.shape[3]))
    strides = *q.stride(), *k.stride(), *v.stride(), *table.stride()
    sizes = q.shape[1] // k.shape[2], k.shape[1], q.shape[2], v.shape[3]
    padded = triton.next_power_of_2(q.shape[2]), triton.next_power_of_2(v.shape[3])
    kernel[q.shape[:2]](q, k, v, table, lens, out, scale, *strides, *sizes, *padded, TILE, **more)
    return out


@target(arithmetic=IN_FLOAT32)
def annotated_strides(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    return _launch(_annotated, q, k_cache, v_cache, block_table, seq_lens, scale)


@target(arithmetic=IN_FLOAT32)
def python_constructs(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    return _launch(_pythonic, q, k_cache, v_cache, block_table, seq_lens, scale)


@target(
    strides=Strides(contiguous=("q", "k", "v", "out", "table"), one_slot_stride=True, v_like_k=True, multiple_of=8),
    arithmetic=IN_FLOAT32,
)
def asserts_its_strides(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, out: Tensor
) -> Tensor:
    """Takes stride(1) for the slot stride of a pool of tokens, and K's strides for V's."""
    assert k_cache.stride() == v_cache.stride()
    assert all(tensor.stride(-1) == 1 for tensor in (q, k_cache, v_cache, block_table, out))
    assert all(stride % 8 == 0 for tensor in (q, k_cache, v_cache) for stride in tensor.stride()[:-1])
    slot, head = k_cache.stride(1), k_cache.stride(2)
    size = k_cache.shape[0] * k_cache.shape[1]
    k, v = (pool.as_strided((size, 1, *pool.shape[2:]), (slot, slot, head, 1)) for pool in (k_cache, v_cache))
    tokens = torch.arange(block_table.shape[1] * k_cache.shape[1], device=q.device)
    block, inside = block_table[:, tokens // k_cache.shape[1]], tokens % k_cache.shape[1]
    used = tokens[None, :] < seq_lens[:, None]
    slots = torch.where(used, block.long() * k_cache.shape[1] + inside, 0).int()
    return out.copy_(_launch(_annotated, q, k, v, slots, seq_lens, scale))


@target(arithmetic=Arithmetic(probabilities="float32", scores="input", score_sums="input"))
def sums_in_the_input_dtype(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    return _launch(_narrow, q, k_cache, v_cache, block_table, seq_lens, scale)


@target(arithmetic=Arithmetic(probabilities="float32", scores="input", score_sums="input"))
def sums_in_the_input_dtype_without_the_last_token(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """A fault that the wide bound of narrow sums must not hide."""
    return _launch(_narrow, q, k_cache, v_cache, block_table, seq_lens, scale, SKIPPED=1)
