"""The measurements of a bench as plain data, and the ratios between contenders."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from fuzz_decode.bench.timing import Timing

TIMED, WRONG, FAILED, UNSUPPORTED = "timed", "wrong", "failed", "unsupported"


@dataclass(frozen=True, slots=True)
class BenchResult:
    """One contender on one shape in one layout."""

    shape: str
    layout: str
    target: str
    """The contender's name."""
    project: str
    """Empty for the target under test."""
    mode: str
    """The project's kernel, if it has several."""
    status: str
    """timed, wrong, failed or unsupported."""
    note: str
    """Why it was not timed, or not in a CUDA graph."""
    timing: Timing | None
    """None unless timed."""
    bytes: int
    """Bytes of the cache, q and out that the problem needs."""
    operations: int
    """Multiplications and additions that the problem needs."""

    @property
    def gb_s(self) -> float | None:
        """10**9 needed bytes a second."""
        return self.bytes / self.timing.ms / 1e6 if self.timing else None

    @property
    def is_finding(self) -> bool:
        """Wrong values of any contender are; that a peer fails to run is none."""
        return self.status == WRONG or (self.status == FAILED and not self.project)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A project's fastest mode compared with the target, on one shape in one layout."""

    shape: str
    layout: str
    project: str
    mode: str
    """The fastest."""
    ratio: float
    """The project's time / the target's time: above 1 the target is faster."""


def cells(rows: Iterable[BenchResult]) -> dict[tuple[str, str], list[BenchResult]]:
    """Rows by shape and layout, in the order measured."""
    grouped: dict[tuple[str, str], list[BenchResult]] = {}
    for row in rows:
        grouped.setdefault((row.shape, row.layout), []).append(row)
    return grouped


def ratios(rows: Sequence[BenchResult]) -> Iterator[Ratio]:
    """One for each cell in which both the target and a project were timed."""
    for (shape, layout), cell in cells(rows).items():
        target_ms = [row.timing.ms for row in cell if row.timing and not row.project]
        for project in dict.fromkeys(row.project for row in cell if row.timing and row.project):
            best, mode = min((row.timing.ms, row.mode) for row in cell if row.timing and row.project == project)
            for ms in target_ms:
                yield Ratio(shape, layout, project, mode, best / ms)


def mean_ratio(ratios: Sequence[Ratio]) -> float:
    """The geometric mean."""
    return statistics.geometric_mean([each.ratio for each in ratios])
