"""What subcommands share: exit codes, the arguments that most of them take, and checks that come before any work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.errors import UsageError

CLEAN, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130
MAX_GPU_JOBS = 16


def add_target(parser: argparse.ArgumentParser, default: str | None) -> None:
    words = "bundled, mutant:NAME, module:function or path/to/file.py:function"
    otherwise = default or "the one in the file, if it is built in"
    parser.add_argument("--target", default=default, metavar="T", help=f"{words} (default: {otherwise})")
    add_where(parser)
    add_corpus(parser)


def add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="cpu runs Triton's interpreter")
    parser.add_argument("--timeout", type=types.duration, default=60.0, metavar="SECONDS", help="per case (default 60)")


def add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", type=Path, default=Path("corpus"), metavar="DIR", help="where findings are kept (default corpus)"
    )


def add_minimize_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minimize-time", type=types.duration, default=60.0, metavar="SECONDS", help="per finding (default 60)")


def plan_for(arguments: argparse.Namespace, target: str, dtypes: tuple[str, ...] = ()) -> Any:
    """The Plan of a target where the arguments say."""
    from fuzz_decode.workers.protocol import Plan, pick_device

    return Plan(target, pick_device(arguments.device), arguments.timeout, dtypes)


def default_jobs(device: str, gpus: int = 1) -> int:
    """A process for each core: on a GPU that is what compiles. More of them than MAX_GPU_JOBS wait for a GPU that they share."""
    cores = len(os.sched_getaffinity(0))
    return cores if device == "cpu" else min(cores, MAX_GPU_JOBS * gpus)


def add_junit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for continuous integration")


def corpus_must_be_writable(option: str, corpus: Path) -> None:
    """Find out before the campaign, not after. Raises UsageError if `corpus` is no folder that exists or can be made."""
    if corpus.exists() and not corpus.is_dir():
        raise UsageError(f"{option} {corpus} is a file; it must be a folder, or not exist yet")
    existing = next(folder for folder in (corpus, *corpus.absolute().parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        raise UsageError(f"{option} {corpus}: no permission to write into {existing}")


def must_be_writable(option: str, path: Path | None) -> None:
    """Find out before the work, not after. Raises UsageError if `path`, where one is given, cannot become a file."""
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise UsageError(f"{option} {path}: must be a file in a folder that exists and can be written")
