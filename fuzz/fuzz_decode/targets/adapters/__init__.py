"""Decode kernels of other projects as targets. Each adapter is a function like any user's, a page of code that says what its
kernel supports. Importing an adapter imports no package; its `load(function)` does, or raises what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where an adapter is, what it needs installed, and in a line what it runs. `distribution` None: nothing but torch."""

    module: str
    function: str
    distribution: str | None
    install: str
    about: str


_HERE = "fuzz_decode.targets.adapters"
_FILES_ONLY = "pip install --no-deps {}  # only the kernel's own file is loaded, no GPU stack is needed"

ADAPTERS = {
    "vllm-unified": Adapter(
        f"{_HERE}.vllm", "unified_2d", "vllm", _FILES_ONLY.format("vllm"), "vLLM's Triton unified_attention, one pass"
    ),
    "vllm-unified-3d": Adapter(
        f"{_HERE}.vllm", "unified_3d", "vllm", _FILES_ONLY.format("vllm"), "the same, split over segments and reduced"
    ),
    "vllm-decode": Adapter(f"{_HERE}.vllm", "decode", "vllm", _FILES_ONLY.format("vllm"), "vLLM's triton_decode_attention (MLA)"),
    "sglang": Adapter(
        f"{_HERE}.sglang", "decode", "sglang", _FILES_ONLY.format("sglang"), "SGLang's Triton decode_attention_fwd"
    ),
    "aiter": Adapter(
        f"{_HERE}.aiter",
        "decode",
        "amd-aiter",
        _FILES_ONLY.format("amd-aiter"),
        "aiter's split-K attention_forward_decode_triton_impl",
    ),
    "aiter-unified": Adapter(
        f"{_HERE}.aiter", "unified", "amd-aiter", _FILES_ONLY.format("amd-aiter"), "aiter's Triton unified_attention"
    ),
    "flashinfer": Adapter(
        f"{_HERE}.flashinfer",
        "cuda_cores",
        "flashinfer-python",
        "pip install fuzz-decode[flashinfer]",
        "FlashInfer's BatchDecodeWithPagedKVCacheWrapper",
    ),
    "flashinfer-tensor-cores": Adapter(
        f"{_HERE}.flashinfer",
        "tensor_cores",
        "flashinfer-python",
        "pip install fuzz-decode[flashinfer]",
        "the same with use_tensor_cores",
    ),
    "flash-attn": Adapter(
        f"{_HERE}.flash_attn",
        "with_kvcache",
        "flash-attn",
        "pip install --no-build-isolation fuzz-decode[flash-attn]",
        "FlashAttention's flash_attn_with_kvcache",
    ),
    "torch-sdpa": Adapter(f"{_HERE}.torch_attention", "sdpa", None, "", "gather, then torch scaled_dot_product_attention"),
    "torch-flex": Adapter(f"{_HERE}.torch_attention", "flex", None, "", "torch FlexAttention with a paged block mask"),
}
