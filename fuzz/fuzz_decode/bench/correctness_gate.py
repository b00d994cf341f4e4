"""The correctness gate: a call is timed only after it has given the right answer on the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.bench.inputs import Inputs
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.targets.target import Target
from fuzz_decode_reference import ErrorBound, Rounding, error_bound, gather_attention

FEW_TOKENS = 2**14  # a batch of at most this many is checked whole; float64 over a large cache would take longer than the timing


@dataclass(slots=True)
class CorrectnessGate:
    """The reference's answers for one set of inputs, computed once for all contenders."""

    inputs: Inputs
    _expected: Tensor | None = None
    _bounds: dict[Rounding, ErrorBound] = field(default_factory=dict)

    def error_of(self, call: Callable[[], Any], target: Target) -> str:
        """Run the call and compare: a sentence if an element of out is not finite, or a checked one exceeds the error bound, else
        "". Exceptions of the call pass through."""
        self.inputs.out.fill_(torch.nan)
        result = call()
        out = self.inputs.out if "out" in target.options else result[0] if isinstance(result, tuple) else result
        if not isinstance(out, Tensor) or out.shape != self.inputs.out.shape:
            return (
                f"out is {list(out.shape) if isinstance(out, Tensor) else type(out).__name__}, not {list(self.inputs.out.shape)}"
            )
        non_finite = int((~torch.isfinite(out)).sum())
        if non_finite:
            return f"{non_finite} of {out.numel()} elements of out are NaN or infinite"
        error = (out[self._rows()].double() - self.expected()).abs()
        wrong = int((error > self._allowed(target)).sum())
        return f"{wrong} of the {error.numel()} elements checked are wrong, by up to {float(error.max()):.3g}" if wrong else ""

    def expected(self) -> Tensor:
        """out of the checked sequences, [rows, num_q_heads, value_head_dim] float64."""
        if self._expected is None:
            self._expected, _ = gather_attention(*self._checked(), **self.inputs.options())
        return self._expected

    def sequences(self) -> list[int]:
        """Indices of the checked sequences: all of a small batch, else the first, the last and the longest."""
        lengths = self.inputs.case.seq_lens
        if sum(lengths) <= FEW_TOKENS:
            return [*range(len(lengths))]
        return sorted({0, len(lengths) - 1, lengths.index(max(lengths))})

    def _allowed(self, target: Target) -> Tensor:
        case = self.inputs.case
        rounding = rounding_of(target.arithmetic_of(case), case, interpreted=not self.inputs.q.is_cuda)
        if rounding not in self._bounds:
            self._bounds[rounding] = error_bound(*self._checked(), rounding, **self.inputs.options())
        return self._bounds[rounding].out

    def _checked(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        q, k, v, table, lens, scale = self.inputs.arguments(*self.inputs.caches[0])
        return q[self._rows()], k, v, table[self.sequences()], lens[self.sequences()], scale

    def _rows(self) -> list[int]:
        q_len = self.inputs.case.q_len
        return [seq * q_len + query for seq in self.sequences() for query in range(q_len)]
