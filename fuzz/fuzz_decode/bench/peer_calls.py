"""Each peer's decode as a plan, made once and not timed, and a call, which is timed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.bench.inputs import Inputs
from fuzz_decode.targets.adapters import flashinfer as flashinfer_adapter
from fuzz_decode.targets.adapters import sglang as sglang_adapter
from fuzz_decode.targets.adapters import torch_attention
from fuzz_decode.targets.adapters import vllm as vllm_adapter

Call = Callable[[], Any]
Plan = Callable[[Inputs, Tensor, Tensor], Call]


def flashinfer(*, use_tensor_cores: bool, backend: str = "fa2") -> Plan:
    """BatchDecodeWithPagedKVCacheWrapper, planned for this batch; float8 scales go into the softmax scale and out."""

    def plan(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
        arguments, case = inputs.arguments(k, v), inputs.case
        wrapper, caches = flashinfer_adapter.planned(
            *arguments, use_tensor_cores=use_tensor_cores, backend=backend, window=case.window
        )
        scales = {"k_scale": case.k_scale, "v_scale": case.v_scale}
        return functools.partial(wrapper.run, inputs.q, caches, out=inputs.out, **scales)

    return plan


def flashinfer_mla(backend: str) -> Plan:
    """BatchMLAPagedAttentionWrapper on views of the joint rows: V is the first part, the rest is the rotary part of K."""

    def plan(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
        from flashinfer.mla import BatchMLAPagedAttentionWrapper

        _, block_size, _, width = v.shape
        indptr, indices, _ = flashinfer_adapter.pages(inputs.block_table, inputs.seq_lens, block_size)
        queries = torch.arange(len(inputs.seq_lens) + 1, dtype=torch.int32, device=k.device)
        wrapper = BatchMLAPagedAttentionWrapper(flashinfer_adapter.workspace(k.device), backend=backend)
        scale, heads, position = inputs.case.softmax_scale, inputs.q.shape[1], k.shape[3] - width
        sizes = (heads, width, position, block_size)
        wrapper.plan(queries, indptr, indices, inputs.seq_lens, *sizes, False, scale, inputs.q.dtype, k.dtype)
        q_parts, k_parts = (inputs.q[..., :width], inputs.q[..., width:]), (k[:, :, 0, :width], k[:, :, 0, width:])
        return functools.partial(wrapper.run, *q_parts, *k_parts, out=inputs.out)

    return plan


def vllm_unified(*, split: bool) -> Plan:
    """unified_attention, with scratch and the longest sequence prepared."""

    def plan(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
        return vllm_adapter.plan_unified(*inputs.arguments(k, v), split=split, out=inputs.out, **inputs.options())

    return plan


def sglang(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
    """decode_attention_fwd on lists of slots."""
    return sglang_adapter.plan_decode(*inputs.arguments(k, v), out=inputs.out, window=inputs.case.window)


def flex(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
    """Compiled FlexAttention on the pool itself, with a prepared block mask."""
    q, case = inputs.q, inputs.case
    table, lens, scale = inputs.block_table, inputs.seq_lens, case.softmax_scale
    pools = torch_attention.pool(k), torch_attention.pool(v)
    run = torch_attention.plan_flex(q, *pools, table, lens, scale, block_size=k.shape[1], window=case.window)
    return lambda: run()[0][: len(q), :, 0]
