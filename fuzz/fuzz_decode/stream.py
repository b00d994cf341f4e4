"""An endless, reproducible stream of cases for a campaign, drawn from the public strategies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed

from fuzz_decode.case import Case
from fuzz_decode.strategies import cases

CHUNK = 100


def case_stream(seed: int, generates: dict[str, Any]) -> Iterator[Case]:
    """The campaign's cases for a seed: the same ones in the same order however they are run.

    Drawn in chunks, one ahead in a thread, so that workers never wait for Hypothesis.
    """
    with ThreadPoolExecutor(1) as ahead:
        number = 0
        coming = ahead.submit(_chunk, seed, number, generates)
        while True:
            chunk = coming.result()
            number += 1
            coming = ahead.submit(_chunk, seed, number, generates)
            yield from chunk


def _chunk(seed: int, number: int, generates: dict[str, Any]) -> list[Case]:
    drawn: list[Case] = []

    @hypothesis_seed(f"{seed}/{number}")
    @settings(
        max_examples=CHUNK,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(**generates))
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn
