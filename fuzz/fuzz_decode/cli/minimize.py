"""`fuzz-decode minimize`: shrink a stored case further."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, add_minimize_time, add_target, worker_config
from fuzz_decode.text import counted


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    minimize = commands.add_parser("minimize", help="shrink a stored case further")
    minimize.add_argument("name", metavar="FILE|DIGEST")
    add_target(minimize, None)
    add_minimize_time(minimize)
    minimize.set_defaults(call=_minimize)


def _minimize(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.minimize import minimize
    from fuzz_decode.corpus.lookup import find_files, target_of
    from fuzz_decode.corpus.read import load
    from fuzz_decode.report.terminal.finding import in_a_line, repro_line, show_finding

    console = Console(highlight=False)
    (path,) = find_files([arguments.name], arguments.corpus)[:1] or [Path(arguments.name)]
    entry = load(path)
    config = worker_config(arguments, target_of(entry, arguments.target))
    result = minimize(path, entry, config, arguments.minimize_time)
    if result is None:
        console.print(in_a_line(f"{path} does not fail on {config.target}; nothing to minimize"), soft_wrap=True)
        return CLEAN
    smaller_path, smaller, shrunk = result
    title = f"{smaller.signature} - minimized in {counted(shrunk.runs, 'run')}"
    show_finding(console, smaller, repro_line(smaller_path, config.target), title)
    return FINDINGS
