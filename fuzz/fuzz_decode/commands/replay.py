"""`fuzz-decode replay`: run stored cases again."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from fuzz_decode.commands.common import CLEAN, FINDINGS, USAGE, add_target, plan_for
from fuzz_decode.errors import complain


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    replay = commands.add_parser("replay", help="run stored cases again")
    replay.add_argument("names", nargs="*", metavar="FILE|DIR|DIGEST", help="default: the whole corpus")
    add_target(replay, "bundled")
    replay.set_defaults(call=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.corpus import load_files
    from fuzz_decode.outcome import KNOWN, QUARANTINED
    from fuzz_decode.replay import find_files, replay
    from fuzz_decode.report.finding import clean, show_finding

    console = Console(highlight=False)
    entries, errors = load_files(find_files(arguments.names, arguments.corpus))
    failed = excused = out_of_date = 0
    for replayed in replay(entries, plan_for(arguments, arguments.target)) if entries else ():
        outcome = replayed.outcome
        words = f"{replayed.path}: {outcome.signature or outcome.status}{outcome.reason and ': ' + outcome.reason}"
        style = "red" if outcome.findings else "green" if outcome.status == "passed" else "yellow"
        console.print(clean(words, style), soft_wrap=True)
        if outcome.findings:
            failed += 1
            again = f"fuzz-decode replay {replayed.path} --target {arguments.target}"
            show_finding(console, _as_found(replayed, arguments.target), again, outcome.signature)
        excused += outcome.status in (KNOWN, QUARANTINED)
        if replayed.out_of_date:
            out_of_date += 1
            console.print(clean(replayed.out_of_date.no_longer_fails(replayed.path), "red"), soft_wrap=True)
    for error in errors:
        complain(error)
    more = f", and {excused} as the ledger says" if excused else ""
    console.print(f"{failed} of {len(entries)} cases fail on {arguments.target}{more}")
    return FINDINGS if failed or out_of_date else USAGE if errors else CLEAN


def _as_found(replayed: Any, target: str) -> Any:
    """The entry as this replay found it."""
    outcome = replayed.outcome
    finding = outcome.findings[0].to_json()
    return dataclasses.replace(replayed.entry, target=target, signature=outcome.signature, finding=finding)
