"""A memory map as a drawing: rows stacked by address, an arrow from the one that should be read to the one that is."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from fuzz_decode.report.html.elements import el
from fuzz_decode.report.memory_map import MARKS, RIGHT, SIGNS, WANTED, WRONG, MemoryMap
from fuzz_decode.report.memory_rows import Cell

WIDTH, LEFT, BAR = 352, 58, 262  # pixels: the whole, addresses, a row
LINE, GAP = 18, 2
SKIP, PAGE = 16, 8  # room for what is left out, and between pages


def memory_svg(memory: MemoryMap) -> Element:
    """The drawing, with its text in it."""
    drawn: list[Element] = []
    middles: dict[str, float] = {}
    top, end, page = 0.0, 0, None
    for cell in memory.cells:
        if cell.start > end:
            drawn.append(_text(LEFT + 8, top + SKIP - 4, f"⋮ {cell.start - end} elements", "faint"))
            top += SKIP
        elif page not in (None, cell.page):
            top += PAGE
        height = LINE + LINE * min(len(cell.marks), MARKS + 1)
        drawn += _cell(cell, top, height)
        for mark in cell.marks:
            middles.setdefault(mark.kind, top + height / 2)
        top, end, page = top + height + GAP, cell.end, cell.page
    if memory.more:
        drawn.append(_text(LEFT + 8, top + SKIP - 4, f"⋮ and {memory.more} more rows like these", "faint"))
        top += SKIP
    if WANTED in middles and WRONG in middles and middles[WANTED] != middles[WRONG]:
        drawn.append(_arrow(middles[WANTED], middles[WRONG]))
    size = {"width": WIDTH, "height": int(top), "viewBox": f"0 0 {WIDTH} {int(top)}", "class": "memory", "role": "img"}
    return el("svg", size, el("title", {}, f"memory of {memory.tensors}, for {memory.whose}"), *drawn)


def _cell(cell: Cell, top: float, height: float) -> list[Element]:
    kind = "padding" if cell.kind == "padding" else cell.kind if cell.kind in ("K", "V", "entry") else "other"
    state = "" if kind == "padding" else " live" if cell.holds else " nobody"
    wrong = next((f" {mark.kind}" for mark in cell.marks if mark.kind != RIGHT), "")
    frame = {"x": LEFT, "y": top, "width": BAR, "height": height, "rx": 3, "class": f"cell {kind}{state}{wrong}"}
    what = cell.name if kind == "padding" else f"{f'{cell.kind} {cell.name}'.strip()}: {cell.holds or 'nobody’s'}"
    parts = [el("rect", frame), _text(LEFT - 6, top + 13, str(cell.start), "address"), _text(LEFT + 8, top + 13, what, "what")]
    for number, mark in enumerate(cell.marks[:MARKS], 1):
        parts.append(_text(LEFT + 8, top + 13 + LINE * number, f"{SIGNS[mark.kind]} {mark.words}", f"mark {mark.kind}"))
    if len(cell.marks) > MARKS:
        parts.append(_text(LEFT + 8, top + 13 + LINE * (MARKS + 1), f"and {len(cell.marks) - MARKS} more", "faint"))
    return parts


def _arrow(begin: float, end: float) -> Element:
    """Beside the rows, from where it should be read to where it is."""
    x, out = LEFT + BAR, 24
    tip = f"M {x + 8} {end - 5} L {x + 1} {end} L {x + 8} {end + 5}"
    return el("path", {"class": "arrow", "d": f"M {x + 1} {begin} C {x + out} {begin} {x + out} {end} {x + 2} {end} {tip}"})


def _text(x: float, y: float, words: str, style: str) -> Element:
    return el("text", {"x": x, "y": y, "class": style}, words)
