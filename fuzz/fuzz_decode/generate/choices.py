"""Where a drawn case's choices come from: Hypothesis, in property tests, which shrinks them; or nothing but a source of random
numbers, in campaigns. That takes a hundredth of the time, and draws every case afresh, where Hypothesis follows each example
with mutations of it and mixes in constants of whatever modules are loaded.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Choices(Protocol):
    """What is simplest comes first: `low`, the first value, False, the order as it is."""

    def integer(self, low: int, high: int) -> int: ...

    def one_of(self, values: Sequence[T]) -> T: ...

    def coin(self) -> bool: ...

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]: ...


@dataclass(frozen=True, slots=True)
class RandomChoices:
    """Choices that depend on the source and nothing else."""

    source: random.Random

    def integer(self, low: int, high: int) -> int:
        return self.source.randint(low, high)

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.source.randint(0, len(values) - 1)] if len(values) > 1 else values[0]

    def coin(self) -> bool:
        return self.source.random() < 0.5

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        order = list(values)
        for place in range(len(order) - 1):
            other = self.integer(place, len(order) - 1)
            order[place], order[other] = order[other], order[place]
        return tuple(order)


class SimplestChoices:
    """Always what is simplest."""

    def integer(self, low: int, high: int) -> int:
        return low

    def one_of(self, values: Sequence[T]) -> T:
        return values[0]

    def coin(self) -> bool:
        return False

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values)
