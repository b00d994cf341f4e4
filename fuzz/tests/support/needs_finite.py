"""Kernels in torch that read whole blocks and multiply what should not matter by 0, so that they need finite numbers there; with
another fault beside that weakness, or without. And one that needs finite numbers in what it allocates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fuzz_decode import Arithmetic, target

IN_FLOAT32 = Arithmetic(probabilities="float32")


def _whole_blocks(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, window: int | None = None
) -> Tensor:
    """Scores of all slots of a sequence's blocks; those that no query sees become -inf, and their weights 0. V is not masked."""
    out, (size, heads) = q.new_zeros(*q.shape[:2], v_cache.shape[3]), k_cache.shape[1:3]
    for seq, length in enumerate(seq_lens.tolist()):
        if length == 0:
            continue
        blocks, tokens = block_table[seq, : -(-length // size)].long(), torch.arange(-(-length // size) * size)
        k, v = (cache[blocks].flatten(0, 1).float().repeat_interleave(len(q[0]) // heads, dim=1) for cache in (k_cache, v_cache))
        scores = torch.einsum("hd,thd->ht", q[seq].float(), k) * scale
        seen = (tokens < length) & (tokens >= (0 if window is None else length - window))
        weights = scores.where(seen, -torch.inf).softmax(dim=1)
        out[seq] = torch.einsum("ht,thd->hd", weights, v).to(q.dtype)
    return out


@target(arithmetic=IN_FLOAT32)
def undeclared(*arguments: Any) -> Tensor:
    return _whole_blocks(*arguments)


@target(arithmetic=IN_FLOAT32, needs_finite=("tail",))
def declared(*arguments: Any) -> Tensor:
    return _whole_blocks(*arguments)


@target(arithmetic=IN_FLOAT32, needs_finite=("before_window", "tail"))
def declared_with_a_window(*arguments: Any, window: int | None = None) -> Tensor:
    return _whole_blocks(*arguments, window)


@target(arithmetic=IN_FLOAT32, needs_finite=("tail",))
def undeclared_window(*arguments: Any, window: int | None = None) -> Tensor:
    return _whole_blocks(*arguments, window)


@target(arithmetic=IN_FLOAT32, needs_finite=("tail",))
def with_k_s_block_stride(q: Tensor, k_cache: Tensor, v_cache: Tensor, *rest: Any) -> Tensor:
    """A second fault: V is read with the block stride of K."""
    strides = (k_cache.stride(0), *v_cache.stride()[1:])
    reached = sum((size - 1) * stride for size, stride in zip(v_cache.shape, strides, strict=True))
    fits = v_cache.storage_offset() + reached < v_cache.untyped_storage().nbytes() // v_cache.element_size()
    v = v_cache.as_strided(v_cache.shape, strides) if fits else v_cache
    return _whole_blocks(q, k_cache, v, *rest)


@target(arithmetic=IN_FLOAT32, needs_finite=("tail",))
def with_one_token_too_many(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    """A second fault within the declared place: the first slot of the tail weighs something."""
    size = k_cache.shape[1]
    return _whole_blocks(q, k_cache, v_cache, block_table, seq_lens + (seq_lens % size != 0), scale)


@target(arithmetic=IN_FLOAT32, needs_finite=("tail", "allocations"))
def with_unwritten_scratch(q: Tensor, k_cache: Tensor, v_cache: Tensor, *rest: Any) -> Tensor:
    """Partial results of two splits, of which the second weighs 0 and is never written."""
    parts = q.new_empty(2, *q.shape[:2], v_cache.shape[3])
    parts[0] = _whole_blocks(q, k_cache, v_cache, *rest)
    return torch.einsum("s,srhd->rhd", q.new_tensor([1.0, 0.0]), parts)
