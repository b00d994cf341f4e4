"""`fuzz-decode score`: measure how many cases it takes to find each mutant of the bundled kernel."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.cli.shared_arguments import CLEAN, add_where
from fuzz_decode.files import must_be_writable
from fuzz_decode.workers.devices import default_jobs

if TYPE_CHECKING:
    from fuzz_decode.evaluate.settings import EvaluationSettings

PEERS = ("aiter", "vllm", "flashinfer", "sglang", "flash-attn")
ABLATIONS = ("no-poison", "no-tagged", "contiguous", "random-lengths", "unsteered")


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    score = commands.add_parser("score", help="measure detection power: cases until each mutant of the bundled kernel is found")
    score.add_argument(
        "--mutants", default="real", metavar="real|generic|all|NAME,NAME", help="set of mutants, or names (default real)"
    )
    score.add_argument("--seeds", type=types.positive, default=5, metavar="K", help="runs of each mutant (default 5)")
    score.add_argument("--cases", type=types.positive, metavar="N", help="cases of a run, at most (default 500, or the grid)")
    score.add_argument(
        "--clean", type=types.natural, default=0, metavar="N", help="cases on the unmutated kernel, to count false alarms"
    )
    score.add_argument(
        "--diagnose",
        type=types.natural,
        default=1,
        metavar="K",
        help="diagnose the killing case of the first K seeds (default 1)",
    )
    instead = score.add_mutually_exclusive_group()
    instead.add_argument("--grid", choices=PEERS, default="", help="use that project's published test grid and tolerance")
    words = "instead: a campaign (of 600 cases, or --cases) on each of N random pairs of real bugs; are both reported?"
    instead.add_argument("--pairs", type=types.positive, metavar="N", help=words)
    instead.add_argument("--ablate", choices=ABLATIONS, default="", help="disable one technique (ablation)")
    words = "with --pairs: campaigns on N real bugs alone, too; is each reported as one?"
    score.add_argument("--alone", type=types.natural, default=0, metavar="N", help=words)
    score.add_argument("--seed", type=types.natural, default=0, metavar="S", help="of --pairs and their campaigns (default 0)")
    add_where(score)
    score.add_argument("--jobs", type=types.positive, metavar="J", help="worker processes (default: one per core)")
    score.add_argument("--json", type=Path, metavar="FILE", help="write all measurements")
    score.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    score.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep measurements in this file, and make only those that it lacks"
    )
    score.set_defaults(call=_score)


def _score(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.evaluate.measurements import MeasurementStore
    from fuzz_decode.evaluate.mutant_inventory import subjects
    from fuzz_decode.evaluate.score import Score
    from fuzz_decode.evaluate.settings import EvaluationSettings
    from fuzz_decode.report.terminal.score import ScoreView
    from fuzz_decode.workers.devices import pick_device
    from fuzz_decode.workers.engines import pick_engine

    for option in ("json", "markdown", "resume"):
        must_be_writable(f"--{option}", getattr(arguments, option))
    device = pick_device(arguments.device)
    engine = pick_engine(arguments.engine, device)
    setting = EvaluationSettings(device, arguments.timeout, arguments.cases, arguments.grid, arguments.ablate, engine)
    jobs = arguments.jobs or default_jobs(device)
    chosen = subjects(arguments.mutants)
    if arguments.pairs:
        return _score_pairs(arguments, setting, [subject.name for subject in chosen], jobs)
    score = Score(chosen, setting, arguments.seeds, arguments.clean, MeasurementStore(arguments.resume), jobs, arguments.diagnose)
    view = ScoreView(score, Console(highlight=False))
    try:
        with view:
            for measurement in score.events():
                view.show(measurement)
    finally:
        if score.measured or score.clean:
            view.summary()
            if arguments.json:
                arguments.json.write_text(json.dumps(view.to_json(), indent=1, sort_keys=True) + "\n")
            if arguments.markdown:
                arguments.markdown.write_text(view.markdown())
    return CLEAN


def _score_pairs(arguments: argparse.Namespace, setting: EvaluationSettings, mutants: list[str], jobs: int) -> int:
    from rich.console import Console

    from fuzz_decode.evaluate.measurements import JsonLines
    from fuzz_decode.evaluate.pairs import PairMeasurement, draw_alone, draw_pairs, measure_pairs, to_json
    from fuzz_decode.report.terminal.pairs import show_pair, show_totals

    console, journal = Console(highlight=False), JsonLines(arguments.resume, PairMeasurement, PairMeasurement.from_json)
    seed = arguments.seed
    chosen = [*draw_pairs(arguments.pairs, seed, mutants), *draw_alone(arguments.alone, seed, mutants)]
    measured: list[PairMeasurement] = []
    try:
        for measurement in measure_pairs(chosen, setting, seed, jobs, journal):
            measured.append(measurement)
            show_pair(measurement, console)
    finally:
        show_totals(measured, console)
        if arguments.json:
            arguments.json.write_text(json.dumps(to_json(measured), indent=1, sort_keys=True) + "\n")
    return CLEAN
