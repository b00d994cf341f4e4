"""`fuzz-decode minimize`: shrink a stored case further."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, add_minimize_time, add_target, worker_config
from fuzz_decode.errors import raise_all
from fuzz_decode.text import counted

if TYPE_CHECKING:
    from fuzz_decode.campaign.minimize import MinimizedEntry
    from fuzz_decode.corpus.entry import Entry
    from fuzz_decode.outcome import Outcome


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    minimize = commands.add_parser("minimize", help="shrink a stored case further")
    minimize.add_argument("name", metavar="FILE|DIGEST")
    add_target(minimize, None)
    add_minimize_time(minimize)
    minimize.set_defaults(call=_minimize)


def _minimize(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.minimize import MinimizedEntry, minimize
    from fuzz_decode.corpus.lookup import find_files, target_of
    from fuzz_decode.corpus.read import load
    from fuzz_decode.report.terminal.finding import in_a_line, repro_line, show_finding
    from fuzz_decode.report.terminal.header import interpreter_lines

    console = Console(highlight=False)
    (path,) = find_files([arguments.name], arguments.corpus)[:1] or [Path(arguments.name)]
    entry = load(path)
    config = worker_config(arguments, target_of(entry, arguments.target))
    result = minimize(path, entry, config, arguments.minimize_time, interpreter_lines(console))
    if not isinstance(result, MinimizedEntry):
        console.print(in_a_line(_why_kept(path, entry, config.target, result)), soft_wrap=True)
        return FINDINGS if result.findings else CLEAN
    title = f"{result.entry.signature} - minimized in {counted(result.shrunk.runs, 'run')}"
    repro = repro_line(result.path, config.target)
    show_finding(console, result.entry, repro, title)
    for line in _changes(path, result):
        console.print(in_a_line(line), soft_wrap=True)
    raise_all([result.harness_error] if result.harness_error else [])
    return FINDINGS


def _why_kept(path: Path, entry: Entry, target: str, outcome: Outcome) -> str:
    if outcome.findings:
        return f"{path} fails otherwise on {target}: as {outcome.signature}, not as {entry.signature}; kept"
    return f"{path} does not fail on {target}; nothing to minimize"


def _changes(path: Path, result: MinimizedEntry) -> list[str]:
    """What became of the files: a line for each that is new, replaced, removed or kept."""
    if result.path == path:
        lines = [f"{path} is kept: no simpler case was found"]
    elif path in result.removed:
        lines = [f"{path} is replaced by {result.path}"]
    else:
        lines = [f"{result.path} is new; {path}, of another target, is kept"]
    return [*lines, *(f"{other} is removed: the same bug in a case less simple" for other in result.removed if other != path)]
