"""A memory map for the terminal: a line for each row of memory, in address order."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fuzz_decode.report.memory_map import EXPECTED, RIGHT, SHOWN_MARKS, SIGNS, WRONG, MemoryMap
from fuzz_decode.report.memory_rows import Cell
from fuzz_decode.text import counted

COLOURS = {"K": "blue", "V": "magenta", "q": "cyan", "out": "cyan", "entry": "yellow"}
STYLES = {RIGHT: "green", EXPECTED: "bold green", WRONG: "bold red"}
LIVE, UNREFERENCED, PADDING = "█", "▒", "░"


def memory_text(memory: MemoryMap) -> Group:
    """The map under a headline, its key below."""
    head = Text.assemble((f"memory of {memory.tensors}", "bold"), f" by address, for {memory.whose}")
    return Group(head, _lines(memory), _key(memory))


def _lines(memory: MemoryMap) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    pages = len({cell.page for cell in memory.cells})
    page, end = None, 0
    for cell in memory.cells:
        if cell.start > end:
            table.add_row("⋮", "", Text(counted(cell.start - end, "element"), "dim"))
        elif page not in (None, cell.page) and pages < len(memory.cells):
            table.add_row()
        table.add_row(str(cell.start), _glyph(cell), _name(cell), _marks(cell))
        page, end = cell.page, cell.end
    if memory.more:
        table.add_row("⋮", "", Text(f"and {counted(memory.more, 'more row')} like these", "dim"))
    return table


def _glyph(cell: Cell) -> Text:
    if cell.kind == "padding":
        return Text(PADDING * 2, "dim")
    return Text((LIVE if cell.holds else UNREFERENCED) * 2, COLOURS.get(cell.kind, ""))


def _name(cell: Cell) -> Text:
    if cell.kind == "padding":
        return Text(cell.name, "dim")
    place = Text.assemble((cell.kind, COLOURS.get(cell.kind, "")), f" {cell.name}" if cell.name else "")
    return place.append(f": {cell.holds}" if cell.holds else ": unreferenced", "" if cell.holds else "dim")


def _marks(cell: Cell) -> Text:
    shown = [Text(f"{SIGNS[mark.kind]} {mark.words}", STYLES[mark.kind]) for mark in cell.marks[:SHOWN_MARKS]]
    if len(cell.marks) > SHOWN_MARKS:
        shown.append(Text(f"and {len(cell.marks) - SHOWN_MARKS} more", "dim"))
    return Text("\n").join(shown)


def _key(memory: MemoryMap) -> RenderableType:
    kinds = {PADDING if cell.kind == "padding" else LIVE if cell.holds else UNREFERENCED for cell in memory.cells}
    poison = memory.unused and f": {memory.unused}"
    words = {LIVE: "in use", UNREFERENCED: f"unreferenced{poison}", PADDING: f"between rows{poison}"}
    return Text("   ".join(f"{glyph} {words[glyph]}" for glyph in words if glyph in kinds), "dim")
