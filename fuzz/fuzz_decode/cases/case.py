"""A case: one decode problem as frozen plain data. Everything else in the harness is a function of a case.

The same case gives the same bytes on every machine: the data seed is a field, and no tensor, dtype object or device is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any

from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, PlacedLayout, dense
from fuzz_decode.cases.optional_arguments import answer_options


def as_call(value: Any) -> str:
    """A dataclass as the call that makes it, without the arguments that are at their defaults."""
    plain = type(value)()
    every = {f.name: getattr(value, f.name) for f in fields(value)}
    changed = [f"{name}={each!r}" for name, each in every.items() if each != getattr(plain, name)]
    return f"{type(value).__name__}({', '.join(changed)})"


@dataclass(frozen=True, slots=True)
class BlockTable:
    """How the sequences' pages are placed in the pool, and how the block table itself lies in memory."""

    layout: Layout = dense(TABLE_AXES)
    """Layout of the table [num_seqs, width]."""
    placement: str = "identity"
    """Order in which pages go to block ids, from `first_block` on: one of PLACEMENTS."""
    first_block: int = 0
    """Block id of the first page; the blocks before it are unreferenced."""
    spare_blocks: int = 0
    """Unreferenced blocks after the last page."""
    shared_blocks: int = 0
    """The first pages of every sequence that are those of sequence 0 (prefix sharing)."""
    extra_columns: int = 0
    """Columns of the table beyond those that the longest sequence needs."""
    unused: str = "zero"
    """What unused entries hold: one of UNUSED_ENTRIES. "stale" is ids of blocks that exist."""

    __repr__ = as_call


@dataclass(frozen=True, slots=True)
class Case:
    """One decode problem. Defaults are the simplest values."""

    seq_lens: tuple[int, ...] = (1,)
    """Tokens of each sequence, its query tokens included."""
    num_kv_heads: int = 1
    group: int = 1
    """q heads for each KV head."""
    head_dim: int = 16
    """Elements of a row of q and K."""
    value_head_dim: int = 16
    """Elements of a row of V and out."""
    block_size: int = 1
    """Token slots of a block."""
    dtype: str = "float32"
    """Of q, out and, without `cache_dtype`, K and V: one of DTYPES."""
    k: Layout = dense(CACHE_AXES)
    """Layout of the buffer that holds K, and V too where it has a `kv` axis."""
    v: Layout | None = dense(CACHE_AXES)
    """None puts V into K's memory: on the `kv` axis if K's layout has one, else as the first `value_head_dim` elements of K's
    rows (MLA)."""
    layers: int = 1
    """Length of the `layer` axis."""
    layer: int = 0
    """The layer that the target gets."""
    q: Layout = dense(QUERY_AXES)
    out: Layout = dense(QUERY_AXES)
    table: BlockTable = field(default_factory=BlockTable)
    window: int | None = None
    """Tokens that a query token sees, its own included."""
    softcap: float | None = None
    scale: float | None = None
    """Softmax scale; None is 1 / sqrt(head_dim)."""
    q_len: int = 1
    """Query tokens of each sequence: its last ones."""
    cache_dtype: str | None = None
    """Of K and V, where it is not `dtype`: one of CACHE_DTYPES."""
    k_scale: float | None = None
    """K is what a float8 cache holds times this."""
    v_scale: float | None = None
    """V is what a float8 cache holds times this."""
    alibi: bool = False
    """Whether there are ALiBi slopes [num_q_heads]; `seed` draws them."""
    sinks: bool = False
    """Whether there are sinks [num_q_heads]; `seed` draws them."""
    data: str = "gaussian"
    """How values are drawn: one of DATA_MODES."""
    seed: int = 0
    finite: tuple[str, ...] = ()
    """Places among FINITE_PLACES, in their order, where memory that weighs nothing holds finite numbers in place of NaN."""
    beyond: str = "minus one"
    """What integers beyond the ends of the lengths, and around the block table, hold: one of BEYOND. "valid" is the length of a
    sequence, and the id of a block."""

    __repr__ = as_call

    @property
    def num_seqs(self) -> int:
        return len(self.seq_lens)

    @property
    def num_rows(self) -> int:
        """Rows of q and out: every query token of every sequence."""
        return self.num_seqs * self.q_len

    @property
    def num_q_heads(self) -> int:
        return self.num_kv_heads * self.group

    @property
    def softmax_scale(self) -> float:
        return float(self.head_dim**-0.5) if self.scale is None else self.scale

    @property
    def num_pages(self) -> int:
        """Distinct pages that sequences use."""
        needed = [-(-length // self.block_size) for length in self.seq_lens]
        if not (shared := min(self.table.shared_blocks, needed[0])):
            return sum(needed)
        return needed[0] + sum(own - min(shared, own) for own in needed[1:])

    @property
    def num_blocks(self) -> int:
        return max(1, self.table.first_block + self.num_pages + self.table.spare_blocks)

    @property
    def table_width(self) -> int:
        return max(1, self._needed(max(self.seq_lens, default=0))) + self.table.extra_columns

    @property
    def v_prefix_of_k(self) -> bool:
        return self.v is None and "kv" not in self.k.order

    def _needed(self, length: int) -> int:
        return -(-length // self.block_size)

    def _shared(self, length: int) -> int:
        return min(self.table.shared_blocks, self._needed(length), self._needed(self.seq_lens[0]))

    def pages(self) -> list[list[int]]:
        """Each sequence's page numbers, 0 .. num_pages - 1, independent of where pages are placed."""
        rows: list[list[int]] = []
        fresh = 0
        for length in self.seq_lens:
            shared = self._shared(length) if rows else 0
            own = self._needed(length) - shared
            rows.append([*(rows[0][:shared] if rows else []), *range(fresh, fresh + own)])
            fresh += own
        return rows

    def blocks(self) -> list[int]:
        """Block id of each page."""
        count, first = self.num_pages, self.table.first_block
        if self.table.placement == "permuted":
            return random.Random(self.seed).sample(range(first, self.num_blocks), count)
        ids = range(first, first + count)
        return list(reversed(ids)) if self.table.placement == "reversed" else list(ids)

    def cache_sizes(self, dim: int) -> dict[str, int]:
        """Axis sizes of a K or V buffer whose rows hold `dim` elements."""
        return {
            "layer": self.layers,
            "kv": 2,
            "block": self.num_blocks,
            "slot": self.block_size,
            "head": self.num_kv_heads,
            "dim": dim,
        }

    def query_sizes(self, dim: int) -> dict[str, int]:
        return {"seq": self.num_rows, "head": self.num_q_heads, "dim": dim}

    def table_sizes(self) -> dict[str, int]:
        return {"seq": self.num_seqs, "column": self.table_width}

    @property
    def k_row(self) -> int:
        """Elements of one row of the buffer that holds K: a shared buffer's rows fit K and V."""
        return max(self.head_dim, self.value_head_dim) if "kv" in self.k.order else self.head_dim

    def layouts(self) -> dict[str, PlacedLayout]:
        """Every layout of the case with the axis sizes that it applies to, by the (dotted) name of its field."""
        cache = self.cache_sizes(self.k_row)
        found = {
            "k": PlacedLayout(self.k, cache),
            "q": PlacedLayout(self.q, self.query_sizes(self.head_dim)),
            "out": PlacedLayout(self.out, self.query_sizes(self.value_head_dim)),
            "table.layout": PlacedLayout(self.table.layout, self.table_sizes()),
        }
        if self.v is not None:
            found["v"] = PlacedLayout(self.v, {**cache, "dim": self.value_head_dim})
        return found

    @property
    def span(self) -> int:
        """Elements of the tensor that reaches farthest, from the start of its storage. Offsets in int32 end at 2**31."""
        return max(placed.extent for placed in self.layouts().values())

    def row_name(self, row: int) -> str:
        """`sequence 1`, or `sequence 1, query token 2`."""
        return f"sequence {row // self.q_len}" + (f", query token {row % self.q_len}" if self.q_len > 1 else "")

    def options(self) -> frozenset[str]:
        """The optional parameters that a target must have to get this case; `out` is none of them."""
        return frozenset(name for option in answer_options() if option.is_used(self) for name in option.parameters)


def flatten(case: Case) -> list[tuple[str, Any]]:
    """(dotted name, value) of every field, those of the block table last."""
    named = [(f.name, getattr(case, f.name)) for f in fields(case) if f.name != "table"]
    return named + [(f"table.{f.name}", getattr(case.table, f.name)) for f in fields(case.table)]


DEFAULTS = dict(flatten(Case()))
