"""One run of a target beside what it should have given: what oracles look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.oracles.expected import Expected
from fuzz_decode.problems.problem import Problem


@dataclass(frozen=True, slots=True)
class KernelRun:
    """What a target returned (lse: only if it returns one), on the CPU, and the inputs' bytes before, where the problem lies.
    `left`: the problem with its memory after the run, if that is not the problem itself."""

    out: Tensor
    lse: Tensor | None
    expected: Expected
    before: dict[str, Tensor]
    left: Problem | None = None

    def results(self) -> list[tuple[str, Tensor, Tensor, Tensor]]:
        """(name, got, expected, allowed) of every tensor the target returned."""
        found = [("out", self.out, self.expected.out, self.expected.bound.out)]
        if self.lse is not None:
            found.append(("lse", self.lse, self.expected.lse, self.expected.bound.lse))
        return found


def index_of(flat: int, shape: torch.Size) -> tuple[int, ...]:
    """The index of a flat position."""
    index = []
    for size in reversed(shape):
        index.append(flat % size)
        flat //= size
    return tuple(reversed(index))
