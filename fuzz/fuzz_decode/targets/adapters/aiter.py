"""aiter's Triton decode kernels, loaded from the installed package's own files (aiter/ops/triton).

The split-K kernel is the one that ROCm/aiter PR 3498 mended: up to 0.1.7.post2 it computes a block's address as
block * block_size * slot stride, right only where that is the block stride.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.partial_import import load_module
from fuzz_decode.targets.target import DEVICES, Arithmetic, target

TRITON = "aiter.ops.triton"
FILES = {"decode": "_triton_kernels.flash_attn_triton_amd.fwd_decode", "unified": "unified_attention"}
MAX_BLOCKS = 64
CPU_CORES = 80  # stands for the compute units of a GPU where there is none


def _few_blocks(case: Case) -> str | None:
    """Every program of every split visits every block: seconds a case in the interpreter."""
    blocks = max(case.seq_lens) // case.block_size
    return f"more than {MAX_BLOCKS} blocks in a sequence" if blocks > MAX_BLOCKS else None


@target(value_head_dims="head_dim", supports=_few_blocks, arithmetic=Arithmetic(scores="input"))
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
) -> tuple[Tensor, Tensor]:
    """q * scale is rounded to q's dtype; all strides are passed but K's and V's block strides."""
    lse = q.new_empty((*q.shape[:2], 1), dtype=torch.float32)
    _module(FILES["decode"]).attention_forward_decode_triton_impl(
        q[:, None],
        k_cache,
        v_cache,
        None,
        None,
        out[:, None],
        lse,
        scale,
        True,
        -1 if window is None else window - 1,
        -1 if window is None else 0,
        None,
        "bshd",
        seq_lens,
        None,
        block_table,
    )
    return out, lse[..., 0]


@target(
    value_head_dims="head_dim",
    block_sizes=(16, 32, 64, 128, 256),
    min_seq_len=1,
    strides=StrideRules(contiguous=("q", "out", "table")),
    arithmetic=Arithmetic(scaled_after_sum=True),
    devices=DEVICES if torch.version.hip else ("cpu",),  # its launch options are AMD's
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
) -> Tensor:
    """A tile is a block, so block sizes are powers of two, and tl.dot wants 16."""
    _module(FILES["unified"]).unified_attention(
        q,
        k_cache,
        v_cache,
        out,
        torch.arange(len(seq_lens) + 1, dtype=torch.int32, device=q.device),
        1,
        seq_lens,
        int(seq_lens.max()),
        scale,
        True,
        (-1, -1) if window is None else (window - 1, 0),
        block_table,
        softcap or 0.0,
        None,
        None,
        None,
    )
    return out


def load(function: str) -> None:
    """Load the file that a function of this module runs. Raises TargetError if this version of aiter has it elsewhere."""
    _module(FILES[function])


@functools.cache
def _module(name: str) -> Any:
    stand_ins: dict[str, dict[str, Any]] = {
        f"{TRITON}.utils.device_info": {"get_num_sms": _num_sms},
        f"{TRITON}.utils.types": {"e4m3_dtype": torch.float8_e4m3fnuz if torch.version.hip else torch.float8_e4m3fn},
    }
    return load_module(f"{TRITON}.{name}", stand_ins)


def _num_sms() -> int:
    return torch.cuda.get_device_properties().multi_processor_count if torch.cuda.is_available() else CPU_CORES
