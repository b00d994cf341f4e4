"""FlashInfer's BatchDecodeWithPagedKVCacheWrapper, plan and run, as of flashinfer-python 0.6.1.

What it takes is read from flashinfer/data: csrc/batch_decode.cu and csrc/batch_prefill.cu pass K's page, token and head
strides and q's strides, ask that V's be the same, and take only the pointer of `out`, so that the adapter has no parameter `out`;
rows are loaded 16 bytes at a time (cp.async), softcap is tanh.approx.f32 (include/flashinfer/math.cuh), and partial results of a
split are stored in the dtype of out. Each dtype, head_dim, window or none, softcap or none is a module of its own, compiled when
it is first needed: hence two head_dims.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.target import Arithmetic, target

WORKSPACE = 128 * 2**20  # bytes, as its documentation recommends
DTYPES = ("float16", "bfloat16")
HEAD_DIMS = (64, 128)


def load(function: str) -> None:
    """Import the package. Its modules are compiled when they are first needed."""
    importlib.import_module("flashinfer")


def _decode(*, use_tensor_cores: bool, groups: tuple[int, ...] | None) -> Callable[..., tuple[Tensor, Tensor]]:
    """An empty sequence has no pages; its LSE is FlashInfer's finite -inf, and is not looked at."""

    @target(
        dtypes=DTYPES,
        head_dims=HEAD_DIMS,
        value_head_dims="head_dim",
        groups=groups,
        strides=StrideRules(contiguous=("q", "k", "v"), v_like_k=True, multiple_of=8),
        arithmetic=Arithmetic(tanh="approx", scaled_after_sum=True),
        devices=("cuda",),
    )
    def decode(
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
        arguments = q, k_cache, v_cache, block_table, seq_lens, scale
        wrapper, caches = planned(*arguments, use_tensor_cores=use_tensor_cores, window=window, softcap=softcap)
        out, lse = wrapper.run(q, caches, return_lse=True)
        return out, (lse * math.log(2)).masked_fill(seq_lens[:, None] == 0, -torch.inf)

    return decode


# include/flashinfer/attention/decode.cuh, for the sizes of DISPATCH_GQA_GROUP_SIZE in include/flashinfer/utils.cuh
cuda_cores = _decode(use_tensor_cores=False, groups=(1, 2, 4, 3, 8))
# include/flashinfer/attention/prefill.cuh with one row per sequence, for any group size
tensor_cores = _decode(use_tensor_cores=True, groups=None)


def planned(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    use_tensor_cores: bool,
    backend: str = "fa2",
    window: int | None = None,
    softcap: float | None = None,
) -> tuple[Any, tuple[Tensor, Tensor]]:
    """The wrapper with its plan made, and the caches as its `run` takes them. `backend` is fa2, as SGLang has it; "auto" is fa3
    on Hopper, which compiles for minutes."""
    import flashinfer

    _, block_size, num_kv_heads, head_dim = k_cache.shape
    v_cache = v_cache.as_strided(v_cache.shape, k_cache.stride())  # an axis of size 1 has any stride, and all are compared
    layout = "NHD" if k_cache.stride(1) >= k_cache.stride(2) else "HND"
    caches = (k_cache, v_cache) if layout == "NHD" else (k_cache.transpose(1, 2), v_cache.transpose(1, 2))
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(
        workspace(q.device), layout, use_tensor_cores=use_tensor_cores, backend=backend
    )
    wrapper.plan(
        *pages(block_table, seq_lens, block_size),
        q.shape[1],
        num_kv_heads,
        head_dim,
        block_size,
        window_left=-1 if window is None else window - 1,
        logits_soft_cap=softcap,
        q_data_type=q.dtype,
        kv_data_type=k_cache.dtype,
        sm_scale=scale,
    )
    return wrapper, caches


def pages(block_table: Tensor, seq_lens: Tensor, block_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """kv_indptr [num_seqs + 1], kv_indices [pages of all sequences] and the length of each one's last page, all int32."""
    counts = (seq_lens + block_size - 1) // block_size
    indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0, dtype=torch.int32)])
    indices = torch.cat([row[:count] for row, count in zip(block_table, counts.tolist(), strict=True)])
    return indptr, indices, seq_lens - (counts - 1).clamp(min=0) * block_size


@functools.cache
def workspace(device: torch.device) -> Tensor:
    """Must be zeros when it is first used; kept from call to call, as engines do."""
    return torch.zeros(WORKSPACE, dtype=torch.uint8, device=device)
