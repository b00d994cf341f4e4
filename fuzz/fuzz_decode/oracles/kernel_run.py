"""One run of a target with the expected answer: the input of the oracles."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fuzz_decode.launches.record import LaunchRecord
from fuzz_decode.oracles.expected import Expected
from fuzz_decode.problems.problem import Problem


@dataclass(frozen=True)  # no slots: what several oracles ask is computed once
class KernelRun:
    """One call of a target."""

    out: Tensor
    """[num_rows, num_q_heads, value_head_dim] on the CPU."""
    lse: Tensor | None
    """[num_rows, num_q_heads] on the CPU, if the target returns one."""
    expected: Expected
    before: dict[str, Tensor]
    """Bytes of each input before the call, on the problem's device."""
    launches: LaunchRecord = field(default_factory=LaunchRecord)
    """What the engine noticed."""
    after: Problem | None = None
    """The problem with its memory after the call, if that is not the problem itself."""

    def results(self) -> list[tuple[str, Tensor, Tensor, Tensor]]:
        """(name, got, expected, allowed) of every tensor the target returned."""
        results = [("out", self.out, self.expected.out, self.expected.bound.out)]
        if self.lse is not None:
            results.append(("lse", self.lse, self.expected.lse, self.expected.bound.lse))
        return results

    @functools.cached_property
    def inexact_results(self) -> list[tuple[str, Tensor, Tensor, Tensor]]:
        """Those that are not finite numbers within the bound, all of them: nearly every run has none, and is judged quickly."""
        return [result for result in self.results() if not _is_within(*result[1:])]


def _is_within(got: Tensor, expected: Tensor, allowed: Tensor) -> bool:
    """Whether every element of both is finite, and as near as allowed. An infinite bound is not enough for NaN or infinity."""
    error = (got.double() - expected).abs()
    return bool((error <= allowed).all() & torch.isfinite(error).all())


def index_of(flat: int, shape: torch.Size) -> tuple[int, ...]:
    """The index of a flat position."""
    index = []
    for size in reversed(shape):
        index.append(flat % size)
        flat //= size
    return tuple(reversed(index))
