"""A published grid of test cases: its axes, source and tolerance, and how it is cut to what a machine can run."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, Layout, dense
from fuzz_decode.cases.validity import validate
from fuzz_decode.oracles.tolerance import Tolerance

DRAWN_WINDOW = -1  # a window whose size the test draws


@dataclass(frozen=True, slots=True)
class Cut:
    """Limits of a machine that a grid is cut to."""

    length: int = 2**24
    """Tokens: a longer sequence becomes that long, or three blocks if that is more, plus its remainder by 32, so that a ragged
    end stays ragged."""
    batch: int = 2**17
    """Sequences."""
    kv_heads: int = 2**14
    group: int = 2**10
    """Query heads per KV head."""
    q_len: int = 2**10
    """Query tokens of a sequence."""
    spare: int = 2**20
    """Unused blocks in the pool."""
    elements: int = 2**27
    """Of K that sequences use: sequences are dropped until they fit, and the last one is shortened."""


UNCUT = Cut()  # the limits of the harness only
GPU = Cut(spare=4096, elements=2**26)
CPU = Cut(length=96, batch=4, kv_heads=4, group=16, q_len=3, spare=16)


@dataclass(frozen=True, slots=True)
class GridShape:
    """Sizes of one batch."""

    lengths: tuple[int, ...]
    """Of the sequences, in tokens."""
    heads: int
    """Query heads."""
    kv_heads: int
    dim: int
    """head_dim"""
    value_dim: int
    """value_head_dim"""
    q_len: int = 1
    """Query tokens of each sequence."""


def shapes(
    batches: Sequence[tuple[int, ...]], heads: Sequence[tuple[int, int]], dims: Sequence[tuple[int, int]], q_len: int = 1
) -> tuple[GridShape, ...]:
    """The product of a test's axes: lengths, (query heads, KV heads), (head_dim, value_head_dim)."""
    return tuple(GridShape(lengths, *pair, *width, q_len) for lengths, pair, width in itertools.product(batches, heads, dims))


@dataclass(frozen=True, slots=True)
class Grid:
    """The product of a test's axes, as far as a Case can express it. Defaults are those of most tests."""

    peer: str
    """The project."""
    source: str
    """Address of the test."""
    published: int
    """Number of parametrisations of the test."""
    left_out: str
    """Parametrisations that are missing, and differences of the others."""
    shapes: tuple[GridShape, ...]
    block_sizes: tuple[int, ...]
    dtypes: tuple[str, ...]
    """Of q and out."""
    tolerance: Tolerance
    pools: tuple[int, ...] = (0,)
    """Blocks in the pool; 0: only those in use."""
    slots: int = 0
    """Token slots in the pool, if the test gives those instead."""
    windows: tuple[int | None, ...] = (None,)
    """Tokens; DRAWN_WINDOW: drawn up to the longest sequence."""
    softcaps: tuple[float | None, ...] = (None,)
    family: str = "NHD"
    """Layout of the memory behind K and V, a key of `layout.FAMILIES`."""
    placement: str = "permuted"
    """Order of the block ids in the block table."""
    ragged: bool = False
    """Whether lengths are drawn, up to those of the shape."""
    columns: int = 1
    """Width of the block table, in multiples of the needed one; the pool has a block for each entry."""
    caches: tuple[str | None, ...] = (None,)
    """Dtypes of the cache; None: that of q."""
    scales: tuple[float, float] = (1.0, 1.0)
    """k_scale and v_scale of float8 caches."""
    alibi: bool = False
    sinks: bool = False

    def __len__(self) -> int:
        return math.prod(map(len, self._axes()))

    def cases(self, seed: int, cut: Cut = UNCUT) -> Iterator[Case]:
        """Every case, in the order of the product; `seed` gives other values, and other lengths where the test draws them."""
        for number, (shape, block_size, dtype, pool, window, softcap, cache) in enumerate(itertools.product(*self._axes())):
            source = random.Random(f"{seed}/{number}")
            case = self._case(shape, block_size, cut, source)
            k_scale, v_scale = self.scales if cache else (None, None)
            drawn = source.randint(1, max(case.seq_lens)) if window == DRAWN_WINDOW else window
            yield validate(
                dataclasses.replace(
                    case,
                    dtype=dtype,
                    cache_dtype=cache,
                    k_scale=k_scale,
                    v_scale=v_scale,
                    window=drawn,
                    softcap=softcap,
                    alibi=self.alibi,
                    sinks=self.sinks,
                    table=self._table(case, pool, cut),
                )
            )

    def _axes(self) -> tuple[tuple[Any, ...], ...]:
        return self.shapes, self.block_sizes, self.dtypes, self.pools, self.windows, self.softcaps, self.caches

    def _case(self, shape: GridShape, block_size: int, cut: Cut, source: random.Random) -> Case:
        cache = Layout(FAMILIES[self.family])
        lengths = [_shorter(length, max(cut.length, 3 * block_size)) for length in shape.lengths[: cut.batch]]
        q_len = min(shape.q_len, cut.q_len)
        case = Case(
            seq_lens=tuple(source.randint(q_len, length) for length in lengths) if self.ragged else tuple(lengths),
            q_len=q_len,
            num_kv_heads=min(shape.kv_heads, cut.kv_heads),
            group=min(shape.heads // shape.kv_heads, cut.group),
            head_dim=shape.dim,
            value_head_dim=shape.value_dim,
            block_size=block_size,
            k=cache,
            v=None if "kv" in cache.order else dense(CACHE_AXES if self.family == "NHD" else cache.order),
            seed=source.randrange(2**31),
        )
        return _with_fewer_tokens(case, cut.elements)

    def _table(self, case: Case, pool: int, cut: Cut) -> BlockTable:
        extra = (self.columns - 1) * case.table_width
        pool = max(pool, case.num_seqs * (case.table_width + extra) if extra else 0)
        spare = min(max(0, max(pool, self.slots // case.block_size) - case.num_pages), cut.spare)
        return BlockTable(placement=self.placement, spare_blocks=spare, extra_columns=extra, unused="stale" if extra else "zero")


def _shorter(length: int, limit: int) -> int:
    return length if length <= limit else limit + length % 32


def _with_fewer_tokens(case: Case, elements: int) -> Case:
    row = case.num_kv_heads * max(case.head_dim, case.value_head_dim)
    while case.num_seqs > 1 and case.num_pages * case.block_size * row > elements:
        case = dataclasses.replace(case, seq_lens=case.seq_lens[:-1])
    longest = elements // (case.block_size * row) * case.block_size
    return case if case.num_seqs > 1 else dataclasses.replace(case, seq_lens=(min(case.seq_lens[0], longest),))
