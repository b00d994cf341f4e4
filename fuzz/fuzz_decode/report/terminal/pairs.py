"""Campaigns on kernels with two faults, on the terminal: a line for each campaign, and the totals."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from fuzz_decode.evaluate.pairs import PairMeasurement, to_json
from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.text import counted


def show_pair(measured: PairMeasurement, console: Console) -> None:
    """`gqa-modulo+lse-base-2: 2 findings in 600 cases, 31 s; named gqa-modulo, lse-base-2`."""
    named = ", ".join(finding.fault or "-" for finding in measured.findings)
    verdict = f"; missed {', '.join(measured.missed)}" if measured.missed else ""
    verdict += f"; {measured.extra} extra" if measured.extra else ""
    found = f"{counted(len(measured.findings), 'finding')} in {counted(measured.cases, 'case')}, {measured.seconds:.0f} s"
    console.print(clean(f"{measured.name}: {found}; named {named or 'nothing'}{verdict}"), soft_wrap=True)


def show_totals(measured: Sequence[PairMeasurement], console: Console) -> None:
    data = to_json(measured)
    console.print(f"both faults reported for {data['both_reported']} of {counted(data['pairs'], 'pair')}")
    console.print(f"each finding named another fault, with confidence, for {data['named_apart']} of them")
    console.print(f"more findings than faults in {data['with_extra_findings']} of {counted(len(measured), 'campaign')}")
