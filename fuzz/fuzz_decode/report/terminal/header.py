"""The first lines of whatever runs a target: where, with which versions, and what cannot be drawn there."""

from __future__ import annotations

from rich.console import Console

from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo


def show_header(console: Console, plan: WorkerConfig, ready: WorkerInfo, more: str = "") -> None:
    """`more` goes between the device and the versions."""
    where = "cpu (Triton interpreter)" if plan.device == "cpu" else plan.device
    versions = ", ".join(f"{name} {version}" for name, version in ready.versions.items())
    console.print(clean(f"target {plan.target} on {where}{more}; {versions}"), soft_wrap=True)
    for dtype, what in ready.refused.items():
        who = "Triton's interpreter: " if plan.device == "cpu" else ""
        console.print(clean(f"{dtype} is not drawn: {who}{what}", "yellow"), soft_wrap=True)
