"""The list of built-in targets: the kernel of each, whether it can run on this machine, its limits, how to install it."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.targets.description import limits
from fuzz_decode.targets.listing import BuiltIn, built_ins
from fuzz_decode.targets.names import mutant_target
from fuzz_decode.targets.target import Target
from fuzz_decode_kernels.mutants import MUTANTS

NEXT = (
    "",
    "--no-deps: only the kernel's own file is loaded, so no GPU stack is needed",
    "the mutants: fuzz-decode targets --mutants",
    "what is derived from a target: fuzz-decode targets --check TARGET",
)


def show_targets(console: Console, device: str) -> None:
    """Every built-in target; `device` is the one to check them for."""
    for built_in in built_ins(device):
        _show(console, built_in)
    console.print(Text.assemble((mutant_target("NAME"), "bold"), "  the bundled kernel with one fault of a released one"))
    console.print(Text.assemble(("module:function", "bold"), " or ", ("path/to/file.py:function", "bold"), "  your function"))
    for line in NEXT:
        console.print(line, soft_wrap=True)


def show_mutants(console: Console) -> None:
    """The mutants with faults of released kernels, a row each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for name, mutant in MUTANTS.items():
        table.add_row(mutant_target(name), mutant.fault)
    console.print(table)


def _show(console: Console, built_in: BuiltIn) -> None:
    console.print(Text.assemble((built_in.name, "bold"), "  ", built_in.about))
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", min_width=7)
    rows.add_column(overflow="fold")
    rows.add_row("status", _status(built_in))
    for word, value in _declared(built_in.target).items() if built_in.target else ():
        rows.add_row(word, value)
    if built_in.unavailable and built_in.install and not built_in.version:
        rows.add_row("install", clean(built_in.install))
    console.print(_indented(rows), Text())


def _status(built_in: BuiltIn) -> Text:
    words = (built_in.version, f"no: {built_in.unavailable}") if built_in.unavailable else (built_in.version, "available")
    return clean(", ".join(filter(None, words)), "yellow" if built_in.unavailable else "green")


def _declared(target: Target) -> dict[str, str]:
    """The dtypes, options and devices that the target declares, and its limits."""
    supported = (", ".join(target.dtypes), f"options {', '.join(sorted(target.options)) or 'none'}", " or ".join(target.devices))
    rows = {"takes": "; ".join(supported)}
    declared_limits = "; ".join(limit for limit, _ in limits(target))
    return rows | ({"limits": declared_limits} if declared_limits else {})


def _indented(table: Table) -> Padding:
    return Padding(table, (0, 0, 0, 2), expand=False)
