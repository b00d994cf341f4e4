"""The JSON report of a bench."""

from __future__ import annotations

import dataclasses
from typing import Any

from fuzz_decode.bench.bandwidth import Bandwidth
from fuzz_decode.bench.results import TIMED, WRONG, BenchResult, ratios
from fuzz_decode.bench.runner import Bench


def bench_data(bench: Bench, bandwidth: Bandwidth, versions: dict[str, str]) -> dict[str, Any]:
    """Everything measured so far; `complete` says whether that is all, `lost` on which row the device failed. Times are
    milliseconds a call, rates 10**9 bytes a second, `share` is that of the read bandwidth, a ratio is a project's fastest time /
    the target's."""
    return {
        "target": bench.contenders[0].name,
        "versions": versions,
        "complete": bench.complete,
        "lost": bench.lost,
        "bandwidth": {"read_gb_s": bandwidth.read, "read_how": bandwidth.how, "copy_gb_s": bandwidth.copy},
        "rows": [_row(row, bandwidth) for row in bench.rows],
        "ratios": [dataclasses.asdict(ratio) for ratio in ratios(bench.rows)],
    }


def _row(row: BenchResult, bandwidth: Bandwidth) -> dict[str, Any]:
    timing, rate = row.timing, row.gb_s
    return {
        "shape": row.shape,
        "layout": row.layout,
        "target": row.target,
        "project": row.project,
        "mode": row.mode,
        "status": row.status,
        "correct": {TIMED: True, WRONG: False}.get(row.status),
        "note": row.note,
        "ms": timing and timing.ms,
        "ms_low": timing and timing.ms_low,
        "ms_high": timing and timing.ms_high,
        "captured": timing and timing.captured,
        "bytes": row.bytes,
        "operations": row.operations,
        "gb_s": rate,
        "share": rate and rate / bandwidth.read,
    }
