"""A bench on the terminal: a line for each measurement, then the table and the mean ratio of each peer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fuzz_decode.bench.bandwidth import Bandwidth
from fuzz_decode.bench.results import TIMED, UNSUPPORTED, WRONG, BenchResult, Ratio, cells, mean_ratio, ratios
from fuzz_decode.bench.runner import Bench
from fuzz_decode.report.terminal.finding import clean

NOT_CAPTURED = "*"
TABLE_WIDTH = 200  # columns


@dataclass(slots=True)
class BenchView:
    """Prints one bench."""

    console: Console
    bandwidth: Bandwidth

    def header(self, versions: dict[str, str], missing: dict[str, str]) -> None:
        """Versions, memory bandwidth, and the peers that are missing."""
        self._print(", ".join(f"{name} {version}" for name, version in versions.items()))
        read, copy = (f"{rate:.0f} GB/s" for rate in (self.bandwidth.read, self.bandwidth.copy))
        self._print(f"reading alone {read} ({self.bandwidth.how}); torch's copy, read and written, {copy}")
        for name, why in missing.items():
            self._print(f"without {name}: {why}", "dim")

    def show(self, row: BenchResult) -> None:
        """One line for a result, unless a peer does not support the case."""
        if row.status == UNSUPPORTED and row.project:
            return
        words = ", ".join(filter(None, (self._speed(row), row.note))) if row.timing else f"{row.status}: {row.note}"
        self._print(f"{row.shape:<10} {row.layout:<12} {row.target:<24} {words}", "red" if row.status == WRONG else "")

    def summary(self, bench: Bench) -> None:
        """The table, then a line for each project."""
        rows = bench.rows
        projects = tuple(dict.fromkeys(row.project for row in rows if row.project))
        table = Table(*("shape", "layout", "ms", "10% - 90%", "GB/s", "of read"), *projects, box=None, header_style="dim")
        for column in table.columns[2:]:
            column.justify = "right"
        ratio_of = {(each.shape, each.layout, each.project): each for each in ratios(rows)}
        for (shape, layout), cell in cells(rows).items():
            ratio_cells = (_peer(ratio_of.get((shape, layout, project)), cell, project) for project in projects)
            for row in [row for row in cell if not row.project]:
                texts = (shape, layout, *self._numbers(row), *ratio_cells)
                table.add_row(*(clean(text, "red" if text == WRONG else "") for text in texts))
        self.console.print(table, width=TABLE_WIDTH, crop=False)  # the terminal may break lines; cells would be cut off
        for line in totals(rows):
            self._print(line)
        if bench.lost:
            self._print(f"the device failed with {bench.lost}; nothing was measured after that", "red")

    def _numbers(self, row: BenchResult) -> tuple[str, ...]:
        if row.timing is None or row.gb_s is None:
            return row.status, "", "", ""
        mark = "" if row.timing.captured else NOT_CAPTURED
        spread = f"{row.timing.ms_low:.4g} - {row.timing.ms_high:.4g}"
        return f"{row.timing.ms:.4g}{mark}", spread, f"{row.gb_s:.0f}", f"{row.gb_s / self.bandwidth.read:.0%}"

    def _speed(self, row: BenchResult) -> str:
        ms, spread, rate, share = self._numbers(row)
        return f"{ms} ms ({spread}), {rate} GB/s, {share}"

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(clean(text, style), soft_wrap=True)


def totals(rows: Sequence[BenchResult]) -> Iterator[str]:
    """The definition of the ratios, their mean for each project, and the contenders that were wrong or not captured."""
    all_ratios = [*ratios(rows)]
    if all_ratios:
        yield "ratios: time of the project's fastest mode / time of the target; above 1 the target is faster"
    for project in dict.fromkeys(each.project for each in all_ratios):
        theirs = [each for each in all_ratios if each.project == project]
        slowest = min(theirs, key=lambda each: each.ratio)
        faster = sum(each.ratio > 1 for each in theirs)
        least = f"least {slowest.ratio:.2f} on {slowest.shape}, {slowest.layout}"
        yield f"{project}: geometric mean {mean_ratio(theirs):.2f}, the target faster in {faster} of {len(theirs)}, {least}"
    if any(row.timing and not row.timing.captured for row in rows):
        yield f"{NOT_CAPTURED} not in a CUDA graph: launches from Python are in the time"
    wrong = [f"{row.target} on {row.shape}, {row.layout}" for row in rows if row.is_finding]
    if wrong:
        yield f"wrong or failed, hence not timed: {'; '.join(wrong)}"


def _peer(ratio: Ratio | None, cell: Sequence[BenchResult], project: str) -> str:
    """The ratio and the project's fastest mode; without one, the status of its modes."""
    theirs = [row for row in cell if row.project == project]
    if ratio is not None:
        captured = all(row.timing.captured for row in theirs if row.timing and row.mode == ratio.mode)
        return f"{ratio.ratio:.2f}{'' if captured else NOT_CAPTURED} {ratio.mode}".strip()
    failures = [row.status for row in theirs if row.status not in (UNSUPPORTED, TIMED)]
    return WRONG if WRONG in failures else failures[0] if failures else "-"
