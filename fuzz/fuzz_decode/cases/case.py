"""A case: one decode problem as frozen plain data. Everything else in the harness is a function of a case.

The same case gives the same bytes on every machine: the data seed is a field, and no tensor, dtype object or device is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from dataclasses import dataclass, field, fields
from typing import Any

from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.cases.serialization import read_dataclass
from fuzz_decode.cases.validity import CACHE_DTYPES, DATA_MODES, DTYPES, PLACEMENTS, UNUSED_ENTRIES, problems
from fuzz_decode.errors import CaseError


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

    def validate(self) -> Case:
        """Return the case itself. Raises CaseError naming the first field that is wrong."""
        for problem in problems(self):
            raise CaseError(f"case field {problem}")
        return self

    @property
    def valid(self) -> bool:
        return next(problems(self), None) is None

    def sort_key(self) -> tuple[Any, ...]:
        """Smaller is simpler. One reason a line."""
        layouts = [layout for layout, _ in self.layouts().values()]
        return (
            self.num_seqs,  # one sequence can be followed by hand
            sum(self.seq_lens),  # few tokens to look at
            self.q_len,
            self.num_kv_heads,
            self.group,
            len(self.features()),  # every feature left is part of the story
            self.head_dim + self.value_head_dim,
            self.block_size,
            self.num_blocks + self.layers,  # small pools fit on a page
            sum(abs(pad) for layout in layouts for pad in layout.pad) + sum(layout.offset for layout in layouts),
            self._choices(),
            self._numbers(),
            self.canonical(),  # total, so that the same bug ends at the same case
        )

    def _choices(self) -> tuple[int, ...]:
        """Each choice's place in its list, simplest first."""
        table = self.table
        placement, unused = PLACEMENTS.index(table.placement), tuple(UNUSED_ENTRIES).index(table.unused)
        cache = (None, *CACHE_DTYPES).index(self.cache_dtype)
        return DTYPES.index(self.dtype), cache, DATA_MODES.index(self.data), placement, unused

    def _numbers(self) -> tuple[float, ...]:
        """What is left to make small."""
        table, optional = self.table, (self.window, self.softcap, self.scale, self.k_scale, self.v_scale)
        pool = (table.first_block, table.spare_blocks, table.shared_blocks, table.extra_columns)
        return (*(0.0 if number is None else float(number) for number in optional), *pool, self.layers, self.layer, self.seed)

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

    def features(self) -> dict[str, str]:
        """What is not plain about the case: field name (dotted) to its value in words."""
        inside_k = {"v"} if "kv" in self.k.order else set()
        return {
            name: str(value)
            for name, value in flatten(self)
            if value not in PLAIN.get(name, (DEFAULTS[name],)) and name not in SIZE_FIELDS and name not in inside_k
        }

    def without(self, feature: str) -> Case:
        """The case with one feature back at its default; V leaves K's buffer when K's layout goes."""
        group, _, name = feature.rpartition(".")
        changes: dict[str, Any] = {name: 1.0 if name in FLOAT8_SCALES and self.cache_dtype else DEFAULTS[feature]}
        if group:
            return dataclasses.replace(self, table=dataclasses.replace(self.table, **changes))
        if name == "k" and "kv" in self.k.order:
            changes["v"] = DEFAULTS["v"]
        if name == "k" and self.layers > 1:
            changes |= {"layers": 1, "layer": 0}
        if name == "cache_dtype":
            changes |= dict.fromkeys(FLOAT8_SCALES)
        return dataclasses.replace(self, **changes)

    def plain(self) -> Case:
        """The case with every tensor contiguous and pages in identity order; lengths, block size and table width stay."""
        table = BlockTable(shared_blocks=self.table.shared_blocks, extra_columns=self.table.extra_columns)
        cache, query = dense(CACHE_AXES), dense(QUERY_AXES)
        return dataclasses.replace(self, k=cache, v=cache, layers=1, layer=0, q=query, out=query, table=table)

    def to_json(self) -> dict[str, Any]:
        """Plain data. What older versions do not know is left out where it is not used: they read the file, and digests stay."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in LATER or value != DEFAULTS[name]}

    @staticmethod
    def from_json(data: Any) -> Case:
        """Inverse of to_json; missing fields take their defaults, so that older files load. Raises CaseError."""
        case: Case = read_dataclass(Case, data, "case", {"Layout": Layout, "BlockTable": BlockTable})
        return case.validate()

    def canonical(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:12]


FLOAT8_SCALES = ("k_scale", "v_scale")
PLAIN = dict.fromkeys(FLOAT8_SCALES, (None, 1.0))  # float8 caches have scales, and 1 is no feature
SIZE_FIELDS = frozenset({"seq_lens", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size"})


def flatten(case: Case) -> list[tuple[str, Any]]:
    named = [(f.name, getattr(case, f.name)) for f in fields(case) if f.name != "table"]
    return named + [(f"table.{f.name}", getattr(case.table, f.name)) for f in fields(case.table)]


LATER = frozenset({"q_len", "cache_dtype", "k_scale", "v_scale", "alibi", "sinks"})

DEFAULTS = dict(flatten(Case()))
