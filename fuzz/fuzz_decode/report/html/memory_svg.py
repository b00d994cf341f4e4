"""A memory map as a drawing: rows stacked by address, an arrow from the row that should be read to the one that is."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from fuzz_decode.report.html.elements import el
from fuzz_decode.report.memory_map import EXPECTED, RIGHT, SHOWN_MARKS, SIGNS, WRONG, MemoryMap
from fuzz_decode.report.memory_rows import Cell
from fuzz_decode.text import counted

# pixels
DRAWING_WIDTH, ADDRESS_WIDTH, ROW_WIDTH = 352, 58, 262
LINE_HEIGHT, ROW_GAP = 18, 2
OMISSION_HEIGHT, PAGE_GAP = 16, 8


def memory_svg(memory: MemoryMap) -> Element:
    """The drawing, with its text in it."""
    drawn: list[Element] = []
    middles: dict[str, float] = {}
    top, end, page = 0.0, 0, None
    for cell in memory.cells:
        if cell.start > end:
            drawn.append(_omission(top, counted(cell.start - end, "element")))
            top += OMISSION_HEIGHT
        elif page not in (None, cell.page):
            top += PAGE_GAP
        height = LINE_HEIGHT + LINE_HEIGHT * min(len(cell.marks), SHOWN_MARKS + 1)
        drawn += _cell(cell, top, height)
        for mark in cell.marks:
            middles.setdefault(mark.kind, top + height / 2)
        top, end, page = top + height + ROW_GAP, cell.end, cell.page
    if memory.more:
        drawn.append(_omission(top, f"and {counted(memory.more, 'more row')} like these"))
        top += OMISSION_HEIGHT
    if EXPECTED in middles and WRONG in middles and middles[EXPECTED] != middles[WRONG]:
        drawn.append(_arrow(middles[EXPECTED], middles[WRONG]))
    size = {
        "width": DRAWING_WIDTH,
        "height": int(top),
        "viewBox": f"0 0 {DRAWING_WIDTH} {int(top)}",
        "class": "memory",
        "role": "img",
    }
    return el("svg", size, el("title", {}, f"memory of {memory.tensors}, for {memory.whose}"), *drawn)


def _omission(top: float, words: str) -> Element:
    """What is left out between two rows."""
    return _text(ADDRESS_WIDTH + 8, top + OMISSION_HEIGHT - 4, f"⋮ {words}", "faint")


def _cell(cell: Cell, top: float, height: float) -> list[Element]:
    kind = "padding" if cell.kind == "padding" else cell.kind if cell.kind in ("K", "V", "entry") else "other"
    state = "" if kind == "padding" else " live" if cell.holds else " unreferenced"
    wrong = next((f" {mark.kind}" for mark in cell.marks if mark.kind != RIGHT), "")
    frame = {"x": ADDRESS_WIDTH, "y": top, "width": ROW_WIDTH, "height": height, "rx": 3, "class": f"cell {kind}{state}{wrong}"}
    text = cell.name if kind == "padding" else f"{f'{cell.kind} {cell.name}'.strip()}: {cell.holds or 'unreferenced'}"
    parts = [
        el("rect", frame),
        _text(ADDRESS_WIDTH - 6, top + 13, str(cell.start), "address"),
        _text(ADDRESS_WIDTH + 8, top + 13, text, "what"),
    ]
    for number, mark in enumerate(cell.marks[:SHOWN_MARKS], 1):
        parts.append(
            _text(ADDRESS_WIDTH + 8, top + 13 + LINE_HEIGHT * number, f"{SIGNS[mark.kind]} {mark.words}", f"mark {mark.kind}")
        )
    if len(cell.marks) > SHOWN_MARKS:
        parts.append(
            _text(
                ADDRESS_WIDTH + 8,
                top + 13 + LINE_HEIGHT * (SHOWN_MARKS + 1),
                f"and {len(cell.marks) - SHOWN_MARKS} more",
                "faint",
            )
        )
    return parts


def _arrow(begin: float, end: float) -> Element:
    """Beside the rows, from where it should be read to where it is."""
    x, bend = ADDRESS_WIDTH + ROW_WIDTH, 24
    tip = f"M {x + 8} {end - 5} L {x + 1} {end} L {x + 8} {end + 5}"
    return el("path", {"class": "arrow", "d": f"M {x + 1} {begin} C {x + bend} {begin} {x + bend} {end} {x + 2} {end} {tip}"})


def _text(x: float, y: float, words: str, style: str) -> Element:
    return el("text", {"x": x, "y": y, "class": style}, words)
