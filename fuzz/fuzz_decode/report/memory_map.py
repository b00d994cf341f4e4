"""A map of memory as data: the rows of a buffer in address order, their contents, and the expected and the actual accesses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import Trace
from fuzz_decode.diagnose.diagnosis import Access
from fuzz_decode.report.facts import worst_index
from fuzz_decode.report.memory_rows import BUFFERS, LAYOUT_OF, Cell, Mark, Rows
from fuzz_decode.text import counted

RIGHT, EXPECTED, WRONG = "right", "expected", "wrong"
SIGNS = {RIGHT: "✓", EXPECTED: "◄", WRONG: "✗"}
SHOWN_MARKS = 3  # of a row
SHOWN_ROWS = 6  # marked rows of a large buffer, which is shown around them
NAMES = {"k": "K", "v": "V", "q": "q", "table": "entry", "out": "out"}


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Cells of one buffer with the accesses to them."""

    tensors: str
    """Names of the tensors in the buffer."""
    whose: str
    """The row of q and the q head whose accesses are marked."""
    cells: tuple[Cell, ...]
    """In address order; where two are not adjacent, other rows lie between them."""
    more: int = 0
    """Number of marked rows that are not shown."""
    unused: str = ""
    """What cells that hold nothing are filled with, in words; empty: integers."""

    @property
    def has_fault(self) -> bool:
        """Whether an access is missing or wrong."""
        return any(mark.kind != RIGHT for cell in self.cells for mark in cell.marks)


def memory_maps(case: Case, trace: Trace) -> tuple[MemoryMap, ...]:
    """The buffers in which the kernel's accesses differ from the expected ones, as predicted or as observed; where neither is
    known, the expected accesses to K and V."""
    differ = {access.buffer for access in {*trace.wanted} ^ {*trace.actual}} if trace.known else {"k", "v"}
    shown = [name for name in BUFFERS if name in differ and LAYOUT_OF.get(name, name) in case.layouts()]
    maps = tuple(_map(Rows.of(case, name), trace) for name in shown)
    return tuple(memory for memory in maps if memory.has_fault) if _is_observed(trace) else maps


def tells_of_memory(entry: Entry, trace: Trace) -> bool:
    """Whether an address can be wrong: not where a call raised or returned another dtype, and nothing is known of its reads."""
    return trace.known or trace.reads is not None or bool(worst_index(entry))


def why_no_map(trace: Trace, maps: Sequence[MemoryMap]) -> list[str]:
    """A sentence where no row is marked as read wrongly; none where one is."""
    if maps and (trace.known or _is_observed(trace)):
        return []
    if trace.known:
        return ["every address is right: the fault is in the computation"]
    if _is_observed(trace):
        words = "all expected rows are read, and no others, by all query heads together"
        return [f"{words}: the fault is in the computation, or in which head reads which row"]
    return ["the addresses that are read instead are not known"]


def _is_observed(trace: Trace) -> bool:
    """Whether the accesses are those that the kernel was observed to make, not those of a fault."""
    return trace.reads is not None and not trace.known


def _map(rows: Rows, trace: Trace) -> MemoryMap:
    """The rows with missing or wrong accesses, with their neighbours; a small buffer whole."""
    marks: dict[int, list[Mark]] = {}
    observed = _is_observed(trace)
    for address, found in (_observed_marks(rows, trace) if observed else _marks(rows.name, trace)).items():
        marks.setdefault(rows.at(address).start, []).extend(found)
    faulty = sorted(start for start, found in marks.items() if any(mark.kind != RIGHT for mark in found)) or sorted(marks)
    shown = faulty if rows.is_small else faulty[:SHOWN_ROWS]
    cells = {cell.start: cell for cell in (rows.all() if rows.is_small else rows.around(shown))}
    cells |= {start: rows.at(start) for start in shown}  # accesses outside a small buffer
    marked = tuple(dataclasses.replace(cells[start], marks=tuple(marks.get(start, ()))) for start in sorted(cells))
    whose = "all rows" if observed else f"{rows.case.row_name(trace.row)}, q head {trace.head}"
    return MemoryMap(rows.tensors, whose, marked, len(faulty) - len(shown), _unused(rows))


def _unused(rows: Rows) -> str:
    if rows.tensors == "block_table":
        return ""
    return "NaN or finite garbage" if set(rows.case.finite) - {"allocations"} else "NaN"


def _marks(name: str, trace: Trace) -> dict[int, list[Mark]]:
    """The marks of each address."""
    expected = _by_position(trace.wanted, name)
    actual = _by_position(trace.actual, name) if trace.known else {}
    marks: dict[int, list[Mark]] = {}
    for position, access in expected.items():
        kind, verb = (RIGHT, _verb(access)) if actual.get(position) == access else (EXPECTED, f"should be {_verb(access)}")
        marks.setdefault(access.address, []).append(Mark(kind, verb + _steps(access, actual.get(position))))
    for position, access in actual.items():
        if expected.get(position) != access:
            mark = Mark(WRONG, f"is {_verb(access)}{_steps(access, expected.get(position))}")
            marks.setdefault(access.address, []).append(mark)
    return marks


def _by_position(accesses: Sequence[Access], name: str) -> dict[tuple[str, int, int], Access]:
    """The accesses to a buffer by tensor, token and address. Two of the same position differ in step or length only."""
    return {(access.tensor, access.token, access.address): access for access in accesses if access.buffer == name}


def _observed_marks(rows: Rows, trace: Trace) -> dict[int, list[Mark]]:
    """The same for the reads that the kernel was observed to make, whichever row of q they were for."""
    reads = (trace.reads or {}).get(rows.name, ())
    expected = [access.address for access in trace.wanted if access.buffer == rows.name]
    cells = list(rows.all()) if rows.is_small else [rows.at(address) for address in {*expected, *(begin for begin, _ in reads)}]
    marks: dict[int, list[Mark]] = {}
    for cell in cells:
        read = any(begin < cell.end and cell.start < end for begin, end in reads)
        if cell.holds:
            marks[cell.start] = [Mark(RIGHT, "is read") if read else Mark(EXPECTED, "should be read, and is not")]
        elif read:
            marks[cell.start] = [Mark(WRONG, "is read")]
    return marks


def _verb(access: Access) -> str:
    verbs = {
        "q": "read",
        "out": "written",
        "table": f"read for column {access.token}",
    }
    return verbs.get(access.tensor, f"read as {NAMES[access.tensor]} of token {access.token}")


def _steps(access: Access, other: Access | None) -> str:
    """The other differences between two accesses to the same address."""
    if other is None or other == access:
        return ""
    return f", {counted(access.length, 'element')}" + (f" in steps of {access.step}" if {access.step, other.step} != {1} else "")
