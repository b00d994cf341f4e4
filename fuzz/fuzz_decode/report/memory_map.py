"""A picture of memory as data: the rows of a buffer in address order, what lives in them, what should be read and what is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fuzz_decode.case import Case
from fuzz_decode.diagnosis import Trace
from fuzz_decode.diagnosis.result import Access
from fuzz_decode.report.memory_rows import BUFFERS, LAYOUT_OF, Cell, Mark, Rows

RIGHT, WANTED, WRONG = "right", "wanted", "wrong"
MARKED = 6  # rows of a large buffer around which it is shown
NAMES = {"k": "K", "v": "V", "q": "q", "table": "entry", "out": "out"}


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Cells of one buffer in address order; where two do not touch, `skipped` rows lie between them. `tensors`: what lies in the
    buffer. `whose`: the row of q and the q head whose accesses are marked. `more`: how many other rows would be marked like those
    that are shown."""

    tensors: str
    whose: str
    cells: tuple[Cell, ...]
    more: int = 0


def memory_maps(case: Case, trace: Trace) -> tuple[MemoryMap, ...]:
    """The buffers in which the kernel goes elsewhere than it should; if that is not known, what should be read of K and V."""
    differ = {one.buffer for one in {*trace.wanted} ^ {*trace.actual}}
    wanted = differ if trace.known else {"k", "v"}
    shown = [name for name in BUFFERS if name in wanted and LAYOUT_OF.get(name, name) in case.layouts()]
    return tuple(_map(Rows.of(case, name), trace) for name in shown)


def why_no_map(trace: Trace) -> list[str]:
    """What to say where no row is marked as read wrongly; nothing where one is."""
    if not trace.known:
        return ["what is read instead is not known"]
    right = {*trace.wanted} == {*trace.actual}
    return ["every address is the right one: what is wrong is computed from the right numbers"] if right else []


def _map(rows: Rows, trace: Trace) -> MemoryMap:
    """What is not as it should be, with its neighbours; a small buffer whole."""
    marks: dict[int, list[Mark]] = {}
    for address, some in _marks(rows.name, trace).items():
        marks.setdefault(rows.at(address).start, []).extend(some)
    telling = sorted(start for start, some in marks.items() if any(mark.kind != RIGHT for mark in some)) or sorted(marks)
    shown = telling if rows.few else telling[:MARKED]
    cells = {cell.start: cell for cell in (rows.all() if rows.few else rows.around(shown))}
    cells |= {start: rows.at(start) for start in shown}  # what lies outside of a small buffer
    marked = tuple(dataclasses.replace(cells[start], marks=tuple(marks.get(start, ()))) for start in sorted(cells))
    whose = f"{rows.case.row_name(trace.row)}, q head {trace.head}"
    return MemoryMap(rows.tensors, whose, marked, len(telling) - len(shown))


def _marks(name: str, trace: Trace) -> dict[int, list[Mark]]:
    """Address to what is done there."""
    wanted = [one for one in trace.wanted if one.buffer == name]
    actual = [one for one in trace.actual if one.buffer == name] if trace.known else []
    marks: dict[int, list[Mark]] = {}
    for one in wanted:
        kind, verb = (RIGHT, _verb(one)) if one in actual else (WANTED, f"should be {_verb(one)}")
        marks.setdefault(one.address, []).append(Mark(kind, verb + _steps(one, actual)))
    for one in actual:
        if one not in wanted:
            marks.setdefault(one.address, []).append(Mark(WRONG, f"is {_verb(one)}{_steps(one, wanted)}"))
    return marks


def _verb(access: Access) -> str:
    what = {
        "q": "read as q",
        "out": "written as out",
        "table": f"read for column {access.token}",
    }
    return what.get(access.tensor, f"read as {NAMES[access.tensor]} of token {access.token}")


def _steps(access: Access, others: list[Access]) -> str:
    """What else is different about two accesses of the same address."""
    same = [one for one in others if (one.tensor, one.token, one.address) == (access.tensor, access.token, access.address)]
    if not same or same[0] == access:
        return ""
    return f", {access.length} elements" + (f" in steps of {access.step}" if {access.step, same[0].step} != {1} else "")
