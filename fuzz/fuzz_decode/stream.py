"""Endless, reproducible streams of cases for a campaign, drawn from the public strategies."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider

from fuzz_decode.calls import Calls
from fuzz_decode.case import Case
from fuzz_decode.relatives import calls_from
from fuzz_decode.steering import richest_first
from fuzz_decode.strategies import cases
from fuzz_decode.strides import Strides

CHUNK = 100
BACKEND = "fuzz-decode"
_drawing = threading.Lock()  # IndependentDraws has one source; streams of several seeds draw ahead at the same time


def case_stream(seed: int, generates: dict[str, Any]) -> Generator[Case, None, None]:
    """The campaign's cases for a seed: the same ones in the same order however they are run."""
    yield from richest_first(drawn_stream(seed, generates))


def drawn_stream(seed: int, generates: dict[str, Any]) -> Generator[Case, None, None]:
    """The same cases as they are drawn, without steering."""
    for chunk in _chunks(seed, generates):
        yield from chunk


def call_stream(seed: int, generates: dict[str, Any], length: int) -> Generator[Calls, None, None]:
    """The same for sequences of calls: each begins with another case of `case_stream`, and has relatives of it after it."""
    cases = case_stream(seed, generates)
    if length == 1:
        yield from ((case,) for case in cases)
    for number in itertools.count():
        source, chunk = random.Random(f"{seed}/{number}/calls"), list(itertools.islice(cases, CHUNK))
        for first in chunk:
            yield calls_from(first, chunk, length, source, generates.get("strides", Strides()))


def _chunks(seed: int, generates: dict[str, Any]) -> Generator[list[Case], None, None]:
    """Drawn one ahead in a thread, so that workers never wait for Hypothesis."""
    AVAILABLE_PROVIDERS[BACKEND] = f"{__name__}.{IndependentDraws.__name__}"
    with ThreadPoolExecutor(1) as ahead:
        number = 0
        coming = ahead.submit(_chunk, seed, number, generates)
        while True:
            chunk = coming.result()
            number += 1
            coming = ahead.submit(_chunk, seed, number, generates)
            yield chunk


class IndependentDraws(PrimitiveProvider):
    """A Hypothesis backend that draws every case afresh, from nothing but the seed.

    Hypothesis's own follows each example with mutations of it and mixes in constants of whatever modules are loaded. Both help
    a property test; a campaign visits a third of the layouts for it, and its cases would change with the installation.
    """

    lifetime = "test_case"
    source = random.Random()

    def draw_boolean(self, p: float = 0.5) -> bool:
        return self.source.random() < p

    def draw_integer(self, min_value: int | None = None, max_value: int | None = None, **_: Any) -> int:
        assert min_value is not None
        assert max_value is not None
        return self.source.randint(min_value, max_value)

    def draw_float(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("cases() draws booleans and bounded integers only")

    draw_string = draw_bytes = draw_float


def _chunk(seed: int, number: int, generates: dict[str, Any]) -> list[Case]:
    """About CHUNK cases."""
    drawn: list[Case] = []

    @settings(
        max_examples=CHUNK,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        backend=BACKEND,
    )
    @given(cases(**generates))
    def collect(case: Case) -> None:
        drawn.append(case)

    with _drawing:
        IndependentDraws.source = random.Random(f"{seed}/{number}")
        collect()
    return drawn
