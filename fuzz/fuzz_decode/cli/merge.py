"""`fuzz-decode merge`: merge corpora."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuzz_decode.cli.shared_arguments import CLEAN, USAGE, add_corpus
from fuzz_decode.errors import print_error
from fuzz_decode.files import corpus_must_be_writable

if TYPE_CHECKING:
    from fuzz_decode.corpus.merge import MergedBug

ABOUT = """
Merge the case files of folders into the corpus. Of each bug (same target, same signature, same entry of the corpus's ledger) only
the smallest case stays. Nothing is run: a larger case is dropped even if it guards a fix, so check the list of dropped files.
The folders are not changed, unless one is the corpus itself (fuzz-decode merge corpus), which then keeps one case of each bug.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    merge = commands.add_parser("merge", help="merge corpora: of each bug the smallest case stays", description=ABOUT)
    merge.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    add_corpus(merge)
    merge.set_defaults(call=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.corpus.ledger import LEDGER
    from fuzz_decode.corpus.merge import ADDED, KEPT, REPLACED, merge
    from fuzz_decode.report.terminal.finding import in_a_line

    console = Console(highlight=False)
    corpus_must_be_writable(arguments.corpus)
    merged, errors = merge(arguments.folders, arguments.corpus)
    for bug in merged:
        if bug.status != KEPT or bug.dropped:
            console.print(in_a_line(_in_a_line(bug)), soft_wrap=True)
    for error in errors:
        print_error(error)
    for ledger in [folder / LEDGER for folder in arguments.folders if folder.resolve() != arguments.corpus.resolve()]:
        if ledger.exists():
            console.print(
                in_a_line(f"{ledger} is not merged; copy entries by hand if they hold here, too", "yellow"),
                soft_wrap=True,
            )
    counts = Counter(bug.status for bug in merged)
    words = ", ".join(f"{counts[status]} {status}" for status in (ADDED, REPLACED, KEPT))
    console.print(in_a_line(f"{arguments.corpus}: {words}; {sum(len(bug.dropped) for bug in merged)} dropped"), soft_wrap=True)
    return USAGE if errors else CLEAN


def _in_a_line(bug: MergedBug) -> str:
    origin = f" from {bug.source}" if bug.path != bug.source else ""
    dropped = f"; dropped {', '.join(map(str, bug.dropped))}" if bug.dropped else ""
    return f"{bug.status:<8}  {bug.path}{origin}: {bug.entry.signature} on {bug.entry.target}{dropped}"
