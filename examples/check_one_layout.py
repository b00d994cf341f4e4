"""One hand-built case against a wrong function: the bug of https://github.com/ROCm/aiter/pull/3498.

A cache with K and V interleaved per block, [num_blocks, 2, block_size, num_kv_heads, head_dim], has a block stride of twice
block_size * slot stride. The function below rebuilds the block stride from shapes instead of asking `stride(0)`, and every
test with a contiguous cache passes.

    python examples/check_one_layout.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode import FAMILIES, Case, Layout, check


def as_if_contiguous(cache: Tensor) -> Tensor:
    """The wrong view: right in all but the block stride."""
    _, slot, head, dim = cache.stride()
    return cache.as_strided(cache.shape, (cache.shape[1] * slot, slot, head, dim))


def decode(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    """One query head per KV head. Wrong on purpose: reads K through `as_if_contiguous`."""
    out = q.new_zeros(*q.shape[:2], v_cache.shape[3])
    k_cache = as_if_contiguous(k_cache)
    for seq, length in enumerate(seq_lens.tolist()):
        token = torch.arange(length)
        block, slot = block_table[seq, token // k_cache.shape[1]].long(), token % k_cache.shape[1]
        weights = (torch.einsum("hd,thd->ht", q[seq], k_cache[block, slot]) * scale).softmax(-1)
        out[seq] = torch.einsum("ht,thd->hd", weights, v_cache[block, slot])
    return out


if __name__ == "__main__":
    contiguous = Case(seq_lens=(40, 5), num_kv_heads=2, block_size=16)
    interleaved = Case(seq_lens=(40, 5), num_kv_heads=2, block_size=16, k=Layout(FAMILIES["interleaved"]), v=None)
    print("contiguous: ", check(decode, contiguous, device="cpu"))
    result = check(decode, interleaved, device="cpu")
    print("interleaved:", result.status)
    if result.finding:
        print("diagnosis:  ", result.finding.diagnosis)
        print(result)
