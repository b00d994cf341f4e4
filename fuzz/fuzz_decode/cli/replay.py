"""`fuzz-decode replay`: run stored cases again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, USAGE, add_junit, add_target, worker_config
from fuzz_decode.errors import print_error
from fuzz_decode.files import must_be_writable
from fuzz_decode.text import counted

if TYPE_CHECKING:
    from fuzz_decode.workers.protocol import WorkerConfig


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    replay = commands.add_parser("replay", help="run stored cases again")
    replay.add_argument("names", nargs="*", metavar="FILE|DIR|DIGEST", help="default: the whole corpus")
    add_target(replay, "bundled")
    add_junit(replay)
    replay.set_defaults(call=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.replay import replay
    from fuzz_decode.corpus.lookup import find_files
    from fuzz_decode.corpus.read import load_files
    from fuzz_decode.outcome import Status
    from fuzz_decode.report.ci.summary import CiReport, replay_check, unreadable
    from fuzz_decode.report.terminal.finding import in_a_line
    from fuzz_decode.report.terminal.header import interpreter_lines

    must_be_writable("--junit", arguments.junit)
    console = Console(highlight=False)
    entries, errors = load_files(find_files(arguments.names, arguments.corpus))
    config = worker_config(arguments, arguments.target)
    failed = known = out_of_date = 0
    with CiReport(
        f"fuzz-decode replay on {config.target}", arguments.junit, {"target": config.target, "device": config.device}
    ) as report:
        report.checks += map(unreadable, errors)
        for replayed in replay(entries, config, interpreter_lines(console)) if entries else ():
            _show(console, replayed, config)
            report.checks.append(replay_check(replayed, config.target))
            failed += bool(replayed.outcome.findings)
            known += replayed.outcome.status in (Status.KNOWN, Status.QUARANTINED)
            out_of_date += replayed.out_of_date is not None
        for error in errors:
            print_error(error)
        more = f", and {known} as the ledger says" if known else ""
        fail = "fails" if failed == 1 else "fail"
        none = f"no case file in {', '.join(arguments.names) or arguments.corpus}; nothing was replayed"
        some = f"{failed} of {counted(len(entries), 'case')} {fail} on {config.target}{more}"
        report.lines.append(some if entries or errors else none)
        console.print(in_a_line(report.lines[0]), soft_wrap=True)
    return FINDINGS if failed or out_of_date else USAGE if errors else CLEAN


def _show(console: Any, replayed: Any, config: WorkerConfig) -> None:
    from fuzz_decode.corpus.lookup import with_outcome
    from fuzz_decode.report.terminal.finding import in_a_line, repro_line, show_finding

    path, outcome = replayed.path, replayed.outcome
    words = f"{path}: {outcome.signature or outcome.status}{outcome.reason and ': ' + outcome.reason}"
    style = "red" if outcome.findings else "green" if outcome.status == "passed" else "yellow"
    console.print(in_a_line(words, style), soft_wrap=True)
    if outcome.findings:
        repro = repro_line(path, config.target)
        show_finding(console, with_outcome(replayed.entry, outcome, config.target), repro, outcome.signature)
    if replayed.out_of_date:
        console.print(in_a_line(replayed.out_of_date.no_longer_fails(path), "red"), soft_wrap=True)
