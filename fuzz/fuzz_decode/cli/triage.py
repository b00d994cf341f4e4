"""`fuzz-decode triage`: explain stored failures."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, USAGE, add_target, worker_config
from fuzz_decode.errors import print_error, raise_all
from fuzz_decode.files import must_be_writable


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    triage = commands.add_parser("triage", help="explain stored failures: does each still fail, what is read, what should be")
    triage.add_argument("names", nargs="*", metavar="FILE|DIR|DIGEST", help="default: the whole corpus")
    triage.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of memory")
    triage.add_argument("--report", type=Path, metavar="FILE", help="JSON report of a campaign: its coverage goes into the page")
    triage.add_argument("--score", type=Path, metavar="FILE", help="JSON report of a score: it goes into the page")
    triage.add_argument(
        "--diagnose-time",
        type=types.duration,
        default=20.0,
        metavar="SECONDS",
        help="per failure that is not diagnosed yet (default 20)",
    )
    add_target(triage, None)
    triage.set_defaults(call=_triage)


def _triage(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.triage import NOT_RUN, triage
    from fuzz_decode.corpus.lookup import find_files
    from fuzz_decode.corpus.read import load_files
    from fuzz_decode.files import write_report
    from fuzz_decode.generate.coverage import Coverage
    from fuzz_decode.report.html import Page
    from fuzz_decode.report.html.inputs import read_coverage, read_score
    from fuzz_decode.report.terminal.header import interpreter_lines
    from fuzz_decode.report.terminal.triage import count_statuses, show_triaged

    must_be_writable("--html", arguments.html)
    score = read_score(arguments.score) if arguments.score else None
    covered = read_coverage(arguments.report) if arguments.report else None
    console = Console(highlight=False)
    entries, errors = load_files(find_files(arguments.names, arguments.corpus))
    found = []
    config, tell = worker_config(arguments, ""), interpreter_lines(console)
    for triaged in triage(entries, config, arguments.target, arguments.diagnose_time, tell):
        show_triaged(console, triaged)
        found.append(triaged)
    for error in errors:
        print_error(error)
    console.print(count_statuses(Counter(triaged.status for triaged in found), len(entries)), soft_wrap=True)
    if arguments.html:
        what = "the campaign" if covered else "the corpus"
        stored = Coverage.of(entry.raw_case for entry in entries.values())
        write_report(arguments.html, Page(found, covered or stored, what, score, [str(error) for error in errors]).html())
    raise_all([triaged.harness_error for triaged in found if triaged.harness_error])
    if any(triaged.failing for triaged in found):
        return FINDINGS
    return USAGE if errors or any(triaged.status == NOT_RUN for triaged in found) else CLEAN
