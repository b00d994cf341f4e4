"""A case as tensors: a target's arguments, and the allocations behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout
from fuzz_decode.cases.optional_arguments import answer_options
from fuzz_decode.problems.values import Values

GUARD = 64 * 1024  # bytes; a multiple of every alignment that a kernel may assume


@dataclass(frozen=True, slots=True)
class Buffer:
    """One allocation."""

    storage: Tensor
    """All of its elements, guards included."""
    guard: int
    """Elements before the layout's element 0, and after its last."""

    def view(self, layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], **at: int) -> Tensor:
        """The tensor with these axes, at fixed positions of the others."""
        strides = layout.strides(sizes)
        offset = self.guard + layout.offset + sum(strides[axis] * index for axis, index in at.items() if axis in strides)
        return self.storage.as_strided([sizes[axis] for axis in axes], [strides[axis] for axis in axes], offset)


@dataclass(frozen=True, slots=True)
class Problem:
    """A case as tensors."""

    case: Case
    values: Values
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
    out: Tensor
    """[num_rows, num_q_heads, value_head_dim]; a target that takes it writes here."""
    alibi_slopes: Tensor | None
    """[num_q_heads] float32; None where not used."""
    sinks: Tensor | None
    """[num_q_heads] float32; None where not used."""
    buffers: dict[str, Buffer]
    """The allocations behind all of them."""
    memory: str = "poisoned"
    """What fills the rest of the allocations: one of `build.MEMORY`."""

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        """The six positional arguments of a target."""
        return self.q, self.k_cache, self.v_cache, self.block_table, self.seq_lens, self.scale

    def options(self) -> dict[str, Any]:
        """The options that change the answer, by the names of a target's parameters and the reference's."""
        tensors = {"alibi_slopes": self.alibi_slopes, "sinks": self.sinks}
        names = [name for option in answer_options() for name in option.parameters]
        return {name: tensors[name] if name in tensors else getattr(self.case, name) for name in names}
