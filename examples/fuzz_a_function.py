"""Fuzz a decode function written in plain PyTorch: 40 cases of any cache layout, on the CPU.

python examples/fuzz_a_function.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode import fuzz


def decode(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, window: int | None = None
) -> Tensor:
    """q [num_seqs, num_q_heads, head_dim] -> out [num_seqs, num_q_heads, value_head_dim]. Taking `window` means: test it, too."""
    block_size, num_kv_heads = k_cache.shape[1:3]
    out = q.new_zeros(*q.shape[:2], v_cache.shape[3])
    for seq, length in enumerate(seq_lens.tolist()):
        if length == 0:
            continue
        token = torch.arange(max(0, length - window) if window else 0, length)
        block, slot = block_table[seq, token // block_size].long(), token % block_size
        k, v = k_cache[block, slot].float(), v_cache[block, slot].float()  # [tokens, num_kv_heads, dim]
        grouped = q[seq].float().view(num_kv_heads, -1, q.shape[2]) * scale  # [num_kv_heads, group, head_dim]
        weights = torch.einsum("hgd,thd->hgt", grouped, k).softmax(-1)
        out[seq] = torch.einsum("hgt,thd->hgd", weights, v).flatten(0, 1).to(q.dtype)
    return out


if __name__ == "__main__":  # workers import this file
    findings = fuzz(decode, iters=40, device="cpu")
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings in 40 cases")
