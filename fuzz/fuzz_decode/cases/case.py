"""A case: one decode problem as frozen plain data. Everything else in the harness is a function of a case.

The same case gives the same bytes on every machine: the data seed is a field, and no tensor, dtype object or device is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any

from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, dense


def as_call(value: Any) -> str:
    """A dataclass as the call that makes it: what is at its default is left out."""
    given = {f.name: getattr(value, f.name) for f in fields(value)}
    plain = type(value)()
    changed = [f"{name}={mine!r}" for name, mine in given.items() if mine != getattr(plain, name)]
    return f"{type(value).__name__}({', '.join(changed)})"


@dataclass(frozen=True, slots=True)
class BlockTable:
    """How sequences' pages are placed in the pool, and how the table that says so lies in memory.

    Pages go to block ids `first_block ...` in `placement` order, leaving `spare_blocks` unused; the first `shared_blocks`
    pages of every sequence are those of sequence 0 (prefix sharing). The table is `extra_columns` wider than needed, and its
    unused entries hold `unused`: 0, -1, 2**31 - 1, or stale valid ids.
    """

    layout: Layout = dense(TABLE_AXES)
    placement: str = "identity"
    first_block: int = 0
    spare_blocks: int = 0
    shared_blocks: int = 0
    extra_columns: int = 0
    unused: str = "zero"

    __repr__ = as_call


@dataclass(frozen=True, slots=True)
class Case:
    """One decode problem. Defaults are the simplest values; `v=None` puts V into K's memory: on the `kv` axis if K's layout
    has one, else as the first `value_head_dim` elements of K's rows (MLA). `scale=None` is 1 / sqrt(head_dim). The last `q_len`
    tokens of each sequence are its query tokens. `cache_dtype=None` is `dtype`; `k_scale` and `v_scale` are what a float8 cache's
    numbers are multiplied by. `alibi` and `sinks` say whether there are slopes, and sinks; `data` draws them."""

    seq_lens: tuple[int, ...] = (1,)
    num_kv_heads: int = 1
    group: int = 1
    head_dim: int = 16
    value_head_dim: int = 16
    block_size: int = 1
    dtype: str = "float32"
    k: Layout = dense(CACHE_AXES)
    v: Layout | None = dense(CACHE_AXES)
    layers: int = 1
    layer: int = 0
    q: Layout = dense(QUERY_AXES)
    out: Layout = dense(QUERY_AXES)
    table: BlockTable = field(default_factory=BlockTable)
    window: int | None = None
    softcap: float | None = None
    scale: float | None = None
    q_len: int = 1
    cache_dtype: str | None = None
    k_scale: float | None = None
    v_scale: float | None = None
    alibi: bool = False
    sinks: bool = False
    data: str = "gaussian"
    seed: int = 0

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
        own = sum(self._needed(length) - self._shared(length) for length in self.seq_lens[1:])
        return self._needed(self.seq_lens[0]) + own

    @property
    def num_blocks(self) -> int:
        return max(1, self.table.first_block + self.num_pages + self.table.spare_blocks)

    @property
    def table_width(self) -> int:
        return max(1, *map(self._needed, self.seq_lens)) + self.table.extra_columns

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

    def layouts(self) -> dict[str, tuple[Layout, dict[str, int]]]:
        """Every layout of the case with the axis sizes it applies to."""
        found = {
            "k": (self.k, self.cache_sizes(self.k_row)),
            "q": (self.q, self.query_sizes(self.head_dim)),
            "out": (self.out, self.query_sizes(self.value_head_dim)),
            "table.layout": (self.table.layout, self.table_sizes()),
        }
        if self.v is not None:
            found["v"] = (self.v, self.cache_sizes(self.value_head_dim))
        return found

    def row_name(self, row: int) -> str:
        """`sequence 1`, or `sequence 1, query token 2`."""
        return f"sequence {row // self.q_len}" + (f", query token {row % self.q_len}" if self.q_len > 1 else "")

    def options(self) -> frozenset[str]:
        """The parameters that a target must have to be asked this; `out` may stay behind."""
        used = {
            "window": self.window is not None,
            "softcap": self.softcap is not None,
            "alibi_slopes": self.alibi,
            "sinks": self.sinks,
            "k_scale": self.cache_dtype is not None,
            "v_scale": self.cache_dtype is not None,
            "q_len": self.q_len > 1,
        }
        return frozenset(name for name, needed in used.items() if needed)


def flatten(case: Case) -> list[tuple[str, Any]]:
    named = [(f.name, getattr(case, f.name)) for f in fields(case) if f.name != "table"]
    return named + [(f"table.{f.name}", getattr(case.table, f.name)) for f in fields(case.table)]


DEFAULTS = dict(flatten(Case()))
