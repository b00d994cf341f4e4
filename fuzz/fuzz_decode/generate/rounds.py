"""A campaign in rounds: consecutive cases that run the same compiled kernel.

Compiling takes seconds and a case milliseconds, and nearly every independently drawn case needs another kernel. So each round
begins with a case of the campaign's stream, and continues with cases that compile to the same kernel and are drawn freely
otherwise. A round begins with that one of the next few cases of the stream whose kernel (guessed without the target) has had
the fewest cases, so that rare kernels get nearly as many cases as common ones. A round is a function of the seed, its number
and the target's compile key: any process can draw it, and neither the number of processes nor their speed changes a case.

For the same reason sizes follow a schedule, not a clock. The first SINGLE rounds have one case each, since the first cases of
the stream, with the most new pairs of traits, find most bugs. Then round n has between 2 n and 4 n cases (LARGEST at most):
short campaigns cover many kernels, and twice the rounds have four times the cases, so that the share of compiling falls,
whatever it costs. The clock only decides which round runs when (`workers.pool`).
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence, altered, values
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import BLOCK_SIZES, CACHE_DTYPES, DTYPES, GROUPS, HEAD_DIMS, NUM_KV_HEADS, VALUE_HEAD_DIMS
from fuzz_decode.cases.layout import CACHE_AXES, dense
from fuzz_decode.cases.optional_arguments import answer_options
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.choices import RandomChoices
from fuzz_decode.generate.draw_case import draw_case
from fuzz_decode.generate.pairwise_order import order_by_new_pairs

SINGLE, LARGEST = 16, 1024
LOOKAHEAD = 8  # cases of the stream, at most, among which a round's first case is chosen
TRIES = 30  # draws for one case that compiles to the same; then the first one comes again, with other data
CompilesFor = Callable[[Case], object]

# limit of a CaseSpace, the field of a Case that it limits, and the values without a limit
SIZES: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("dtypes", "dtype", DTYPES),
    ("cache_dtypes", "cache_dtype", CACHE_DTYPES),
    ("head_dims", "head_dim", HEAD_DIMS),
    ("value_head_dims", "value_head_dim", VALUE_HEAD_DIMS),
    ("block_sizes", "block_size", BLOCK_SIZES),
    ("groups", "group", GROUPS),
    ("num_kv_heads", "num_kv_heads", NUM_KV_HEADS),
)


def switches() -> list[tuple[tuple[str, ...], tuple[object, ...], tuple[object, ...]]]:
    """Options, and V within K's buffer, which a kernel may be compiled for: their fields, with values used and unused."""
    options = [(option.fields, option.used, option.unused) for option in answer_options()]
    return [*options, (("v",), (None,), (dense(CACHE_AXES),))]


@dataclass(frozen=True, slots=True)
class CompileRound:
    """Cases that run the same compiled kernel: the first `take` of `size`."""

    first: Case
    """The first case of them, whose kernel it is."""
    size: int
    """Number of cases of the whole round."""
    take: int
    """Number of cases to run: fewer where the campaign ends."""
    seed: str
    """Draws the other cases."""
    space: CaseSpace
    """The target's, within which they are drawn."""

    def __len__(self) -> int:
        return self.take


def rounds(seed: int, space: CaseSpace, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, CompileRound]]:
    """(number of its first case, round) of each round from the one with case `start` on, up to case `stop`."""
    begin, coming, covered = 0, case_stream(seed, space), Counter[object]()
    for number in itertools.count():
        size, first = size_of(number), _least_covered(coming, covered)
        covered[_kernel(first)] += size
        take = size if stop is None else min(size, stop - begin)
        if take <= 0:
            return
        if begin + take > start:
            yield begin, CompileRound(first, size, take, f"{seed}/{number}/round", space)
        begin += size


def _least_covered(coming: Iterator[Case], covered: Counter[object]) -> Case:
    """The next case whose kernel was not covered yet; if LOOKAHEAD cases have none, the one whose kernel was covered least."""
    seen: list[Case] = []
    while len(seen) < LOOKAHEAD and not (seen and covered[_kernel(seen[-1])] == 0):
        seen.append(next(coming))
    return min(seen, key=lambda case: covered[_kernel(case)])


def _kernel(case: Case) -> object:
    """A guess at the compile key, from what nearly every kernel is compiled for."""
    return case.dtype, case.cache_dtype, case.head_dim.bit_length(), case.value_head_dim.bit_length(), case.alibi


def size_of(number: int) -> int:
    """The number of cases of round `number`."""
    return 1 if number < SINGLE else min(LARGEST, 2 << number.bit_length())


def draw_round(round: CompileRound, compiles_for: CompilesFor) -> CallSequence:
    """The round's cases."""
    others = itertools.islice(same_kernel_cases(round, compiles_for), round.size - 1)
    return (round.first, *order_by_new_pairs(others))[: round.take]


def same_kernel_cases(round: CompileRound, compiles_for: CompilesFor) -> Iterator[Case]:
    """Cases without end that compile to the same as the round's first."""
    first, key, source = round.first, compiles_for(round.first), RandomChoices(random.Random(round.seed))
    space = _narrowed(round.space, first, compiles_for)
    fixed = _compiled_options(first, compiles_for)
    while True:
        draws = (draw_case(source, space) for _ in range(TRIES))
        forms = (form for case in draws for form in _forms(case, fixed, space))
        fitting = (form for form in forms if compiles_for(form) == key and is_valid(form))
        yield next(fitting, None) or dataclasses.replace(first, seed=source.integer(0, 2**16))


def _forms(case: Case, fixed: dict[str, Any], space: CaseSpace) -> Iterator[Case]:
    """A drawn case, and the same with fixed options, unless it has those already."""
    yield case
    if any(getattr(case, name) != value for name, value in fixed.items()):
        yield space.strides.nearest(altered(case, fixed))


def _narrowed(space: CaseSpace, first: Case, compiles_for: CompilesFor) -> CaseSpace:
    """The space with only those sizes that, put into the first case, compile to the same."""
    key, narrow = compiles_for(first), dict[str, Any]()
    square = first.value_head_dim == first.head_dim
    for limit, name, every in SIZES:
        given, size = getattr(space, limit), getattr(first, name)
        allowed = every if given is None else given
        if (name == "value_head_dim" and (square or allowed == "head_dim")) or size not in allowed:
            continue  # V's rows are mostly drawn as long as K's, which fits a square case, and seldom fits another
        together = (name, "value_head_dim") if name == "head_dim" and square else (name,)
        others = {value: altered(first, dict.fromkeys(together, value)) for value in allowed}
        narrow[limit] = tuple(value for value, other in others.items() if value == size or compiles_for(other) == key)
    return dataclasses.replace(space, **narrow)


def _compiled_options(first: Case, compiles_for: CompilesFor) -> dict[str, Any]:
    """The first case's values of the options that change its compile key when they are switched on or off."""
    key, fixed = compiles_for(first), dict[str, Any]()
    for names, used, unused in switches():
        toggled = unused if values(first, names) != dict(zip(names, unused, strict=True)) else used
        if compiles_for(altered(first, dict(zip(names, toggled, strict=True)))) != key:
            fixed |= values(first, names)
    return fixed
