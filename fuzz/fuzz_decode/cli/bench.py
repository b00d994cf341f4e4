"""`fuzz-decode bench`: how fast a target reads a cache, beside its peers."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path
from typing import Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.campaign.option_values import DEVICES
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS
from fuzz_decode.errors import UsageError
from fuzz_decode.files import must_be_writable

ABOUT = """
Time a target on a GPU, in CUDA graphs, on shapes and cache layouts of real models, beside the installed kernels of other
projects. A call is timed only after its result on the same tensors was correct; otherwise it is reported as wrong, and the exit
code is 1. GB/s counts the bytes of K and V that the problem needs, of q and of out, in the time of one call.
"""
NO_GPU = (
    "there is no GPU to measure on: times in Triton's interpreter say nothing about milliseconds, GB/s, the share of read "
    "bandwidth or ratios to peers; fuzz-decode bench --list shows what is measured on a GPU"
)


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    bench = commands.add_parser("bench", help="time a target on a GPU, after a correctness gate, beside peers", description=ABOUT)
    bench.add_argument("--target", default="bundled", metavar="T", help="as for run (default bundled)")
    bench.add_argument("--shapes", type=types.names, default=(), metavar="N,N", help="only these (default all)")
    bench.add_argument("--layouts", type=types.names, default=(), metavar="N,N", help="these, for every shape (default: its own)")
    bench.add_argument("--peers", type=types.names, metavar="N,N|none", help="projects (default: what is installed)")
    bench.add_argument("--device", choices=DEVICES, default="auto", help="without a GPU nothing is measured")
    bench.add_argument("--list", action="store_true", help="list the shapes, layouts and peers, and measure nothing")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write all measurements, after each shape")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw a roofline, .svg or .png (needs matplotlib)")
    bench.set_defaults(call=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.bench.selection import choose
    from fuzz_decode.report.terminal.bench_list import show_bench_list
    from fuzz_decode.workers.devices import pick_device

    console = Console(highlight=False)
    if arguments.list:
        show_bench_list(console, pick_device("auto"))
        return CLEAN
    choice = choose(arguments.shapes, arguments.layouts)
    must_be_writable("--json", arguments.json)
    _must_be_drawable(arguments.plot)
    if pick_device(arguments.device) == "cpu":
        raise UsageError(NO_GPU)
    return _measure(arguments, choice, console)


def _measure(arguments: argparse.Namespace, choice: Any, console: Any) -> int:
    from fuzz_decode.bench.bandwidth import measure_bandwidth
    from fuzz_decode.bench.contenders import own, peers, versions_of
    from fuzz_decode.bench.runner import Bench
    from fuzz_decode.report.terminal.bench import BenchView
    from fuzz_decode.workers.devices import refused_dtypes, versions

    refused = refused_dtypes("cuda")
    choice = choice.without(refused)
    target = own(arguments.target)
    found, missing = ([], {}) if arguments.peers == ("none",) else peers(arguments.peers)
    known = {**versions("cuda"), **versions_of(found)}
    view = BenchView(console, measure_bandwidth())
    view.header(known, {**missing, **{f"shapes in {dtype}": why for dtype, why in refused.items()}})
    bench = Bench(choice, [target, *found])
    try:
        for row in bench.measured():
            view.show(row)
            if row.target == bench.contenders[-1].name:  # the last one of its shape and layout
                _write(arguments.json, bench, view, known)
    finally:
        view.summary(bench)
        _write(arguments.json, bench, view, known)
        _draw(arguments.plot, bench, view, known)
    return FINDINGS if any(row.is_finding for row in bench.rows) or bench.lost else CLEAN


def _write(path: Path | None, bench: Any, view: Any, versions: dict[str, str]) -> None:
    from fuzz_decode.files import write_report
    from fuzz_decode.report.bench_json import bench_data

    if path is not None:
        write_report(path, json.dumps(bench_data(bench, view.bandwidth, versions), indent=1, sort_keys=True) + "\n")


def _draw(path: Path | None, bench: Any, view: Any, versions: dict[str, str]) -> None:
    from fuzz_decode.report.roofline_plot import draw_roofline

    if path is not None:
        draw_roofline(path, bench.rows, view.bandwidth, f"paged decode attention on {versions['gpu']}")


def _must_be_drawable(path: Path | None) -> None:
    """To find out before anything is measured. Raises UsageError."""
    if path is None:
        return
    if path.suffix not in (".svg", ".png"):
        raise UsageError(f"--plot {path}: must be a file that ends in .svg or .png")
    must_be_writable("--plot", path)
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib; pip install 'matplotlib>=3.6'")
