"""What a bench measured, as plain data, and how contenders compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fuzz_decode.bench.timing import Timing

TIMED, WRONG, FAILED, UNSUPPORTED = "timed", "wrong", "failed", "unsupported"


@dataclass(frozen=True, slots=True)
class Row:
    """One contender on one shape in one layout. `project` is empty for the target under test. `bytes` and `operations` are those
    that the problem needs."""

    shape: str
    layout: str
    target: str
    project: str
    mode: str
    status: str
    note: str
    timing: Timing | None
    bytes: int
    operations: int

    @property
    def gb_s(self) -> float | None:
        """10**9 bytes a second."""
        return self.bytes / self.timing.ms / 1e6 if self.timing else None

    @property
    def is_finding(self) -> bool:
        """Wrong values are, whoever's; that a peer cannot run here is none."""
        return self.status == WRONG or (self.status == FAILED and not self.project)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long as the target a project's fastest mode takes: above 1 the target is faster."""

    shape: str
    layout: str
    project: str
    mode: str
    ratio: float


def cells(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by shape and layout, in the order measured."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.shape, row.layout), []).append(row)
    return found


def ratios(rows: Sequence[Row]) -> Iterator[Ratio]:
    """Of every cell that the target was timed in, to every project that was."""
    for (shape, layout), cell in cells(rows).items():
        mine = [row.timing.ms for row in cell if row.timing and not row.project]
        for project in dict.fromkeys(row.project for row in cell if row.timing and row.project):
            best, mode = min((row.timing.ms, row.mode) for row in cell if row.timing and row.project == project)
            for ms in mine:
                yield Ratio(shape, layout, project, mode, best / ms)


def mean_ratio(found: Sequence[Ratio]) -> float:
    """Their geometric mean."""
    return statistics.geometric_mean([each.ratio for each in found])
