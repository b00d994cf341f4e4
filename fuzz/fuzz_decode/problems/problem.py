"""A case made real: the tensors that a target gets, and the allocations behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout
from fuzz_decode.problems.values import Values

GUARD = 64 * 1024  # bytes; a multiple of every alignment that a kernel may assume


@dataclass(frozen=True, slots=True)
class Buffer:
    """One allocation: all its elements, guards included, and how many of them precede the layout's element 0."""

    storage: Tensor
    guard: int

    def view(self, layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], **at: int) -> Tensor:
        """The tensor with these axes, at fixed positions of the others."""
        strides = layout.strides(sizes)
        offset = self.guard + layout.offset + sum(strides[axis] * place for axis, place in at.items() if axis in strides)
        return self.storage.as_strided([sizes[axis] for axis in axes], [strides[axis] for axis in axes], offset)


@dataclass(frozen=True, slots=True)
class Problem:
    """A case made real. `q`, `k_cache`, `v_cache`, `block_table`, `seq_lens` and `scale` are what a target gets, `out` what it
    may be asked to write into, `alibi_slopes` and `sinks` are None where they are not used; `buffers` are the allocations behind
    all of them, by name, and `memory` says what fills the rest of those."""

    case: Case
    values: Values
    q: Tensor
    k_cache: Tensor
    v_cache: Tensor
    block_table: Tensor
    seq_lens: Tensor
    scale: float
    out: Tensor
    alibi_slopes: Tensor | None
    sinks: Tensor | None
    buffers: dict[str, Buffer]
    memory: str = "poisoned"

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        """The six positional arguments of a target."""
        return self.q, self.k_cache, self.v_cache, self.block_table, self.seq_lens, self.scale

    def options(self) -> dict[str, Any]:
        """The options that change the answer, by the names of a target's parameters and the reference's."""
        case = self.case
        return {
            "window": case.window,
            "softcap": case.softcap,
            "alibi_slopes": self.alibi_slopes,
            "sinks": self.sinks,
            "k_scale": case.k_scale,
            "v_scale": case.v_scale,
            "q_len": case.q_len,
        }
