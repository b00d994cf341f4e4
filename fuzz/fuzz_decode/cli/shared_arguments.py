"""What subcommands share: exit codes, and the arguments that most of them take."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import fuzz_decode.cli.argument_types as types
from fuzz_decode.campaign.option_values import DEFAULT_SECONDS, DEVICES, ENGINES
from fuzz_decode.cases.domain import FINITE_PLACES

if TYPE_CHECKING:
    from fuzz_decode.workers.protocol import WorkerConfig

CLEAN, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130


def add_target(parser: argparse.ArgumentParser, default: str | None) -> None:
    words = "bundled, mutant:NAME, module:function or path/to/file.py:function"
    otherwise = default or "the one in the file, if it is built in"
    parser.add_argument("--target", default=default, metavar="T", help=f"{words} (default: {otherwise})")
    add_where(parser)
    add_import_timeout(parser)
    add_needs_finite(parser)
    add_corpus(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="cpu needs no GPU")
    words = "what runs Triton kernels on the CPU (default auto: native where it can be, else the interpreter)"
    parser.add_argument("--engine", choices=ENGINES, default="auto", help=words)
    parser.add_argument(
        "--timeout", type=types.duration, default=DEFAULT_SECONDS, metavar="SECONDS", help="per case (default 60)"
    )


def add_import_timeout(parser: argparse.ArgumentParser) -> None:
    words = "until an import of the target is given up (default 120)"
    parser.add_argument("--import-timeout", type=types.duration, metavar="SECONDS", help=words)


def add_needs_finite(parser: argparse.ArgumentParser) -> None:
    words = f"where memory that weighs nothing is finite, not NaN: {', '.join(FINITE_PLACES)}"
    parser.add_argument("--needs-finite", type=types.places, default=(), metavar="PLACE,PLACE", help=words)


def add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", type=Path, default=Path("corpus"), metavar="DIR", help="where findings are kept (default corpus)"
    )


def add_minimize_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minimize-time", type=types.duration, default=DEFAULT_SECONDS, metavar="SECONDS", help="per finding (default 60)"
    )


def worker_config(arguments: argparse.Namespace, target: str) -> WorkerConfig:
    """How to start workers for a target, as the arguments say."""
    from fuzz_decode.workers.devices import pick_device
    from fuzz_decode.workers.engines import pick_engine
    from fuzz_decode.workers.protocol import IMPORT_SECONDS, WorkerConfig

    limit, device = arguments.import_timeout or IMPORT_SECONDS, pick_device(arguments.device)
    engine = pick_engine(arguments.engine, device)
    return WorkerConfig(
        target, device, arguments.timeout, import_timeout=limit, engine=engine, needs_finite=arguments.needs_finite
    )


def add_junit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for continuous integration")
