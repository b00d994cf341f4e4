"""Choices that Hypothesis makes, for property tests: it records them, and shrinks a failing example by making others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from fuzz_decode.generate.choices import Choices

T = TypeVar("T")


def strategy_of(draw_with: Callable[[Choices], T]) -> SearchStrategy[T]:
    """Whatever `draw_with` draws, as a strategy for `@given`."""

    @st.composite
    def drawn(draw: DrawFn) -> T:
        return draw_with(HypothesisChoices(draw))

    return drawn()


@dataclass(frozen=True, slots=True)
class HypothesisChoices:
    """Choices that Hypothesis records and shrinks."""

    draw: DrawFn

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, values: Sequence[T]) -> T:
        return self.draw(st.sampled_from(values))

    def coin(self) -> bool:
        return self.draw(st.booleans())

    def shuffled(self, values: Sequence[T]) -> tuple[T, ...]:
        return tuple(self.draw(st.permutations(values)))
