"""A score on the terminal: a live line while it runs, the table at the end; the same table in Markdown and JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.score import Score
from fuzz_decode.evaluate.tally import Tally, TallyRow
from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.text import counted

COLUMNS = ("mutant", "class", "killed", "median", "90%", "oracle", "diagnosis right")
PLAIN_LINE_SECONDS = 10.0  # between lines of progress in a pipe


@dataclass(slots=True)
class ScoreView:
    """Prints one score. Use as a context manager around its events."""

    score: Score
    console: Console
    started: float = field(default_factory=time.monotonic)
    _progress: Progress | None = None
    _task: TaskID = TaskID(0)
    _last_line: float = 0.0
    _total: int = 0

    def __enter__(self) -> ScoreView:
        self._last_line, self._total = self.started, len(self.score.tasks())
        if self.console.is_terminal:
            ends = (TimeElapsedColumn(), TimeRemainingColumn(compact=True))
            columns = (BarColumn(12), TextColumn("{task.description}"), *ends)
            self._progress = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self._task = self._progress.add_task("importing torch and the kernel", total=self._total)
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, measurement: Measurement) -> None:
        done = len(self.score.measured) + len(self.score.clean)
        killed = sum(each.killed for each in self.score.measured)
        status = f"{done}/{self._total} runs  {killed} killed  {measurement.subject[:40]}"
        if self._progress is not None:
            self._progress.update(self._task, completed=done, description=status)
        elif time.monotonic() - self._last_line > PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            self.console.print(clean(f"{self._last_line - self.started:.0f} s: {status}"), soft_wrap=True)

    def summary(self) -> None:
        """The table and the totals."""
        tally = self.score.tally()
        table = Table(*COLUMNS, box=None, header_style="dim", padding=(0, 1))
        for column in table.columns[2:5]:
            column.justify = "right"
        for row in (*tally.classes, *tally.rows):
            style = "bold" if row in tally.classes else "yellow" if row.survived and not row.equivalent else ""
            table.add_row(*(clean(cell) for cell in self._cells(row)), style=style)
        self.console.print(table)
        for line in self.totals(tally):
            self.console.print(clean(line), soft_wrap=True)

    def markdown(self) -> str:
        """The table, the classes first, and the totals below."""
        tally = self.score.tally()
        lines = [f"| {' | '.join(COLUMNS)} |", "|---|---|--:|--:|--:|---|---|"]
        for row in tally.classes:
            lines.append(f"| **{row.name}** | {' | '.join(self._cells(row)[1:])} |")
        for row in tally.rows:
            lines.append(f"| {' | '.join(_escaped(cell) for cell in self._cells(row))} |")
        return "\n".join([*lines, "", *self.totals(tally)]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """The JSON report: the settings, the table and every measurement."""
        setting = self.score.setting
        runs = sorted(self.score.measured, key=lambda each: (each.subject, each.seed))
        return {
            "setting": {**setting.key(), "seeds": self.score.seeds, "timeout": setting.timeout},
            **self.score.tally().to_json(),
            "runs": [plain_data(each) for each in runs],
            "clean_runs": [plain_data(each) for each in self.score.clean if each.killed],
        }

    def totals(self, tally: Tally) -> Iterator[str]:
        """The totals, in sentences."""
        cases = f"the grid of {self.score.setting.grid}" if self.score.setting.grid else "the fuzzer"
        ablation = f", {self.score.setting.ablate}" if self.score.setting.ablate else ""
        most = f"up to {counted(self.score.setting.limit, 'case')}, seeds 0 to {self.score.seeds - 1}"
        killed = f"{tally.detected} of {counted(tally.mutants, 'mutant')} killed"
        yield f"{cases}{ablation} on {self.score.setting.device}, {most}: {killed}"
        strides = f", stride classes {self._cases(tally.stride_median)}" if tally.strides else ""
        yield f"median cases to kill: {self._cases(tally.median)}{strides}"
        beyond = sum(bool(row.beyond) for row in tally.rows)
        if beyond:
            yield f"{beyond} of them are beyond the reach of any case and were not run"
        equivalent = sum(bool(row.equivalent) for row in tally.rows)
        if equivalent:
            yield f"{equivalent} more are equivalent to the kernel and count in neither number"
        if tally.clean:
            rate, cases = f"{tally.alarm_rate:.2g}", counted(tally.clean, "case")
            yield f"false alarms on the kernel itself: {tally.alarms} in {cases}, a rate of at most {rate} (95%)"

    def _cells(self, row: TallyRow) -> tuple[str, ...]:
        wrong = f", {row.wrong} wrong" if row.wrong else ""
        right = f"{row.right}/{row.asked}{wrong}" if row.asked else "-"
        numbers = f"{row.killed}/{row.runs}", self._cases(row.median), self._cases(row.p90)
        oracle = row.oracle or ("equivalent" if row.equivalent else "beyond reach" if row.beyond else "-")
        return row.name, row.kind or "-", *numbers, oracle, right

    def _cases(self, number: int | None) -> str:
        return f">{self.score.setting.limit}" if number is None else str(number)


def plain_data(measurement: Measurement) -> dict[str, Any]:
    return {name: getattr(measurement, name) for name in Measurement.__slots__}


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
