"""The shapes, layouts and peers that a bench can measure."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fuzz_decode.bench.contenders import PEERS, PROJECTS
from fuzz_decode.bench.layouts import LAYOUTS
from fuzz_decode.bench.shapes import EVERY_LAYOUT, SHAPES, BenchShape
from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.targets.listing import BuiltIn, built_ins


def show_bench_list(console: Console, device: str) -> None:
    """All names that the options take; `device` is the one to check the peers for."""
    _show(console, "shapes", [(shape.name, f"{shape}; {_layouts(shape)}") for shape in SHAPES.values()])
    _show(console, "layouts", [(arrangement.name, arrangement.about) for arrangement in LAYOUTS.values()])
    known = {built_in.name: built_in for built_in in built_ins(device)}
    _show(console, "peers", [(project, _peer(project, known)) for project in PROJECTS])


def _show(console: Console, title: str, lines: list[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, about in lines:
        table.add_row(f"  {name}", clean(about))
    console.print(Text(title, "bold"), table, sep="\n")


def _layouts(shape: BenchShape) -> str:
    return "every layout" if shape.layouts == EVERY_LAYOUT else ", ".join(shape.layouts)


def _peer(project: str, known: dict[str, BuiltIn]) -> str:
    """Its modes, and its version, or why it cannot run and, on a line of its own to be copied, what installs it."""
    modes = [peer for peer in PEERS if peer.project == project]
    built_in = known[modes[0].adapter]
    version = f"no: {built_in.unavailable}" if built_in.unavailable else built_in.version
    install = f"\n{built_in.install}" if built_in.unavailable and built_in.install and not built_in.version else ""
    only_named = "" if modes[0].by_default else "compiles for minutes, so only if named"
    return "; ".join(filter(None, (", ".join(filter(None, (peer.mode for peer in modes))), version, only_named))) + install
