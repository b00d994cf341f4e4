"""Which of the drawn cases to run next: the one that shows most pairs of traits for the first time.

A bug mostly needs one or two unusual things at once (a window and several query tokens, padding and a second block), and
independent draws repeat the usual ones long before every pair has come up. So cases are run in another order than they were
drawn in: of the next POOL, the richest in new pairs goes first. Nothing is drawn twice and nothing left out, so that a long
campaign runs what it would have run anyway.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout, family

POOL = 256
LONG = (16, 128, 512)
BLOCKS = (1, 15, 64)
INT32 = 2**31


def order_by_new_pairs(cases: Iterable[Case]) -> Iterator[Case]:
    """The same cases, reordered within a pool; the same order for the same cases."""
    numbers: dict[object, int] = {}
    coming, seen = enumerate(cases), 0
    pool: list[tuple[int, int, int, Case]] = []  # a heap: the richest, and of equals the oldest, first
    while True:
        for place, case in itertools.islice(coming, POOL - len(pool)):
            shown = _bits(case, numbers)
            heapq.heappush(pool, (-(shown & ~seen).bit_count(), place, shown, case))
        if not pool:
            return
        worth, place, shown, case = heapq.heappop(pool)
        now = -(shown & ~seen).bit_count()
        if now > worth:  # it has become poorer since it was looked at
            heapq.heappush(pool, (now, place, shown, case))
            continue
        seen |= shown
        yield case


def _bits(case: Case, numbers: dict[object, int]) -> int:
    """The case's pairs as bits of a number; `numbers` knows the traits."""
    bits = lower = 0
    for number in sorted(numbers.setdefault(trait, len(numbers)) for trait in traits(case).items()):
        bits |= lower << number * (number - 1) // 2
        lower |= 1 << number
    return bits


def pairs(case: Case) -> Iterator[object]:
    """Every two traits of the case."""
    return itertools.combinations(traits(case).items(), 2)


def traits(case: Case) -> dict[str, object]:
    """What kernels branch on, and bugs hang on, in a few values each."""
    return {**_sizes(case), **_lengths(case), **_options(case), **_places(case)}


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
    return {
        "window": None if case.window is None else _step(max(case.seq_lens) - case.window, (-1, 0, 16)),
        "softcap": case.softcap is not None,
        "scale": case.scale is not None,
        "q_len": min(case.q_len, 3),
        "cache_dtype": case.cache_dtype or "",
        "alibi": case.alibi,
        "sinks": case.sinks,
    }


def _places(case: Case) -> dict[str, object]:
    table = case.table
    spans = [layout.extent(sizes) for name, (layout, sizes) in case.layouts().items() if name in ("k", "v")]
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
    """The axes that are padded, `block` and inner ones told apart only."""
    padded = {axis for axis, pad in zip(layout.order, layout.pad, strict=True) if pad}
    return tuple(sorted(axis if axis in ("block", "dim") else "inner" for axis in padded))


def _step(number: int, steps: tuple[int, ...]) -> int:
    """How many steps the number is beyond."""
    return sum(number > step for step in steps)


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
