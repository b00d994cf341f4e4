"""The rows of a buffer, found by address, so that a pool of any size costs no more than what is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout

WHOLE = 24  # a buffer of so few rows is shown whole
BUFFERS = {"q": "q", "block_table": "block_table", "k": "k_cache", "v": "v_cache", "out": "out"}  # causes first
LAYOUT_OF = {"block_table": "table.layout"}


@dataclass(frozen=True, slots=True)
class Mark:
    """What is done with a row: RIGHT (wanted and done), WANTED (and not done), WRONG (done and not wanted)."""

    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Elements `start` to `end` of a buffer: a row of `kind` K, V, q, out or entry, or padding. `page` is its place on the
    outermost axis, `holds` what lives there, empty where nobody does and all is poison."""

    start: int
    end: int
    kind: str
    name: str
    page: int
    holds: str = ""
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """A buffer's layout, walked by address: `outer` are the axes outside the rows, `room` the elements of a row's span. `table`:
    the block ids of each sequence; `owners`: the sequences and columns that a block serves."""

    case: Case
    name: str
    layout: Layout
    sizes: dict[str, int]
    strides: dict[str, int]
    outer: tuple[str, ...]
    room: int
    extent: int
    table: list[list[int]]
    owners: dict[int, list[tuple[int, int]]]

    @staticmethod
    def of(case: Case, name: str) -> Rows:
        placed = case.layouts()[LAYOUT_OF.get(name, name)]
        (layout, sizes), strides = placed, placed.strides
        place = len(layout.order) if name == "block_table" else layout.order.index("dim")
        room = 1 + sum((sizes[axis] - 1) * strides[axis] for axis in layout.order[place:])
        blocks, owners = case.blocks(), dict[int, list[tuple[int, int]]]()
        table = [[blocks[page] for page in pages] for pages in case.pages()]
        for seq, ids in enumerate(table):
            for column, block in enumerate(ids):
                owners.setdefault(block, []).append((seq, column))
        return Rows(case, name, layout, sizes, strides, layout.order[:place], room, placed.extent, table, owners)

    @property
    def tensors(self) -> str:
        if self.name == "k" and self.case.v is None:
            return "k_cache and v_cache"
        return BUFFERS[self.name]

    @property
    def few(self) -> bool:
        return math.prod(self.sizes[axis] for axis in self.outer) <= WHOLE

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
        """The cell that an element is in."""
        begin = self.layout.offset
        if address < 0:
            return Cell(address, 0, "padding", "before the allocation", -1)
        if address >= self.extent:
            return Cell(self.extent, address + 1, "padding", "beyond the allocation", -1)
        if address < begin:
            return Cell(0, begin, "padding", "before the view", -1)
        at, start = self._coordinates(address - begin)
        start += begin
        page = at[self.outer[0]] if self.outer else 0
        if address < start + self.room:
            return Cell(start, start + self.room, self._kind(at), self._place(at), page, self._holds(at))
        following = self._following(at)
        return Cell(start + self.room, self.extent if following is None else begin + following, "padding", "padding", page)

    def _coordinates(self, rest: int) -> tuple[dict[str, int], int]:
        """The row at or before an element, and where it begins."""
        at, start = {}, 0
        for axis in self.outer:
            number = min(rest // self.strides[axis], self.sizes[axis] - 1) if self.sizes[axis] > 1 else 0
            at[axis], start, rest = number, start + number * self.strides[axis], rest - number * self.strides[axis]
        return at, start

    def _following(self, at: dict[str, int]) -> int | None:
        """Where the next row begins; None after the last."""
        for place in reversed(range(len(self.outer))):
            if at[self.outer[place]] + 1 < self.sizes[self.outer[place]]:
                kept = sum(at[axis] * self.strides[axis] for axis in self.outer[:place])
                return kept + (at[self.outer[place]] + 1) * self.strides[self.outer[place]]
        return None

    def _kind(self, at: dict[str, int]) -> str:
        if self.name == "k" and "kv" in self.layout.order:
            return ("K", "V")[at["kv"]] if "kv" in at else "K, V"
        if self.name == "block_table":
            return "entry"
        return {"k": "K", "v": "V"}.get(self.name, self.name)

    def _place(self, at: dict[str, int]) -> str:
        words = {"seq": "sequence" if self.name == "block_table" else "row"}
        always = ("block", "seq", "column")
        shown = [axis for axis in ("layer", "block", "slot", "head", "seq", "column") if axis in at]
        return " ".join(f"{words.get(axis, axis)} {at[axis]}" for axis in shown if axis in always or self.sizes[axis] > 1)

    def _holds(self, at: dict[str, int]) -> str:
        """Whose row it is."""
        case = self.case
        if self.name in ("q", "out"):
            return case.row_name(at["seq"]) if "seq" in at else "every sequence"
        if self.name == "block_table":
            ids = self.table[at["seq"]]
            return f"block {ids[at['column']]}" if at["column"] < len(ids) else ""
        if at.get("layer", case.layer) != case.layer:
            return ""
        if "block" not in at:
            return "all blocks, element by element"
        owners, slot = self.owners.get(at["block"], ()), at.get("slot")
        tokens = [(seq, token) for seq, column in owners for token in self._seen(seq, column, slot)]
        more = f" and {len(tokens) - 1} more" if len(tokens) > 1 else ""
        return "".join(self._token(*one) for one in tokens[:1]) + more

    def _token(self, seq: int, token: int) -> str:
        return f"token {token}" + (f" of seq {seq}" if self.case.num_seqs > 1 else "")

    def _seen(self, seq: int, column: int, slot: int | None) -> range:
        """The tokens of a page that their sequence sees: of one slot, or of all if their rows lie in one cell."""
        case, begin = self.case, column * self.case.block_size + (slot or 0)
        first = 0 if case.window is None else case.seq_lens[seq] - case.q_len + 1 - case.window
        return range(max(begin, first), min(begin + (case.block_size if slot is None else 1), case.seq_lens[seq]))
