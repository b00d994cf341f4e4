"""The rows of a buffer, found by address, so that the cost does not grow with the size of the pool."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout

SMALL_ROWS = 24  # a buffer of at most this many rows is shown whole
BUFFERS = {"q": "q", "block_table": "block_table", "k": "k_cache", "v": "v_cache", "out": "out"}  # causes first
LAYOUT_OF = {"block_table": "table.layout"}


@dataclass(frozen=True, slots=True)
class Mark:
    """An access to a row: right (expected and made), expected (and not made), or wrong (made and not expected)."""

    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A row of a buffer, or the padding between two rows."""

    start: int
    """First element, from the start of the layout."""
    end: int
    """One past the last element."""
    kind: str
    """K, V, q, out, entry (of the block table) or padding."""
    name: str
    """Its index: `block 1 slot 0`."""
    page: int
    """Its index on the outermost axis."""
    holds: str = ""
    """What the case stores there: `token 0`; empty: unreferenced, hence poison."""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """The layout of a buffer, indexed by address."""

    case: Case
    name: str
    """A key of BUFFERS."""
    layout: Layout
    sizes: dict[str, int]
    """Of each axis."""
    strides: dict[str, int]
    """Of each axis, in elements."""
    outer: tuple[str, ...]
    """The axes outside a row, outermost first."""
    span: int
    """Elements from the first to the last one of a row."""
    extent: int
    """Elements of the whole layout."""
    table: list[list[int]]
    """Block ids of each sequence."""
    owners: dict[int, list[tuple[int, int]]]
    """(sequence, column) pairs of the block table that name a block."""

    @staticmethod
    def of(case: Case, name: str) -> Rows:
        placed = case.layouts()[LAYOUT_OF.get(name, name)]
        (layout, sizes), strides = placed, placed.strides
        depth = len(layout.order) if name == "block_table" else layout.order.index("dim")
        span = 1 + sum((sizes[axis] - 1) * strides[axis] for axis in layout.order[depth:])
        blocks, owners = case.blocks(), dict[int, list[tuple[int, int]]]()
        table = [[blocks[page] for page in pages] for pages in case.pages()]
        for seq, ids in enumerate(table):
            for column, block in enumerate(ids):
                owners.setdefault(block, []).append((seq, column))
        return Rows(case, name, layout, sizes, strides, layout.order[:depth], span, placed.extent, table, owners)

    @property
    def tensors(self) -> str:
        if self.name == "k" and self.case.v is None:
            return "k_cache and v_cache"
        return BUFFERS[self.name]

    @property
    def is_small(self) -> bool:
        return math.prod(self.sizes[axis] for axis in self.outer) <= SMALL_ROWS

    def all(self) -> Iterator[Cell]:
        """Every cell of a small buffer."""
        cell = self.at(0)
        yield cell
        while cell.end < self.extent:
            cell = self.at(cell.end)
            yield cell

    def around(self, addresses: list[int]) -> Iterator[Cell]:
        """The cells at the addresses, and their neighbours."""
        for address in addresses:
            cell = self.at(address)
            yield cell
            if cell.start > 0:
                yield self.at(cell.start - 1)
            if cell.end < self.extent:
                yield self.at(cell.end)

    def at(self, address: int) -> Cell:
        """The cell of an element."""
        begin = self.layout.offset
        if address < 0:
            return Cell(address, 0, "padding", "before the allocation", -1)
        if address >= self.extent:
            return Cell(self.extent, address + 1, "padding", "beyond the allocation", -1)
        if address < begin:
            return Cell(0, begin, "padding", "before the view", -1)
        index, start = self._index(address - begin)
        start += begin
        page = index[self.outer[0]] if self.outer else 0
        if address < start + self.span:
            return Cell(start, start + self.span, self._kind(index), self._name(index), page, self._holds(index))
        following = self._following(index)
        return Cell(start + self.span, self.extent if following is None else begin + following, "padding", "padding", page)

    def _index(self, rest: int) -> tuple[dict[str, int], int]:
        """The index of the row at or before an element, and its first element."""
        index, start = {}, 0
        for axis in self.outer:
            number = min(rest // self.strides[axis], self.sizes[axis] - 1) if self.sizes[axis] > 1 else 0
            index[axis], start, rest = number, start + number * self.strides[axis], rest - number * self.strides[axis]
        return index, start

    def _following(self, index: dict[str, int]) -> int | None:
        """The first element of the next row; None after the last."""
        for depth, axis in reversed([*enumerate(self.outer)]):
            if index[axis] + 1 < self.sizes[axis]:
                kept = sum(index[outer] * self.strides[outer] for outer in self.outer[:depth])
                return kept + (index[axis] + 1) * self.strides[axis]
        return None

    def _kind(self, index: dict[str, int]) -> str:
        if self.name == "k" and "kv" in self.layout.order:
            return ("K", "V")[index["kv"]] if "kv" in index else "K, V"
        if self.name == "block_table":
            return "entry"
        return {"k": "K", "v": "V"}.get(self.name, self.name)

    def _name(self, index: dict[str, int]) -> str:
        words = {"seq": "sequence" if self.name == "block_table" else "row"}
        always = ("block", "seq", "column")
        shown = [axis for axis in ("layer", "block", "slot", "head", "seq", "column") if axis in index]
        return " ".join(f"{words.get(axis, axis)} {index[axis]}" for axis in shown if axis in always or self.sizes[axis] > 1)

    def _holds(self, index: dict[str, int]) -> str:
        """What the case stores in the row."""
        case = self.case
        if self.name in ("q", "out"):
            return case.row_name(index["seq"]) if "seq" in index else "every sequence"
        if self.name == "block_table":
            ids = self.table[index["seq"]]
            return f"block {ids[index['column']]}" if index["column"] < len(ids) else ""
        if index.get("layer", case.layer) != case.layer:
            return ""
        if "block" not in index:
            return "all blocks, element by element"
        owners, slot = self.owners.get(index["block"], ()), index.get("slot")
        tokens = [(seq, token) for seq, column in owners for token in self._visible(seq, column, slot)]
        more = f" and {len(tokens) - 1} more" if len(tokens) > 1 else ""
        return "".join(self._token(*first) for first in tokens[:1]) + more

    def _token(self, seq: int, token: int) -> str:
        return f"token {token}" + (f" of seq {seq}" if self.case.num_seqs > 1 else "")

    def _visible(self, seq: int, column: int, slot: int | None) -> range:
        """The tokens of a page that its sequence sees: of one slot, or of all slots if one cell spans them."""
        case, begin = self.case, column * self.case.block_size + (slot or 0)
        first = 0 if case.window is None else case.seq_lens[seq] - case.q_len + 1 - case.window
        return range(max(begin, first), min(begin + (case.block_size if slot is None else 1), case.seq_lens[seq]))
