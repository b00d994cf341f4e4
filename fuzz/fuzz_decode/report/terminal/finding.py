"""A finding as a panel: the worst element, the case and its strides in tables, the features it requires, and the repro line."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import Trace
from fuzz_decode.report.facts import (
    call_facts,
    case_facts,
    message,
    message_details,
    required_features,
    tensor_facts,
    with_the_default,
    worst_index,
    worst_numbers,
)
from fuzz_decode.report.memory_map import memory_maps, tells_of_memory, why_no_map
from fuzz_decode.report.terminal.memory_map import memory_text
from fuzz_decode.text import counted, one_line, printable

NOTHING: Mapping[str, tuple[int, ...]] = MappingProxyType({})
PANEL_WIDTH = 110  # columns, at most: longer lines are hard to read
BORDER = 6  # columns of the corners, lines and blanks around a title
WRONG_STYLE = "bold red"
NUMBERS = {"expected": ("expected ", "green"), "got": ("got ", "red"), "allowed": ("allowed ±", "cyan")}


def show_finding(console: Console, entry: Entry, repro: str, title: str, trace: Trace | None = None) -> None:
    """The panel of a finding, and the command that reproduces it, in one line so that it can be copied."""
    show_panel(console, entry, title, trace)
    console.print(Text.assemble(("repro  ", "dim"), in_a_line(repro, "bold")), soft_wrap=True)


def show_panel(console: Console, entry: Entry, title: str, trace: Trace | None = None) -> None:
    """The panel of a finding. A title that does not fit into its border stands above it."""
    width, title = min(console.width, PANEL_WIDTH), one_line(title)
    fits = cell_len(title) <= width - BORDER
    if not fits:
        console.print(clean(title, "red"), soft_wrap=True)
    console.print(finding_panel(entry, title if fits else "", trace), width=width)


def finding_text(entry: Entry, repro: str, title: str, width: int = PANEL_WIDTH) -> str:
    """The same as plain text, whatever the terminal, notebook and settings."""
    file = io.StringIO()
    plain: dict[str, Any] = {"color_system": None, "force_terminal": False, "force_jupyter": False, "highlight": False}
    show_finding(Console(file=file, width=width, **plain), entry, repro, title)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def repro_line(path: Path | None, target: str) -> str:
    """The command that runs a stored case again."""
    if path is None:
        return "no command: the case could not be saved"
    return shlex.join(["fuzz-decode", "replay", str(path), "--target", target])


def finding_panel(entry: Entry, title: str, trace: Trace | None = None) -> Panel:
    """The failure, the case and the features that it requires; with a trace, the memory that the kernel reads, too."""
    texts = (entry.note, "bold"), (entry.diagnosis, "bold"), (message(entry), ""), (message_details(entry), "dim")
    parts: list[RenderableType] = [clean(text, style) for text, style in texts if text]
    parts += [worst_element(entry), Text()] if worst_index(entry) else [Text()]
    parts += [case_table(entry.case), Text(), stride_table(entry.case, trace.strides if trace else NOTHING)]
    if trace and tells_of_memory(entry, trace):
        parts += [Text(), *memory_parts(entry.case, trace)]
    if entry.before:
        parts += [Text(), calls_table(entry)]
    if entry.needed:
        parts += [Text(), required_table(entry)]
    return Panel(Group(*parts), title=clean(title) if title else None, title_align="left", border_style="red", expand=False)


def worst_element(entry: Entry) -> Text:
    """`out[sequence 0, q head 1, dim 5]: expected 0.6476  got 0.6536  allowed ±1.4e-05`."""
    index = worst_index(entry)
    text = Text(index)
    for key, number in worst_numbers(entry).items() if index else ():
        text.append(f"  {NUMBERS[key][0]}", "dim").append_text(clean(number, NUMBERS[key][1]))
    return text


def case_table(case: Case) -> Table:
    """Sizes and options, a row each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in case_facts(case):
        table.add_row(name, value)
    return table


def stride_table(case: Case, assumed: Mapping[str, tuple[int, ...]] = NOTHING) -> Table:
    """Shape and strides of every tensor as they are passed to the target, and the strides that it uses, where that is known."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("tensor", "shape", "strides", "layout"):
        table.add_column(column, overflow="fold")
    for facts in tensor_facts(case):
        used = assumed.get(facts.name)
        table.add_row(Text(facts.name, WRONG_STYLE if used else ""), str(list(facts.shape)), str(facts.strides), facts.layout)
        if used:
            table.add_row("", Text("kernel uses", WRONG_STYLE), _marked(facts.strides, used))
    return table


def _marked(passed: tuple[int, ...], used: tuple[int, ...]) -> Text:
    """The strides that the kernel uses, the wrong ones marked."""
    parts = [Text(str(number), WRONG_STYLE if right != number else "") for right, number in zip(passed, used, strict=True)]
    return Text.assemble("(", Text(", ").join(parts), ")")


def memory_parts(case: Case, trace: Trace) -> list[RenderableType]:
    """The memory maps, or why there is none."""
    maps = memory_maps(case, trace)
    parts: list[RenderableType] = [Text(why, "dim") for why in why_no_map(trace, maps)]
    for memory in maps:
        parts += [*([Text()] if parts else []), memory_text(memory)]
    return parts


def required_table(entry: Entry) -> Table:
    """`required: k = interleaved (passes with the default)`, a row for each feature."""
    table = Table.grid()
    for feature, verdict in required_features(entry):
        table.add_row(Text.assemble(("required: ", "dim"), clean(feature), clean(f" ({with_the_default(verdict)})", "dim")))
    return table


def calls_table(entry: Entry) -> Table:
    """The calls before the failing one, and how they differ from it."""
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(f"requires the {counted(len(entry.before), 'call')} before it", "bold"))
    for facts in call_facts(entry):
        table.add_row(clean(facts))
    return table


def clean(text: str, style: str = "") -> Text:
    """Text from a file or a target, without control characters."""
    return Text(printable(text), style)


def in_a_line(text: str, style: str = "") -> Text:
    """The same in one line: a line break in the name of a file would look like a line of this report."""
    return Text(one_line(text), style)
