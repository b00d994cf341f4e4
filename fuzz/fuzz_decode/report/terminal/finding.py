"""A finding for the eye: what was expected, what came, the case and its strides in tables, and how to see it again."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import Trace
from fuzz_decode.report.facts import call_facts, case_facts, message, needed_facts, tensor_facts, worst_numbers, worst_place
from fuzz_decode.report.memory_map import memory_maps, why_no_map
from fuzz_decode.report.terminal.memory_map import memory_text
from fuzz_decode.text import one_line, printable

NOTHING: Mapping[str, tuple[int, ...]] = MappingProxyType({})
GUILTY = "bold red"
NUMBERS = {"expected": ("expected ", "green"), "got": ("got ", "red"), "allowed": ("allowed ±", "cyan")}


def show_finding(console: Console, entry: Entry, repro: str, title: str, trace: Trace | None = None) -> None:
    """Everything about one finding, and the line that shows it again, unbroken so that it can be copied."""
    console.print(finding_panel(entry, title, trace))
    console.print(Text.assemble(("repro  ", "dim"), in_a_line(repro, "bold")), soft_wrap=True)


def finding_text(entry: Entry, repro: str, title: str, width: int = 110) -> str:
    """The same as plain text. What it looks like depends on no terminal, notebook or setting."""
    file = io.StringIO()
    plain: dict[str, Any] = {"color_system": None, "force_terminal": False, "force_jupyter": False, "highlight": False}
    show_finding(Console(file=file, width=width, **plain), entry, repro, title)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def repro_line(path: Path, target: str) -> str:
    """The command that runs a stored case again."""
    return shlex.join(["fuzz-decode", "replay", str(path), "--target", target])


def finding_panel(entry: Entry, title: str, trace: Trace | None = None) -> Panel:
    """What was wrong, the case, and why nothing can be left out of it; with a trace, memory as the kernel reads it, too."""
    parts: list[RenderableType] = [clean(message(entry)), worst_element(entry), Text()]
    if entry.finding.get("reads"):
        parts.insert(1, clean(str(entry.finding["reads"]), "dim"))
    if entry.diagnosis:
        parts.insert(0, clean(entry.diagnosis, "bold"))
    if entry.note:
        parts.insert(0, clean(entry.note, "bold"))
    parts += [case_table(entry.case), Text(), stride_table(entry.case, trace.strides if trace else NOTHING)]
    if trace:
        parts += [Text(), *memory_parts(entry.case, trace)]
    if entry.before:
        parts += [Text(), calls_table(entry)]
    if entry.needed:
        parts += [Text(), needed_table(entry)]
    return Panel(Group(*parts), title=clean(title), title_align="left", border_style="red", expand=False)


def worst_element(entry: Entry) -> Text:
    """`out[sequence 0, q head 1, dim 5]: expected 0.6476  got 0.6536  allowed ±1.4e-05`."""
    place = worst_place(entry)
    text = Text(place)
    for key, number in worst_numbers(entry).items() if place else ():
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
    """Shape and strides of every tensor, as the target gets them, and what it makes of them where that is known."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("tensor", "shape", "strides", "layout"):
        table.add_column(column, overflow="fold")
    for facts in tensor_facts(case):
        taken = assumed.get(facts.name)
        table.add_row(Text(facts.name, GUILTY if taken else ""), str(list(facts.shape)), str(facts.strides), facts.layout)
        if taken:
            table.add_row("", Text("taken as", GUILTY), _marked(facts.strides, taken))
    return table


def _marked(given: tuple[int, ...], taken: tuple[int, ...]) -> Text:
    """The strides that the kernel goes by, the guilty ones marked."""
    parts = [Text(str(now), GUILTY if was != now else "") for was, now in zip(given, taken, strict=True)]
    return Text.assemble("(", Text(", ").join(parts), ")")


def memory_parts(case: Case, trace: Trace) -> list[RenderableType]:
    """The memory maps, and why there is none."""
    maps = memory_maps(case, trace)
    parts: list[RenderableType] = [Text(why, "dim") for why in why_no_map(trace, maps)]
    for memory in maps:
        parts += [*([Text()] if parts else []), memory_text(memory)]
    return parts


def needed_table(entry: Entry) -> Table:
    """Each feature that is left, and what happens without it."""
    table = Table.grid(padding=(0, 2))
    for feature, verdict in needed_facts(entry):
        table.add_row(Text("needed", "dim"), clean(feature), clean(f"without it: {verdict}", "dim"))
    return table


def calls_table(entry: Entry) -> Table:
    """The calls before the failing one, and how they differ from it."""
    table = Table.grid(padding=(0, 2))
    count = len(entry.before)
    table.add_row(Text(f"needs the {count} call{'s' * (count > 1)} before it", "bold"))
    for facts in call_facts(entry):
        table.add_row(clean(facts))
    return table


def clean(text: str, style: str = "") -> Text:
    """Text from a file or a target, without what could steer a terminal."""
    return Text(printable(text), style)


def in_a_line(text: str, style: str = "") -> Text:
    """The same where a line break in it, of a file's name, say, would look like a line of ours."""
    return Text(one_line(text), style)
