"""Faults that real decode kernels had, each a small edit of the one kernel source.

An edit replaces a piece of text that must occur exactly once in paged_decode.py; one that no longer applies fails loudly, so a
mutant cannot silently become the healthy kernel. Add one by naming what the faulty kernel did, where that was seen, and the edit.
"""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("paged_decode.py")
_serial = itertools.count()

VALUE_MASK = "mask=m_t[:, None] & m_v, other=0.0)"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`fault` says in a line what the kernel does wrong, `seen` where a released kernel did, `edits` are (old, new) texts."""

    fault: str
    seen: str
    edits: tuple[tuple[str, str], ...]


MUTANTS: dict[str, Mutant] = {
    "k-block-stride-dense": Mutant(
        "block base of K rebuilt as block_size * slot stride",
        "https://github.com/ROCm/aiter/pull/3498",
        (("(i_block * s_kb + o_s * s_ks)", "(i_block * (block_size * s_ks) + o_s * s_ks)"),),
    ),
    "v-block-stride-dense": Mutant(
        "block base of V rebuilt as block_size * slot stride",
        "https://github.com/vllm-project/vllm/pull/45111",
        (("(i_block * s_vb + o_s * s_vs)", "(i_block * (block_size * s_vs) + o_s * s_vs)"),),
    ),
    "v-uses-k-strides": Mutant(
        "V is read with K's strides",
        "https://github.com/Dao-AILab/flash-attention/commit/e3b2400a",
        (("*v_cache.stride(),", "*k_cache.stride(),"),),
    ),
    "head-stride-dense": Mutant(
        "head stride of K taken to be head_dim, as in a dense NHD cache",
        "https://github.com/vllm-project/vllm/pull/37228",
        (("i_kv * s_kh", "i_kv * head_dim"),),
    ),
    "gqa-modulo": Mutant(
        "query head h reads KV head h % num_kv_heads instead of h // group",
        "https://github.com/apache/tvm/pull/17074",
        (("i_head = i_kv * group + o_row % group", "i_head = o_row % group * num_kv_heads + i_kv"),),
    ),
    "table-row-stride-needed-width": Mutant(
        "row stride of the block table taken to be the blocks that the longest sequence needs",
        "https://github.com/NVIDIA/TensorRT-LLM/pull/17285",
        (("*block_table.stride(),", "triton.cdiv(int(seq_lens.max()), block_size), block_table.stride(1),"),),
    ),
    "tail-v-unmasked": Mutant(
        "V of the last block's unused slots is loaded and multiplied by weight 0",
        "https://github.com/vllm-project/vllm/pull/936",
        (
            ("s_tc, mask=m_t, other=0)", "s_tc, mask=o_t < (seq_len + block_size - 1) // block_size * block_size, other=0)"),
            (VALUE_MASK, "mask=(o_t < (seq_len + block_size - 1) // block_size * block_size)[:, None] & m_v, other=0.0)"),
        ),
    ),
    "tail-off-by-one": Mutant(
        "one token past the end of the sequence is visible",
        "https://github.com/vllm-project/vllm-xpu-kernels/pull/181",
        (("num_seen = tl.load(seq_lens + i_seq) - q_len + 1", "num_seen = tl.load(seq_lens + i_seq) - q_len + 2"),),
    ),
    "empty-split-not-neutral": Mutant(
        "a split without tokens reports lse = 0 instead of -inf",
        "https://github.com/sgl-project/sglang/pull/2479",
        (("b_lse = b_max + tl.log(b_sum)\n", "b_lse = tl.where(b_sum > 0.0, b_max + tl.log(b_sum), 0.0)\n"),),
    ),
    "last-split-dropped": Mutant(
        "the merge leaves out the last of several splits",
        "https://github.com/openvinotoolkit/openvino/pull/38034",
        (("in range(num_splits):", "in range(tl.maximum(num_splits - 1, 1)):"),),
    ),
    "empty-split-unwritten": Mutant(
        "a split without tokens leaves its scratch as it was",
        "https://github.com/vllm-project/vllm/pull/47188",
        (("lse + i_part, b_lse, mask=m_row)", "lse + i_row, b_lse, mask=m_row & (o_row * 0 + last > first))"),),
    ),
    "out-store-too-wide": Mutant(
        "one element past value_head_dim is stored in every output row",
        "https://github.com/ROCm/aiter/pull/3698",
        (
            ("(o_dv < value_head_dim)[None, :]", "(o_dv <= value_head_dim)[None, :]"),
            ("BLOCK_DV=block_dv,\n    )  # fmt: skip\n    return", "BLOCK_DV=2 * block_dv,\n    )  # fmt: skip\n    return"),
        ),
    ),
    "lse-base-2": Mutant(
        "LSE returned in base 2",
        "https://github.com/vllm-project/vllm/pull/52796",
        (("b_max + tl.log(b_sum), mask=m_r)", "(b_max + tl.log(b_sum)) * 1.4426950408889634, mask=m_r)"),),
    ),
}


def mutant_source(name: str) -> str:
    """The kernel's source with the mutant's edits. Raises ValueError if an edit does not apply exactly once."""
    source = SOURCE.read_text()
    for old, new in MUTANTS[name].edits:
        if source.count(old) != 1:
            raise ValueError(f"mutant {name}: {old!r} occurs {source.count(old)} times in {SOURCE.name}, not once")
        source = source.replace(old, new)
    return source


def load_mutant(name: str) -> Callable[..., Any]:
    """The faulty `paged_decode`. Imports Triton, so settle TRITON_INTERPRET first."""
    return load_source(mutant_source(name), f"mutant_{name}")


def load_source(source: str, name: str) -> Callable[..., Any]:
    """`paged_decode` of a kernel source text. Triton reads a kernel's source back through linecache, hence the entry there."""
    filename = f"<{name}-{next(_serial)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    exec(compile(source, filename, "exec"), module.__dict__)
    fn: Callable[..., Any] = module.paged_decode
    return fn
