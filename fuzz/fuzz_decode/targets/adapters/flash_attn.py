"""FlashAttention 2's flash_attn_with_kvcache, by the interface of flash-attn 2.8 (flash_attn/flash_attn_interface.py).

What it takes is checked in csrc/flash_attn/flash_api.cpp, mha_fwd_kvcache: float16 and bfloat16, pages that are multiples of 256
tokens, head_dim up to 256 (others than multiples of 8 are padded by copying the whole cache, and are left out), V as long as K,
innermost strides of 1; all other strides are passed, K's and V's apart. Rows are loaded 16 bytes at a time, softcap is
cutlass::fast_tanh (src/utils.h), and partial results of a split are kept in float32.
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.target import Arithmetic, target


def load(function: str) -> None:
    """Import the package."""
    importlib.import_module("flash_attn")


@target(
    dtypes=("float16", "bfloat16"),
    head_dims=(64, 128, 32, 256, 16, 40, 72, 80, 96, 192),
    value_head_dims="head_dim",
    block_sizes=(256,),
    strides=StrideRules(contiguous=("q", "k", "v", "table"), multiple_of=8),
    arithmetic=Arithmetic(tanh="approx", scaled_after_sum=True),
    devices=("cuda",),
)
def with_kvcache(
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
    """One query token per sequence. "If the row of the mask is all zero, the output will be zero"; its LSE is then +inf."""
    from flash_attn import flash_attn_with_kvcache

    out, lse = flash_attn_with_kvcache(
        q[:, None],
        k_cache,
        v_cache,
        cache_seqlens=seq_lens,
        block_table=block_table,
        softmax_scale=scale,
        causal=True,
        window_size=(-1, -1) if window is None else (window - 1, 0),
        softcap=softcap or 0.0,
        return_softmax_lse=True,
    )
    return out[:, 0], lse[..., 0].masked_fill(seq_lens[:, None] == 0, -torch.inf)
