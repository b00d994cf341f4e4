"""Endless, reproducible streams of cases for a campaign. Each can begin anywhere, without drawing all that comes before."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.generate.call_sequences import calls_from
from fuzz_decode.generate.choices import RandomChoices, SimplestChoices
from fuzz_decode.generate.pairwise_order import order_by_new_pairs
from fuzz_decode.generate.strategies import draw_case

CHUNK = 100
EPOCH = 50 * CHUNK  # cases; then steering begins anew, since every pair that can come up has


def case_stream(seed: int, generates: dict[str, Any], start: int = 0) -> Iterator[Case]:
    """The campaign's cases for a seed, from number `start` on: the same ones in the same order however they are run."""
    for epoch in itertools.count(start // EPOCH):
        first = epoch * EPOCH
        steered = order_by_new_pairs(itertools.islice(drawn_stream(seed, generates, first), EPOCH))
        yield from itertools.islice(steered, max(0, start - first), None)


def drawn_stream(seed: int, generates: dict[str, Any], start: int = 0) -> Iterator[Case]:
    """The same cases as they are drawn, without steering. `start` is a multiple of CHUNK."""
    for number in itertools.count(start // CHUNK):
        source = RandomChoices(random.Random(f"{seed}/{number}"))
        yield draw_case(SimplestChoices(), **generates)
        yield from (draw_case(source, **generates) for _ in range(CHUNK - 1))


def call_stream(seed: int, generates: dict[str, Any], length: int, start: int = 0) -> Iterator[CallSequence]:
    """The same for sequences of calls: each begins with another case of `case_stream`, and has relatives of it after it."""
    if length == 1:
        yield from ((case,) for case in case_stream(seed, generates, start))
    cases = case_stream(seed, generates, start - start % CHUNK)
    for number in itertools.count(start // CHUNK):
        source, chunk = random.Random(f"{seed}/{number}/calls"), list(itertools.islice(cases, CHUNK))
        rows = [calls_from(first, chunk, length, source, generates.get("strides", StrideRules())) for first in chunk]
        yield from rows[max(0, start - number * CHUNK) :]
