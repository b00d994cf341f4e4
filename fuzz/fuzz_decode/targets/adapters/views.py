"""What adapters make of a case's tensors without copying them."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor


def token_pool(cache: Tensor) -> Tensor:
    """[num_blocks, block_size, heads, dim] seen as [num_slots, heads, dim]: right where there is one slot stride."""
    num_blocks, block_size, heads, dim = cache.shape
    slot = cache.stride(0) if block_size == 1 else cache.stride(1)
    return cache.as_strided((num_blocks * block_size, heads, dim), (slot, cache.stride(2), cache.stride(3)))


def first_visible(length: int, window: int | None) -> int:
    """The first token that a sequence of `length` tokens sees."""
    return 0 if window is None else max(0, length - window)


def is_mla(k_cache: Tensor, v_cache: Tensor, dims: Collection[tuple[int, int]]) -> bool:
    """Whether V is a prefix of K's rows, in one of the (head_dim, value_head_dim) that a kernel's MLA path is for."""
    return v_cache.data_ptr() == k_cache.data_ptr() and (k_cache.shape[3], v_cache.shape[3]) in dims
