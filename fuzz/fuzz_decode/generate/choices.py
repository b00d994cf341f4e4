"""The source of a drawn case's choices: in property tests Hypothesis, which shrinks them; in campaigns a generator of random
numbers. The latter takes a hundredth of the time, and draws every case independently, where Hypothesis follows each example
with mutations of it and mixes in constants of the loaded modules.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Choices(Protocol):
    """Simplest choices come first: `low`, the first value, False, the given order."""

    def integer(self, low: int, high: int) -> int: ...

    def one_of(self, values: Sequence[T]) -> T: ...

    def coin(self) -> bool: ...

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]: ...


@dataclass(frozen=True, slots=True)
class RandomChoices:
    """Choices that depend on nothing but the generator."""

    source: random.Random

    def integer(self, low: int, high: int) -> int:
        """The number that `randint` gives, in half of its time: a campaign draws hundreds for each case."""
        count, draw = high - low + 1, self.source.getrandbits
        bits = count.bit_length()
        number = draw(bits)
        while number >= count:
            number = draw(bits)
        return low + number

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.integer(0, len(values) - 1)] if len(values) > 1 else values[0]

    def coin(self) -> bool:
        return self.source.random() < 0.5

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        order = list(values)
        for index in range(len(order) - 1):
            other = self.integer(index, len(order) - 1)
            order[index], order[other] = order[other], order[index]
        return tuple(order)


class SimplestChoices:
    """Always the simplest choice."""

    def integer(self, low: int, high: int) -> int:
        return low

    def one_of(self, values: Sequence[T]) -> T:
        return values[0]

    def coin(self) -> bool:
        return False

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values)


def happens(source: Choices, percent: int) -> bool:
    """True in `percent` of 100 draws; shrinks to False."""
    return source.integer(0, 99) >= 100 - percent


def early(source: Choices, values: Sequence[T]) -> T:
    """One of the values, three times in four from the first half: small cases are cheap, and most bugs live there."""
    common = values[: (len(values) + 1) // 2]
    return source.one_of(values if happens(source, 25) else common)


def sometimes(source: Choices, percent: int, values: Sequence[T]) -> T | None:
    return source.one_of(values) if happens(source, percent) else None
