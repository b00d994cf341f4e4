"""A case as tensors: those that a target gets, and the allocations behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout
from fuzz_decode.cases.optional_arguments import answer_options
from fuzz_decode.problems.values import Values

# bytes before and after every allocation: as many as a tile of 128 tokens of 256 bfloat16 elements, so that one that runs over an
# end reads poison; and a multiple of every alignment that a kernel may assume, so that the layout's element 0 keeps it
GUARD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Buffer:
    """One allocation with guards around it."""

    storage: Tensor
    """[guard + span + guard], flat."""
    guard: int
    """Elements that precede the layout's element 0."""

    def view(self, layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], **fixed: int) -> Tensor:
        """The tensor with these axes; the index on each other axis is fixed."""
        strides = layout.strides(sizes)
        offset = self.guard + layout.offset + sum(strides[axis] * index for axis, index in fixed.items() if axis in strides)
        return self.storage.as_strided([sizes[axis] for axis in axes], [strides[axis] for axis in axes], offset)


@dataclass(frozen=True, slots=True)
class Problem:
    """A case as tensors; all but `case`, `values` and `scale` lie on one device."""

    case: Case
    values: Values
    """What the tensors hold, wherever they lie."""
    q: Tensor
    """[num_rows, num_q_heads, head_dim]"""
    k_cache: Tensor
    """[num_blocks, block_size, num_kv_heads, head_dim]"""
    v_cache: Tensor
    """[num_blocks, block_size, num_kv_heads, value_head_dim]"""
    block_table: Tensor
    """[num_seqs, width] int32"""
    seq_lens: Tensor
    """[num_seqs] int32"""
    scale: float
    """The softmax scale."""
    out: Tensor
    """[num_rows, num_q_heads, value_head_dim]: where a target with an `out` parameter writes."""
    alibi_slopes: Tensor | None
    """[num_q_heads] float32; None where the case has none."""
    sinks: Tensor | None
    """[num_q_heads] float32; None where the case has none."""
    buffers: dict[str, Buffer]
    """The allocations behind the tensors, by name: k, q, out, block_table, seq_lens, and v, alibi_slopes, sinks if they exist."""
    memory: str = "poisoned"
    """What fills the rest of the buffers: one of `build.MEMORY`."""

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        """The six positional arguments of a target."""
        return self.q, self.k_cache, self.v_cache, self.block_table, self.seq_lens, self.scale

    def options(self) -> dict[str, Any]:
        """The options that change the answer, by the names of a target's parameters and the reference's."""
        tensors = {"alibi_slopes": self.alibi_slopes, "sinks": self.sinks}
        names = [name for option in answer_options() for name in option.parameters]
        return {name: tensors[name] if name in tensors else getattr(self.case, name) for name in names}
