"""vLLM's Triton decode kernels, loaded from the installed package's own files (vllm/v1/attention/ops).

`unified_attention` runs in one pass or, given scratch, split into segments that a second kernel reduces: vLLM's Triton backend
takes the second for small batches. `triton_decode_attention` is the MLA backend's; it also takes plain GQA and, by another
path, MHA. Neither is called for an empty sequence, so min_seq_len is 1.
"""

from __future__ import annotations

import enum
import functools
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import triton
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.adapters.views import is_mla
from fuzz_decode.targets.partial_import import load_module
from fuzz_decode.targets.target import Arithmetic, target

OPS = "vllm.v1.attention.ops"
SEGMENTS = 16  # vllm.v1.attention.backends.triton_attn.NUM_PAR_SOFTMAX_SEGMENTS
ALWAYS_SPLIT = 2**30
KV_SPLITS = 4  # vllm.v1.attention.backends.mla.triton_mla
MLA_DIMS = {(576, 512), (288, 256)}


def _unified_takes(case: Case) -> str | None:
    """Its ALiBi counts from the first query token: the same for every key of a row, which a sink shows."""
    if case.alibi and case.sinks and case.q_len > 1:
        return "ALiBi from the first query token, beside sinks"
    return "float32 rows of more than 256" if case.dtype == "float32" and case.head_dim > 256 else None


def _unified(*, split: bool) -> Callable[..., Tensor]:
    """One program per sequence and KV head runs through all of its tokens; or tokens are split into segments."""

    @target(
        value_head_dims="head_dim",
        min_seq_len=1,
        strides=StrideRules(contiguous=("q", "out", "table")),
        supports=_unified_takes,
        arithmetic=Arithmetic(scaled_after_sum=True),
    )
    def unified(
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
        alibi_slopes: Tensor | None = None,
        sinks: Tensor | None = None,
        k_scale: float | None = None,
        v_scale: float | None = None,
        q_len: int = 1,
    ) -> Tensor:
        run = plan_unified(
            q,
            k_cache,
            v_cache,
            block_table,
            seq_lens,
            scale,
            split=split,
            out=out,
            window=window,
            softcap=softcap,
            alibi_slopes=alibi_slopes,
            sinks=sinks,
            k_scale=k_scale,
            v_scale=v_scale,
            q_len=q_len,
        )
        return run()

    return unified


unified_2d, unified_3d = _unified(split=False), _unified(split=True)


def plan_unified(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    split: bool,
    out: Tensor,
    window: int | None = None,
    softcap: float | None = None,
    alibi_slopes: Tensor | None = None,
    sinks: Tensor | None = None,
    k_scale: float | None = None,
    v_scale: float | None = None,
    q_len: int = 1,
) -> Callable[[], Tensor]:
    """What vLLM makes of a batch once, its scratch and its longest sequence; the call itself waits for nothing."""
    kernel = functools.partial(
        _ops("triton_unified_attention").unified_attention,
        q=q,
        k=k_cache,
        v=v_cache,
        out=out,
        cu_seqlens_q=q_len * torch.arange(len(seq_lens) + 1, dtype=torch.int32, device=q.device),
        max_seqlen_q=q_len,
        seqused_k=seq_lens,
        max_seqlen_k=int(seq_lens.max()),
        softmax_scale=scale,
        causal=True,
        window_size=(-1, -1) if window is None else (window - 1, 0),
        block_table=block_table,
        softcap=softcap or 0.0,
        q_descale=None,
        k_descale=None if k_scale is None else q.new_full((1,), k_scale, dtype=torch.float32),
        v_descale=None if v_scale is None else q.new_full((1,), v_scale, dtype=torch.float32),
        kv_quant_mode=_KVQuantMode.NONE if k_scale is None else _KVQuantMode.FP8_PER_TENSOR,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        **(_scratch(q) if split else {}),
    )

    def run() -> Tensor:
        kernel()
        return out

    return run


def _scratch(q: Tensor) -> dict[str, Any]:
    """Room for each segment's result, which makes vLLM split."""
    rows = (*q.shape[:2], SEGMENTS)
    return {
        "seq_threshold_3D": ALWAYS_SPLIT,
        "num_par_softmax_segments": SEGMENTS,
        "softmax_segm_output": q.new_empty((*rows, triton.next_power_of_2(q.shape[2])), dtype=torch.float32),
        "softmax_segm_max": q.new_empty(rows, dtype=torch.float32),
        "softmax_segm_expsum": q.new_empty(rows, dtype=torch.float32),
    }


def _decode_arithmetic(case: Case) -> Arithmetic:
    """MHA multiplies and sums q * k in the dtype of q; the grouped kernel uses tl.dot."""
    if case.group == 1:
        return Arithmetic(probabilities="float32", scores="input", score_sums="input", scaled_after_sum=True)
    return Arithmetic(scaled_after_sum=True)


@target(min_seq_len=1, strides=StrideRules(contiguous=("q", "k", "v", "out", "table")), arithmetic=_decode_arithmetic)
def decode(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    out: Tensor,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """V that is a prefix of K's rows, in the sizes of MLA, goes the way that vLLM's MLA backend takes."""
    num_seqs, num_q_heads, _ = q.shape
    lse = q.new_empty((num_seqs, num_q_heads), dtype=torch.float32)
    _ops("triton_decode_attention").decode_attention_fwd(
        q,
        k_cache,
        v_cache,
        out,
        lse,
        block_table,
        seq_lens,
        q.new_empty((num_seqs, num_q_heads, KV_SPLITS, v_cache.shape[3] + 1), dtype=torch.float32),
        KV_SPLITS,
        scale,
        page_size=k_cache.shape[1],
        logit_cap=softcap or 0.0,
        is_mla=is_mla(k_cache, v_cache, MLA_DIMS),
    )
    return out, lse


class _KVQuantMode(enum.IntEnum):
    """vllm.v1.kv_cache_interface.KVQuantMode"""

    NONE = 0
    FP8_PER_TENSOR = 1
    INT8_PER_TOKEN_HEAD = 2
    FP8_PER_TOKEN_HEAD = 3
    INT4_PER_TOKEN_HEAD = 4


def load(function: str) -> None:
    """Load the file that a function of this module runs. Raises TargetError if this version of vLLM has it elsewhere."""
    _ops("triton_decode_attention" if function == "decode" else "triton_unified_attention")


@functools.cache
def _ops(name: str) -> Any:
    """A module of vllm.v1.attention.ops; its imports of the rest of vLLM are a platform, a logger, Triton and two constants."""
    hip = torch.version.hip is not None
    platform = SimpleNamespace(
        is_rocm=lambda: hip,
        fp8_dtype=lambda: torch.float8_e4m3fnuz if hip else torch.float8_e4m3fn,
        is_device_capability_family=lambda family: (
            torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == family // 10
        ),
    )
    logger = logging.getLogger("vllm")
    stand_ins: dict[str, dict[str, Any]] = {
        "vllm.envs": {"VLLM_BATCH_INVARIANT": False},
        "vllm.logger": {"init_logger": lambda name: SimpleNamespace(debug_once=logger.debug, warning_once=logger.warning)},
        "vllm.platforms": {"current_platform": platform},
        "vllm.triton_utils": {"triton": triton, "tl": triton.language},
        "vllm.v1.kv_cache_interface": {"KVQuantMode": _KVQuantMode},
    }
    return load_module(f"{OPS}.{name}", stand_ins)
