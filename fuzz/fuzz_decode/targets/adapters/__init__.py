"""Decode kernels of other projects as targets. Each adapter is a function like any user's: a page of code that declares what its
kernel supports. Importing an adapter imports torch, but not the project's package; its `load(function)` does, or raises
TargetError if that version of the package does not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter, not yet imported."""

    module: Callable[[], ModuleType]
    """Imports the adapter's module, and torch with it."""
    function: str
    """The function's name in that module."""
    distribution: str | None
    """What must be installed; None: nothing but torch."""
    install: str
    """The command that installs it."""
    about: str
    """The kernel that it runs, in a line."""

    def decode_function(self) -> Callable[..., Any]:
        """The function under test, whether or not its package is installed."""
        function: Callable[..., Any] = getattr(self.module(), self.function)
        return function

    def load(self) -> None:
        """Load the kernel's package or file. Raises TargetError if it does not fit."""
        self.module().load(self.function)

    def import_name(self) -> str:
        """`module:function`, as `resolve` takes it."""
        return f"{self.module().__name__}:{self.function}"


def _vllm() -> ModuleType:
    from fuzz_decode.targets.adapters import vllm

    return vllm


def _sglang() -> ModuleType:
    from fuzz_decode.targets.adapters import sglang

    return sglang


def _aiter() -> ModuleType:
    from fuzz_decode.targets.adapters import aiter

    return aiter


def _flashinfer() -> ModuleType:
    from fuzz_decode.targets.adapters import flashinfer

    return flashinfer


def _flash_attn() -> ModuleType:
    from fuzz_decode.targets.adapters import flash_attn

    return flash_attn


def _torch() -> ModuleType:
    from fuzz_decode.targets.adapters import torch_attention

    return torch_attention


# fuzz-decode is on no index: these name the packages of its extras, with the versions that pyproject.toml states
_FLASHINFER, _FLASH_ATTN = "pip install 'flashinfer-python>=0.6.1'", "pip install --no-build-isolation 'flash-attn>=2.8'"
_FILES_ONLY = "pip install --no-deps {}"  # of the package only the kernel's own file is loaded

ADAPTERS = {
    "vllm-unified": Adapter(_vllm, "unified_2d", "vllm", _FILES_ONLY.format("vllm"), "vLLM's Triton unified_attention, one pass"),
    "vllm-unified-3d": Adapter(
        _vllm, "unified_3d", "vllm", _FILES_ONLY.format("vllm"), "the same, split over segments and reduced"
    ),
    "vllm-decode": Adapter(_vllm, "decode", "vllm", _FILES_ONLY.format("vllm"), "vLLM's triton_decode_attention (MLA)"),
    "sglang": Adapter(_sglang, "decode", "sglang", _FILES_ONLY.format("sglang"), "SGLang's Triton decode_attention_fwd"),
    "aiter": Adapter(
        _aiter,
        "decode",
        "amd-aiter",
        _FILES_ONLY.format("amd-aiter"),
        "aiter's split-K attention_forward_decode_triton_impl",
    ),
    "aiter-unified": Adapter(_aiter, "unified", "amd-aiter", _FILES_ONLY.format("amd-aiter"), "aiter's Triton unified_attention"),
    "flashinfer": Adapter(
        _flashinfer,
        "cuda_cores",
        "flashinfer-python",
        _FLASHINFER,
        "FlashInfer's BatchDecodeWithPagedKVCacheWrapper",
    ),
    "flashinfer-tensor-cores": Adapter(
        _flashinfer,
        "tensor_cores",
        "flashinfer-python",
        _FLASHINFER,
        "the same with use_tensor_cores",
    ),
    "flash-attn": Adapter(
        _flash_attn,
        "with_kvcache",
        "flash-attn",
        _FLASH_ATTN,
        "FlashAttention's flash_attn_with_kvcache",
    ),
    "torch-sdpa": Adapter(_torch, "sdpa", None, "", "gather, then torch scaled_dot_product_attention"),
    "torch-flex": Adapter(_torch, "flex", None, "", "torch FlexAttention with a paged block mask"),
}
