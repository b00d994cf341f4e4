"""A picture of memory as data: the rows of a buffer in address order, what lives in them, what should be read and what is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose import Trace
from fuzz_decode.diagnose.diagnosis import Access
from fuzz_decode.report.memory_rows import BUFFERS, LAYOUT_OF, Cell, Mark, Rows

RIGHT, WANTED, WRONG = "right", "wanted", "wrong"
SIGNS = {RIGHT: "✓", WANTED: "◄", WRONG: "✗"}
MARKS = 3  # of a row, that are shown
MARKED = 6  # rows of a large buffer around which it is shown
NAMES = {"k": "K", "v": "V", "q": "q", "table": "entry", "out": "out"}


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Cells of one buffer in address order; where two do not touch, other rows lie between them. `tensors`: what lies in the
    buffer. `whose`: the row of q and the q head whose accesses are marked. `more`: how many other rows would be marked like those
    that are shown."""

    tensors: str
    whose: str
    cells: tuple[Cell, ...]
    more: int = 0

    @property
    def telling(self) -> bool:
        """Whether something is not as it should be."""
        return any(mark.kind != RIGHT for cell in self.cells for mark in cell.marks)


def memory_maps(case: Case, trace: Trace) -> tuple[MemoryMap, ...]:
    """The buffers in which the kernel goes elsewhere than it should, or is seen to; where neither is known, what should be read
    of K and V."""
    differ = {one.buffer for one in {*trace.wanted} ^ {*trace.actual}} if trace.known else {"k", "v"}
    shown = [name for name in BUFFERS if name in differ and LAYOUT_OF.get(name, name) in case.layouts()]
    maps = tuple(_map(Rows.of(case, name), trace) for name in shown)
    return tuple(memory for memory in maps if memory.telling) if _watched(trace) else maps


def why_no_map(trace: Trace, maps: Sequence[MemoryMap]) -> list[str]:
    """What to say where no row is marked as read wrongly; nothing where one is."""
    if maps and (trace.known or _watched(trace)):
        return []
    if trace.known:
        return ["every address is the right one: what is wrong is computed from the right numbers"]
    if _watched(trace):
        return ["all that should be read is read, and nothing else: what is wrong is computed from the right numbers"]
    return ["what is read instead is not known"]


def _watched(trace: Trace) -> bool:
    """Whether what is known is what the kernel was seen to read."""
    return trace.reads is not None and not trace.known


def _map(rows: Rows, trace: Trace) -> MemoryMap:
    """What is not as it should be, with its neighbours; a small buffer whole."""
    marks: dict[int, list[Mark]] = {}
    seen = _watched(trace)
    for address, some in (_seen(rows, trace) if seen else _marks(rows.name, trace)).items():
        marks.setdefault(rows.at(address).start, []).extend(some)
    telling = sorted(start for start, some in marks.items() if any(mark.kind != RIGHT for mark in some)) or sorted(marks)
    shown = telling if rows.few else telling[:MARKED]
    cells = {cell.start: cell for cell in (rows.all() if rows.few else rows.around(shown))}
    cells |= {start: rows.at(start) for start in shown}  # what lies outside of a small buffer
    marked = tuple(dataclasses.replace(cells[start], marks=tuple(marks.get(start, ()))) for start in sorted(cells))
    whose = "all rows" if seen else f"{rows.case.row_name(trace.row)}, q head {trace.head}"
    return MemoryMap(rows.tensors, whose, marked, len(telling) - len(shown))


def _marks(name: str, trace: Trace) -> dict[int, list[Mark]]:
    """Address to what is done there."""
    wanted = _at_places(trace.wanted, name)
    actual = _at_places(trace.actual, name) if trace.known else {}
    marks: dict[int, list[Mark]] = {}
    for place, one in wanted.items():
        kind, verb = (RIGHT, _verb(one)) if actual.get(place) == one else (WANTED, f"should be {_verb(one)}")
        marks.setdefault(one.address, []).append(Mark(kind, verb + _steps(one, actual.get(place))))
    for place, one in actual.items():
        if wanted.get(place) != one:
            marks.setdefault(one.address, []).append(Mark(WRONG, f"is {_verb(one)}{_steps(one, wanted.get(place))}"))
    return marks


def _at_places(accesses: Sequence[Access], name: str) -> dict[tuple[str, int, int], Access]:
    """The accesses to a buffer, by tensor, token and address: two with the same differ in their steps or lengths only."""
    return {(one.tensor, one.token, one.address): one for one in accesses if one.buffer == name}


def _seen(rows: Rows, trace: Trace) -> dict[int, list[Mark]]:
    """The same of what the kernel was seen to read, whichever row it was for."""
    reads = (trace.reads or {}).get(rows.name, ())
    wanted = [one.address for one in trace.wanted if one.buffer == rows.name]
    cells = list(rows.all()) if rows.few else [rows.at(address) for address in {*wanted, *(begin for begin, _ in reads)}]
    marks: dict[int, list[Mark]] = {}
    for cell in cells:
        read = any(begin < cell.end and cell.start < end for begin, end in reads)
        if cell.holds:
            marks[cell.start] = [Mark(RIGHT, "is read") if read else Mark(WANTED, "should be read, and is not")]
        elif read:
            marks[cell.start] = [Mark(WRONG, "is read")]
    return marks


def _verb(access: Access) -> str:
    what = {
        "q": "read",
        "out": "written",
        "table": f"read for column {access.token}",
    }
    return what.get(access.tensor, f"read as {NAMES[access.tensor]} of token {access.token}")


def _steps(access: Access, other: Access | None) -> str:
    """What else is different about two accesses of the same address."""
    if other is None or other == access:
        return ""
    return f", {access.length} elements" + (f" in steps of {access.step}" if {access.step, other.step} != {1} else "")
