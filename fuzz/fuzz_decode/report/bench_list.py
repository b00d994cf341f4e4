"""What a bench can measure: shapes, layouts, peers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fuzz_decode.bench.contenders import PEERS
from fuzz_decode.bench.layouts import LAYOUTS
from fuzz_decode.bench.shapes import SHAPES
from fuzz_decode.report.finding import clean
from fuzz_decode.targets.catalogue import BuiltIn, built_ins


def show_bench_list(console: Console, device: str) -> None:
    """All names that the options take, on a machine that has `device` beside the CPU."""
    _show(console, "shapes", [(shape.name, f"{shape}; in {', '.join(shape.layouts)}") for shape in SHAPES.values()])
    _show(console, "layouts", [(arrangement.name, arrangement.about) for arrangement in LAYOUTS.values()])
    known = {built_in.name: built_in for built_in in built_ins(device)}
    peers = [(f"{peer.project} {peer.mode}".strip(), _here(known[peer.adapter], by_default=peer.by_default)) for peer in PEERS]
    _show(console, "peers", peers)


def _show(console: Console, title: str, lines: list[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, about in lines:
        table.add_row(f"  {name}", clean(about))
    console.print(Text(title, "bold"), table, sep="\n")


def _here(built_in: BuiltIn, *, by_default: bool) -> str:
    if built_in.why_not:
        install = f"; {built_in.install}" if built_in.install and not built_in.version else ""
        return f"no: {built_in.why_not}{install}"
    return built_in.version if by_default else f"{built_in.version}; compiles for long, only if named"
