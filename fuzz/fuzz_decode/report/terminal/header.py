"""The first lines of every command that runs a target: device, versions, and dtypes that are skipped."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.workers.engines import INTERPRETER, NATIVE
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo

ENGINES: dict[str, str] = {INTERPRETER: "Triton interpreter", NATIVE: "native engine"}


def interpreter_line(reason: str) -> Text:
    """That the interpreter runs kernels, and why the native engine does not."""
    return clean(f"engine: interpreter, since {reason}", "yellow")


def interpreter_lines(console: Console) -> Callable[[str], None]:
    """Prints the line for each reason that it gets, once."""
    printed: set[str] = set()

    def show(reason: str) -> None:
        if reason not in printed:
            printed.add(reason)
            console.print(interpreter_line(reason), soft_wrap=True)

    return show


def show_header(console: Console, plan: WorkerConfig, ready: WorkerInfo, more: str = "") -> None:
    """`more` goes between the device and the versions."""
    engine = ready.versions.get("engine", INTERPRETER)
    where = f"cpu ({ENGINES[engine]})" if plan.device == "cpu" else plan.device
    versions = ", ".join(f"{name} {version}" for name, version in ready.versions.items() if name != "engine")
    console.print(clean(f"target {plan.target} on {where}{more}; {versions}"), soft_wrap=True)
    for dtype, failure in ready.refused.items():
        reason = f"failed the {engine} self-test ({failure})" if plan.device == "cpu" else failure
        console.print(clean(f"{dtype} skipped: {reason}", "yellow"), soft_wrap=True)
