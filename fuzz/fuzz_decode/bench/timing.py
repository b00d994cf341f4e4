"""How long a call takes on the device: many calls in a CUDA graph, replayed, medians over replays."""

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
SAMPLE_MS = 1.5  # a sample is at least so long, so that what events and a launch take is nothing beside it
MOST_CALLS = 256
WARM_MS = 30.0  # for the clocks of a GPU that waited for the host
_captures: list[torch.cuda.CUDAGraph] = []  # begun and not ended well: torch's allocator goes on to ask them, by their address


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of a call: median, 10th and 90th percentile of the samples. Not `captured`: launched from Python, whose
    overhead is then in the numbers; `why` says why."""

    ms: float
    ms_low: float
    ms_high: float
    captured: bool = True
    why: str = ""


def measure(calls: Sequence[Callable[[], Any]], samples: int = SAMPLES) -> Timing:
    """Time of one call, the mean over all of `calls` in turn. Raises what they raise."""
    for call in calls:  # compiles, and allocates what is kept
        call()
    torch.cuda.synchronize()
    try:
        return _timed(calls, captured, samples)
    except Exception as error:  # whatever cannot be done in a capture: the same calls outside of one say whether it was that
        torch.cuda.synchronize()
        return dataclasses.replace(_timed(calls, eager, samples), captured=False, why=_first_line(error.__context__ or error))


def captured(calls: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    """The calls as one CUDA graph. What they raise comes as the context of what the capture's end raises."""
    graph = torch.cuda.CUDAGraph()
    _captures.append(graph)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The CUDA Graph is empty")  # said of a capture that failed, which is told otherwise
        # a capture that fails leaves its own stream behind as the current one: the outer block takes it back
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
    """How often all calls are repeated to make a sample."""
    return max(1, min(math.ceil(SAMPLE_MS / max(round_ms, 1e-6)), MOST_CALLS // calls))


def _timed(calls: Sequence[Callable[[], Any]], launcher: Callable[..., Callable[[], Any]], samples: int) -> Timing:
    once = launcher(calls)
    once()
    repeats = rounds(min(_samples(once, 3)), len(calls))
    launch = launcher(list(calls) * repeats)
    launch()
    warm = math.ceil(WARM_MS / max(*_samples(launch, 2), 1e-3))
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
