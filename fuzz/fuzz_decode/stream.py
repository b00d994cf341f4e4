"""An endless, reproducible stream of cases for a campaign, drawn from the public strategies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS

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
    """CHUNK cases that are independent of each other."""
    drawn: list[Case] = []

    @hypothesis_seed(f"{seed}/{number}")
    @settings(
        max_examples=CHUNK,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        backend=_independent_draws(),
    )
    @given(cases(**generates))
    def collect(case: Case) -> None:
        drawn.append(case)

    collect()
    return drawn


def _independent_draws() -> str:
    """Name of a Hypothesis backend that is Hypothesis itself, less its mutations.

    By default every example is followed by mutations of it. That helps a property test find equal values, and wastes a campaign:
    300 cases visited 22 combinations of family, dtype, group and block size for every 60 drawn, now nearly one each.
    """
    AVAILABLE_PROVIDERS.setdefault("fuzz-decode", AVAILABLE_PROVIDERS["hypothesis"])
    return "fuzz-decode"
