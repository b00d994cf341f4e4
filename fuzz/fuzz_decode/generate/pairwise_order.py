"""The order in which drawn cases run: first the case with the most pairs of traits that no earlier case had (2-way coverage).

A bug mostly needs one or two unusual traits at once (a window and several query tokens, padding and a second block), and
independent draws repeat the usual ones long before every pair has come up. So of the next POOL drawn cases, the one with the
most new pairs runs first. Every case still runs once, so that a long campaign runs the same cases in another order.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout, family
from fuzz_decode.cases.optional_arguments import answer_options

POOL = 256
LONG = (16, 128, 512)
BLOCKS = (1, 15, 64)
INT32 = 2**31


def order_by_new_pairs(cases: Iterable[Case]) -> Iterator[Case]:
    """The same cases, reordered within a pool; the same order for the same cases."""
    numbers: dict[object, int] = {}
    coming, seen = enumerate(cases), 0
    pool: list[tuple[int, int, int, Case]] = []  # a heap of (-gain, index, pairs, case): the largest gain, of equals the oldest
    while True:
        for index, case in itertools.islice(coming, POOL - len(pool)):
            shown = _pair_bits(case, numbers)
            heapq.heappush(pool, (-_gain(shown, seen), index, shown, case))
        if not pool:
            return
        stored, index, shown, case = heapq.heappop(pool)
        gain = _gain(shown, seen)
        if -gain > stored:  # gains only shrink as pairs are seen, so a case that still has the gain stored for it is the best
            heapq.heappush(pool, (-gain, index, shown, case))
            continue
        seen |= shown
        yield case


def _gain(shown: int, seen: int) -> int:
    """The number of pairs that were not seen before."""
    return (shown & ~seen).bit_count()


def _pair_bits(case: Case, numbers: dict[object, int]) -> int:
    """The case's pairs as bits of one integer: pair (i, j), j < i, is bit i * (i - 1) / 2 + j. `numbers` numbers the traits."""
    bits = lower = 0
    for number in sorted(numbers.setdefault(trait, len(numbers)) for trait in traits(case).items()):
        bits |= lower << number * (number - 1) // 2
        lower |= 1 << number
    return bits


def pairs(case: Case) -> Iterator[object]:
    """Every two traits of the case."""
    return itertools.combinations(traits(case).items(), 2)


def traits(case: Case) -> dict[str, object]:
    """Properties that kernels branch on and that bugs depend on, in a few values each."""
    return {**_sizes(case), **_lengths(case), **_options(case), **_memory(case)}


def _sizes(case: Case) -> dict[str, object]:
    return {
        "dtype": case.dtype,
        "data": case.data,
        "block_size": (_step(case.block_size, BLOCKS), _power_of_two(case.block_size)),
        "kv heads": min(case.num_kv_heads, 3),
        "group": (_step(case.group, (1, 8)), _power_of_two(case.group)),
        "query rows": _step(case.group * case.q_len, (1, 15, 16)),
        "head_dim": (_step(case.head_dim, (32, 128, 512)), _power_of_two(case.head_dim)),
        "value_head_dim": (case.value_head_dim > case.head_dim) - (case.value_head_dim < case.head_dim),
    }


def _lengths(case: Case) -> dict[str, object]:
    lengths, size = case.seq_lens, case.block_size
    return {
        "sequences": _step(case.num_seqs, (1, 2, 128)),
        "longest": _step(max(lengths), LONG),
        "empty": 0 if min(lengths) else 1 + (max(lengths) > 0),
        "in blocks": (any(n % size == 0 for n in lengths if n), any(n % size == 1 for n in lengths), max(lengths) > size),
        "growing": any(a < b for a, b in itertools.pairwise(lengths)),
    }


def _options(case: Case) -> dict[str, object]:
    """Each option used or not; a few of them in more detail."""
    return {option.field: option.is_used(case) for option in answer_options()} | {
        "window": None if case.window is None else _step(max(case.seq_lens) - case.window, (-1, 0, 16)),
        "q_len": min(case.q_len, 3),
        "cache_dtype": case.cache_dtype or "",
    }


def _memory(case: Case) -> dict[str, object]:
    table = case.table
    spans = [placed.extent for name, placed in case.layouts().items() if name in ("k", "v")]
    return {
        "family": family(case.k, case.v),
        "k padding": _padding(case.k),
        "v padding": None if case.v is None else _padding(case.v),
        "q": (case.q.order[0], case.q.padded),
        "out": (case.out.order[0], case.out.padded),
        "table": (table.layout.order[0], table.layout.padded, min(table.extra_columns, 1)),
        "unused": table.unused,
        "placement": (table.placement, min(table.shared_blocks, 1), min(table.spare_blocks, 1), min(table.first_block, 1)),
        "span": (max(spans) >= INT32, case.num_blocks > 2**16),
    }


def _padding(layout: Layout) -> tuple[str, ...]:
    """The axes that are padded, where all but `block` and `dim` count as one."""
    padded = {axis for axis, pad in zip(layout.order, layout.pad, strict=True) if pad}
    return tuple(sorted(axis if axis in ("block", "dim") else "inner" for axis in padded))


def _step(number: int, steps: tuple[int, ...]) -> int:
    """The number of steps that the number is beyond."""
    return sum(number > step for step in steps)


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
