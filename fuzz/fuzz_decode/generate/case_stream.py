"""Endless, reproducible streams of cases for a campaign. Each can begin anywhere, without drawing every earlier case."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.generate.call_sequences import calls_from
from fuzz_decode.generate.choices import RandomChoices, SimplestChoices
from fuzz_decode.generate.draw_case import draw_case
from fuzz_decode.generate.pairwise_order import order_by_new_pairs

CHUNK = 100  # cases that one source of random numbers draws
EPOCH = 50 * CHUNK  # cases, after which the pairwise order begins anew: by then every possible pair has come up


def case_stream(seed: int, space: CaseSpace, start: int = 0) -> Iterator[Case]:
    """The campaign's cases for a seed, from number `start` on: the same ones in the same order however they are run."""
    for epoch in itertools.count(start // EPOCH):
        first = epoch * EPOCH
        ordered = order_by_new_pairs(itertools.islice(drawn_stream(seed, space, first), EPOCH))
        yield from itertools.islice(ordered, max(0, start - first), None)


def drawn_stream(seed: int, space: CaseSpace, start: int = 0) -> Iterator[Case]:
    """The same cases in the order in which they are drawn. `start` is a multiple of CHUNK."""
    for number in itertools.count(start // CHUNK):
        source = RandomChoices(random.Random(f"{seed}/{number}"))
        yield draw_case(SimplestChoices(), space)
        yield from (draw_case(source, space) for _ in range(CHUNK - 1))


def call_stream(seed: int, space: CaseSpace, length: int, start: int = 0) -> Iterator[CallSequence]:
    """The same for call sequences: each begins with the next case of `case_stream`, followed by mutations of it."""
    if length == 1:
        yield from ((case,) for case in case_stream(seed, space, start))
    cases = case_stream(seed, space, start - start % CHUNK)
    for number in itertools.count(start // CHUNK):
        source, chunk = random.Random(f"{seed}/{number}/calls"), list(itertools.islice(cases, CHUNK))
        rows = [calls_from(first, chunk, length, source, space.strides) for first in chunk]
        yield from rows[max(0, start - number * CHUNK) :]


def cut(runs: Iterator[CallSequence], start: int, stop: int | None) -> Iterator[CallSequence]:
    """The runs, of which the first has the case with number `start`, up to the case with number `stop`."""
    left = math.inf if stop is None else stop - start
    for calls in runs:
        if left <= 0:
            return
        yield calls if len(calls) <= left else calls[: int(left)]
        left -= len(calls)
