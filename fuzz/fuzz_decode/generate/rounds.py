"""A campaign in rounds: where a target compiles its kernel for some things of a case, many cases in a row share those.

Compiling takes seconds and a case milliseconds, and drawn freely nearly every case asks for another kernel. So each round begins
with another case of the campaign's stream, which is drawn as ever, and goes on with cases that compile to the same and are
drawn freely in all else. Of the next few cases of the stream the one begins whose kernel, as far as can be told without asking
the target, has had the fewest cases, so that rare kernels get nearly as many as common ones. A round is a function of the seed,
its number and what the target compiles for: any process draws it by itself, and neither their number nor their speed changes
a case.

That is also why sizes follow a schedule, and no clock. The first SINGLE rounds have one case each, since most bugs fall to the
first few cases of the stream, which are the richest. Then round n has between 2 n and 4 n cases (LARGEST at most):
short campaigns see many kernels, and with twice the rounds there are four times the cases, so that compiling takes an ever
smaller share, whatever it costs. What the clock does decide is which round is run when (`pool`).
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.call_sequence import FLOAT8, CallSequence, altered, values
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import BLOCK_SIZES, CACHE_DTYPES, DTYPES, GROUPS, HEAD_DIMS, NUM_KV_HEADS, VALUE_HEAD_DIMS
from fuzz_decode.cases.layout import CACHE_AXES, dense
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.choices import RandomChoices
from fuzz_decode.generate.pairwise_order import order_by_new_pairs
from fuzz_decode.generate.strategies import draw_case

SINGLE, LARGEST = 16, 1024
LOOK = 8  # cases of the stream, at most, for one that begins a round
TRIES = 30  # draws for one case that compiles to the same; then the first one comes again, with other data
CompilesFor = Callable[[Case], object]

# arguments of draw_case, the field that they limit, and what they are if not given
SIZES = (
    ("dtypes", "dtype", DTYPES),
    ("cache_dtypes", "cache_dtype", CACHE_DTYPES),
    ("head_dims", "head_dim", HEAD_DIMS),
    ("value_head_dims", "value_head_dim", VALUE_HEAD_DIMS),
    ("block_sizes", "block_size", BLOCK_SIZES),
    ("groups", "group", GROUPS),
    ("num_kv_heads", "num_kv_heads", NUM_KV_HEADS),
)
# fields that can be taken over from another case, each with what it is when it is used and when it is not
PARTS: tuple[tuple[tuple[str, ...], tuple[object, ...], tuple[object, ...]], ...] = (
    (("alibi",), (True,), (False,)),
    (("sinks",), (True,), (False,)),
    (("window",), (16,), (None,)),
    (("softcap",), (30.0,), (None,)),
    (("scale",), (1.0,), (None,)),
    (("q_len",), (2,), (1,)),
    (FLOAT8, (CACHE_DTYPES[0], 0.5, 0.5), (None, None, None)),
    (("v",), (None,), (dense(CACHE_AXES),)),
)


@dataclass(frozen=True, slots=True)
class CompileRound:
    """The first `take` of `size` cases that compile to the same as `first`, with which they begin; `seed` draws the others."""

    first: Case
    size: int
    take: int
    seed: str
    generates: dict[str, Any]

    def __len__(self) -> int:
        return self.take


def rounds(seed: int, generates: dict[str, Any], start: int = 0, stop: int | None = None) -> Iterator[tuple[int, CompileRound]]:
    """(number of its first case, round) of each round from the one with case `start` on, up to case `stop`."""
    begin, coming, covered = 0, case_stream(seed, generates), Counter[object]()
    for number in itertools.count():
        size, first = size_of(number), _least_covered(coming, covered)
        covered[_kernel(first)] += size
        take = size if stop is None else min(size, stop - begin)
        if take <= 0:
            return
        if begin + take > start:
            yield begin, CompileRound(first, size, take, f"{seed}/{number}/round", generates)
        begin += size


def _least_covered(coming: Iterator[Case], covered: Counter[object]) -> Case:
    """The next case whose kernel was not covered yet; if there is none among LOOK, the one whose kernel was covered least."""
    seen: list[Case] = []
    while len(seen) < LOOK and not (seen and covered[_kernel(seen[-1])] == 0):
        seen.append(next(coming))
    return min(seen, key=lambda case: covered[_kernel(case)])


def _kernel(case: Case) -> object:
    """What nearly every kernel is compiled for, roughly."""
    return case.dtype, case.cache_dtype, case.head_dim.bit_length(), case.value_head_dim.bit_length(), case.alibi


def size_of(number: int) -> int:
    """How many cases the round of that number has."""
    return 1 if number < SINGLE else min(LARGEST, 2 << number.bit_length())


def draw_round(round: CompileRound, compiles_for: CompilesFor) -> CallSequence:
    """The round's cases."""
    others = itertools.islice(alike(round, compiles_for), round.size - 1)
    return (round.first, *order_by_new_pairs(others))[: round.take]


def alike(round: CompileRound, compiles_for: CompilesFor) -> Iterator[Case]:
    """Cases without end that compile to the same as the round's first."""
    first, wanted, source = round.first, compiles_for(round.first), RandomChoices(random.Random(round.seed))
    narrow = {**round.generates, **_narrowed(first, round.generates, compiles_for)}
    fixed = _fixed(first, compiles_for)
    strides = round.generates.get("strides", StrideRules())
    while True:
        draws = (draw_case(source, **narrow) for _ in range(TRIES))
        forms = (form for case in draws for form in (case, strides.nearest(altered(case, fixed))))
        fitting = (form for form in forms if compiles_for(form) == wanted and is_valid(form))
        yield next(fitting, None) or dataclasses.replace(first, seed=source.integer(0, 2**16))


def _narrowed(first: Case, generates: dict[str, Any], compiles_for: CompilesFor) -> dict[str, Any]:
    """The sizes to draw from: those that in the first case would compile to the same."""
    wanted, narrow = compiles_for(first), dict[str, Any]()
    square = first.value_head_dim == first.head_dim
    for limit, name, default in SIZES:
        allowed, own = generates.get(limit, default), getattr(first, name)
        if (name == "value_head_dim" and (square or allowed == "head_dim")) or own not in allowed:
            continue  # V's rows are mostly as long as K's: drawn so, or seldom not
        together = (name, "value_head_dim") if name == "head_dim" and square else (name,)
        others = {value: altered(first, dict.fromkeys(together, value)) for value in allowed}
        narrow[limit] = tuple(value for value, other in others.items() if value == own or compiles_for(other) == wanted)
    return narrow


def _fixed(first: Case, compiles_for: CompilesFor) -> dict[str, Any]:
    """What of the first case's options it is compiled for."""
    wanted, fixed = compiles_for(first), dict[str, Any]()
    for names, used, unused in PARTS:
        toggled = unused if values(first, names) != dict(zip(names, unused, strict=True)) else used
        if compiles_for(altered(first, dict(zip(names, toggled, strict=True)))) != wanted:
            fixed |= values(first, names)
    return fixed
