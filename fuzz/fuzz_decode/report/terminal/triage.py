"""Triage on the terminal: a panel for each bug that still fails, a line for each that does not, a count at the end."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.text import Text

from fuzz_decode.campaign.triage import FAILS_OTHERWISE, FIXED, NOT_RUN, STILL_FAILS, Triaged
from fuzz_decode.report.terminal.finding import in_a_line, repro_line, show_finding
from fuzz_decode.text import counted

STYLES = {STILL_FAILS: "red", FAILS_OTHERWISE: "red", FIXED: "green", NOT_RUN: "yellow"}


def show_triaged(console: Console, triaged: Triaged) -> None:
    """Print one bug."""
    if triaged.failing:
        show_finding(console, triaged.entry, repro(triaged), title(triaged), triaged.trace)
    else:
        reason = f": {triaged.reason}" if triaged.reason else ""
        console.print(in_a_line(f"{triaged.path}: {title(triaged)}{reason}", style(triaged)), soft_wrap=True)
    if triaged.others:
        others = ", ".join(map(str, triaged.others))
        console.print(Text.assemble(("same   ", "dim"), in_a_line(others)), soft_wrap=True)
    console.print()


def title(triaged: Triaged) -> str:
    """`wrong-value:out on mutant:gqa-modulo: still failing`."""
    was = f", was {triaged.stored.signature}" if triaged.status == FAILS_OTHERWISE else ""
    return f"{triaged.entry.signature} on {triaged.entry.target}: {triaged.status}{was}"


def repro(triaged: Triaged) -> str:
    """The command that runs the case again."""
    return repro_line(triaged.path, triaged.entry.target)


def style(triaged: Triaged) -> str:
    return STYLES.get(triaged.status, "yellow")


def count_statuses(statuses: Counter[str], files: int) -> str:
    """`13 bugs in 14 files: 12 still failing, 1 fixed`."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return f"{counted(statuses.total(), 'bug')} in {counted(files, 'file')}" + (f": {counts}" if counts else "")
