"""A bench on the terminal: a line for each measurement as it comes, then the table and what the peers come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fuzz_decode.bench.bandwidth import Bandwidth
from fuzz_decode.bench.results import TIMED, UNSUPPORTED, WRONG, Ratio, Row, cells, mean_ratio, ratios
from fuzz_decode.bench.runner import Bench
from fuzz_decode.report.terminal.finding import clean

NOT_CAPTURED = "*"
WIDEST = 200


@dataclass(slots=True)
class BenchView:
    """Shows one bench."""

    console: Console
    bandwidth: Bandwidth

    def header(self, versions: dict[str, str], missing: dict[str, str]) -> None:
        """Where, with which versions, against which roof, and without whom."""
        self._print(", ".join(f"{name} {version}" for name, version in versions.items()))
        read, copy = (f"{rate:.0f} GB/s" for rate in (self.bandwidth.read, self.bandwidth.copy))
        self._print(f"reading alone {read} ({self.bandwidth.how}); torch's copy, read and written, {copy}")
        for name, why in missing.items():
            self._print(f"without {name}: {why}", "dim")

    def show(self, row: Row) -> None:
        """One line, as soon as it is known; what a peer does not take is not worth one."""
        if row.status == UNSUPPORTED and row.project:
            return
        words = ", ".join(filter(None, (self._speed(row), row.note))) if row.timing else f"{row.status}: {row.note}"
        self._print(f"{row.shape:<10} {row.layout:<12} {row.target:<24} {words}", "red" if row.status == WRONG else "")

    def summary(self, bench: Bench) -> None:
        """The table, then each project in a line."""
        rows = bench.rows
        projects = tuple(dict.fromkeys(row.project for row in rows if row.project))
        table = Table(*("shape", "layout", "ms", "10% - 90%", "GB/s", "of read"), *projects, box=None, header_style="dim")
        for column in table.columns[2:]:
            column.justify = "right"
        found = {(each.shape, each.layout, each.project): each for each in ratios(rows)}
        for (shape, layout), cell in cells(rows).items():
            peers = (_peer(found.get((shape, layout, project)), cell, project) for project in projects)
            for own in (row for row in cell if not row.project):
                texts = (shape, layout, *self._numbers(own), *peers)
                table.add_row(*(clean(text, "red" if text == WRONG else "") for text in texts))
        self.console.print(table, width=WIDEST, crop=False)  # lines that a terminal breaks are better than cells cut off
        for line in totals(rows):
            self._print(line)
        if bench.lost:
            self._print(f"the device failed with {bench.lost}; nothing could be measured after that", "red")

    def _numbers(self, row: Row) -> tuple[str, ...]:
        if row.timing is None or row.gb_s is None:
            return row.status, "", "", ""
        mark = "" if row.timing.captured else NOT_CAPTURED
        spread = f"{row.timing.ms_low:.4g} - {row.timing.ms_high:.4g}"
        return f"{row.timing.ms:.4g}{mark}", spread, f"{row.gb_s:.0f}", f"{row.gb_s / self.bandwidth.read:.0%}"

    def _speed(self, row: Row) -> str:
        ms, spread, rate, share = self._numbers(row)
        return f"{ms} ms ({spread}), {rate} GB/s, {share}"

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(clean(text, style), soft_wrap=True)


def totals(rows: Sequence[Row]) -> Iterator[str]:
    """What the ratios are, how they come out for each project, and what was wrong or not captured."""
    found = [*ratios(rows)]
    if found:
        yield "ratios: time of the project's fastest mode / time of the target; above 1 the target is faster"
    for project in dict.fromkeys(each.project for each in found):
        theirs = [each for each in found if each.project == project]
        slowest = min(theirs, key=lambda each: each.ratio)
        faster = sum(each.ratio > 1 for each in theirs)
        least = f"least {slowest.ratio:.2f} on {slowest.shape}, {slowest.layout}"
        yield f"{project}: geometric mean {mean_ratio(theirs):.2f}, the target faster in {faster} of {len(theirs)}, {least}"
    if any(row.timing and not row.timing.captured for row in rows):
        yield f"{NOT_CAPTURED} not in a CUDA graph: launches from Python are in the time"
    wrong = [f"{row.target} on {row.shape}, {row.layout}" for row in rows if row.is_finding]
    if wrong:
        yield f"wrong or failed, hence not timed: {'; '.join(wrong)}"


def _peer(ratio: Ratio | None, cell: Sequence[Row], project: str) -> str:
    """The ratio and the mode it is to; else what became of the project's modes."""
    theirs = [row for row in cell if row.project == project]
    if ratio is not None:
        captured = all(row.timing.captured for row in theirs if row.timing and row.mode == ratio.mode)
        return f"{ratio.ratio:.2f}{'' if captured else NOT_CAPTURED} {ratio.mode}".strip()
    told = [row.status for row in theirs if row.status not in (UNSUPPORTED, TIMED)]
    return WRONG if WRONG in told else told[0] if told else "-"
