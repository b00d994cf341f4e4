"""SGLang's Triton decode kernel, loaded from the installed package's own file (sglang/kernels/ops/attention).

Its cache is a pool of token slots [num_slots, num_kv_heads, head_dim] with one slot stride; the caller lists every visible
token's slot. So only layouts fit whose block stride is block_size * slot stride, and a window is a shorter list.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.adapters.views import first_visible, is_mla, token_pool
from fuzz_decode.targets.partial_import import load_module
from fuzz_decode.targets.target import Arithmetic, target

KV_SPLITS = 8  # server_args.triton_attention_num_kv_splits
MLA_DIMS = {(576, 512)}


def _arithmetic(case: Case) -> Arithmetic:
    """MHA rounds each product q_i * k_i to the dtype of q and sums in float32; the grouped kernel uses tl.dot."""
    if case.group == 1:
        return Arithmetic(probabilities="float32", scores="input", scaled_after_sum=True)
    return Arithmetic(scaled_after_sum=True)


@target(
    min_seq_len=1,
    strides=StrideRules(contiguous=("q", "k", "v", "out"), one_slot_stride=True),
    arithmetic=_arithmetic,
)
def decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    out: Tensor,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Block table -> kv_indptr and kv_indices, caches -> pools of slots."""
    arguments = q, k_cache, v_cache, block_table, seq_lens, scale
    return plan_decode(*arguments, out=out, window=window, softcap=softcap, sinks=sinks)()


def plan_decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    out: Tensor,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Callable[[], Tensor]:
    """What SGLang makes of a batch once, the lists of slots and scratch; the call itself waits for nothing."""
    num_seqs, num_q_heads, _ = q.shape
    indptr, indices = _slots(block_table, seq_lens, k_cache.shape[1], window)
    rows = (num_seqs, num_q_heads, KV_SPLITS)
    kernel = functools.partial(
        _kernel().decode_attention_fwd,
        q,
        token_pool(k_cache),
        token_pool(v_cache),
        out,
        indptr,
        indices,
        q.new_empty((*rows, v_cache.shape[3]), dtype=torch.float32),
        q.new_empty(rows, dtype=torch.float32),
        torch.full((num_seqs,), KV_SPLITS, dtype=torch.int32, device=q.device),
        KV_SPLITS,
        scale,
        1.0,
        1.0,
        logit_cap=softcap or 0.0,
        sinks=sinks,
        has_mla=is_mla(k_cache, v_cache, MLA_DIMS),
    )

    def run() -> Tensor:
        kernel()
        return out

    return run


def _slots(block_table: Tensor, seq_lens: Tensor, block_size: int, window: int | None) -> tuple[Tensor, Tensor]:
    """kv_indptr [num_seqs + 1] int32 and kv_indices [visible tokens] int64, as SGLang's Triton backend builds them."""
    lists = []
    for row, length in zip(block_table, seq_lens.tolist(), strict=True):
        tokens = torch.arange(first_visible(length, window), length, device=block_table.device)
        lists.append(row[tokens // block_size].long() * block_size + tokens % block_size)
    counts = torch.tensor([0, *(len(tokens) for tokens in lists)], dtype=torch.int32, device=block_table.device)
    return counts.cumsum(0, dtype=torch.int32), torch.cat(lists)


def load(function: str) -> None:
    """Load the kernel's file. Raises TargetError if this version of SGLang has it elsewhere."""
    _kernel()


@functools.cache
def _kernel() -> Any:
    hip = torch.version.hip is not None
    stand_ins: dict[str, dict[str, Any]] = {
        "sglang.srt.environ": {"envs": SimpleNamespace()},
        "sglang.srt.utils": {
            "is_hip": lambda: hip,
            "is_gfx95_supported": lambda: False,
            "is_gfx1250_supported": lambda: False,
            "get_device_core_count": lambda device=0: torch.cuda.get_device_properties(device).multi_processor_count,
        },
    }
    return load_module("sglang.kernels.ops.attention.decode_attention", stand_ins)
