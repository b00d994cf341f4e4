"""A bench as a roofline: operations per byte against operations per second, below the roof of the memory bandwidth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz_decode.bench.bandwidth import Bandwidth
from fuzz_decode.bench.results import BenchResult

MARKERS = "osD^vPX*<>"


def draw_roofline(path: Path, rows: Sequence[BenchResult], bandwidth: Bandwidth, title: str) -> None:
    """Write the picture, in the format of the suffix. Each contender has a marker; names of shapes stand below the target's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    axes.set(xlabel="operations per byte", ylabel="TFLOP/s", title=title)
    timed = [row for row in rows if row.timing]
    _draw_roof(axes, timed, bandwidth)
    for number, target in enumerate(dict.fromkeys(row.target for row in timed)):
        points = [_point(row) for row in timed if row.target == target]
        marker = MARKERS[number % len(MARKERS)]
        axes.scatter(*zip(*points, strict=True), marker=marker, s=28, alpha=0.8, label=target, zorder=3 if number == 0 else 2)
    for point, shapes in _names(timed).items():
        axes.annotate("\n".join(shapes), point, xytext=(7, -2), textcoords="offset points", fontsize=7, va="top")
    axes.legend(fontsize=8)
    axes.grid(visible=True, which="both", linewidth=0.3)
    figure.savefig(path)


def _draw_roof(axes: Any, timed: Sequence[BenchResult], bandwidth: Bandwidth) -> None:
    intensities = [_point(row)[0] for row in timed]
    ends = (min(intensities, default=1.0) / 1.5, max(intensities, default=1.0) * 1.5)
    label = f"read bandwidth, measured: {bandwidth.read:.0f} GB/s"
    axes.plot(ends, [end * bandwidth.read / 1e3 for end in ends], color="black", linewidth=1, label=label)


def _point(row: BenchResult) -> tuple[float, float]:
    assert row.timing is not None
    return row.operations / row.bytes, row.operations / row.timing.ms / 1e9


def _names(timed: Sequence[BenchResult]) -> dict[tuple[float, float], list[str]]:
    """Names of shapes by the point below which they stand: the target's fastest one of that intensity."""
    groups: dict[str, list[BenchResult]] = {}
    for row in timed:
        if not row.project:
            groups.setdefault(f"{_point(row)[0]:.1g}", []).append(row)
    return {max(map(_point, rows)): list(dict.fromkeys(row.shape for row in rows)) for rows in groups.values()}
