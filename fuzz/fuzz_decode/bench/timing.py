"""The time of a call on the device: many calls in a CUDA graph, replayed, and the median over replays."""

from __future__ import annotations

import dataclasses
import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

SAMPLES = 25
SAMPLE_MS = 1.5  # shortest sample: long beside the time of events and of a launch
MAX_CALLS = 256  # in one graph
WARM_UP_MS = 30.0  # until the clocks of an idle GPU have risen
# captures that failed are kept alive: torch's allocator goes on to call them, by their address
_captures: list[torch.cuda.CUDAGraph] = []


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of a call, over the samples."""

    ms: float
    """Median."""
    ms_low: float
    """10th percentile."""
    ms_high: float
    """90th percentile."""
    captured: bool = True
    """False: launched from Python, whose overhead is in the numbers."""
    why: str = ""
    """Why it could not be captured."""


def measure(calls: Sequence[Callable[[], Any]], samples: int = SAMPLES) -> Timing:
    """Time of one call, the mean over all of `calls` in turn. Exceptions of the calls pass through."""
    for call in calls:  # compiles, and allocates memory that is kept
        call()
    torch.cuda.synchronize()
    try:
        return _timed(calls, captured, samples)
    except Exception as error:  # not possible in a capture, or at all: the same calls outside of one show which
        torch.cuda.synchronize()
        return dataclasses.replace(_timed(calls, eager, samples), captured=False, why=_first_line(error.__context__ or error))


def captured(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """The calls as one CUDA graph. An exception of a call is the context of the one that ends the capture."""
    graph = torch.cuda.CUDAGraph()
    _captures.append(graph)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # of a capture that failed, which raises anyway
        # a capture that fails leaves its own stream as the current one: the outer block restores it
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            for call in calls:
                call()
    _captures.remove(graph)
    return graph.replay


def eager(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """The calls one after the other."""

    def run() -> None:
        for call in calls:
            call()

    return run


def spread(milliseconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile."""
    tenths = statistics.quantiles(milliseconds, n=10, method="inclusive")
    return statistics.median(milliseconds), tenths[0], tenths[-1]


def rounds(round_ms: float, calls: int) -> int:
    """Number of repetitions of all calls in a sample."""
    return max(1, min(math.ceil(SAMPLE_MS / max(round_ms, 1e-6)), MAX_CALLS // calls))


def _timed(calls: Sequence[Callable[[], Any]], launcher: Callable[..., Callable[[], Any]], samples: int) -> Timing:
    once = launcher(calls)
    once()
    repeats = rounds(min(_samples(once, 3)), len(calls))
    launch = launcher(list(calls) * repeats)
    launch()
    warm = math.ceil(WARM_UP_MS / max(*_samples(launch, 2), 1e-3))
    _samples(launch, min(warm, samples))
    count = repeats * len(calls)
    ms, low, high = spread(_samples(launch, samples))
    return Timing(ms / count, low / count, high / count)


def _first_line(error: BaseException) -> str:
    return next(iter(f"{type(error).__name__}: {error}".splitlines()), "")


def _samples(launch: Callable[[], Any], count: int) -> list[float]:
    """Milliseconds of each launch."""
    event: Callable[..., Any] = torch.cuda.Event
    events = [(event(enable_timing=True), event(enable_timing=True)) for _ in range(count)]
    for start, end in events:
        start.record()
        launch()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in events]
