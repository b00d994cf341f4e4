"""`fuzz-decode merge`: bring corpora together."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from fuzz_decode.cli.shared_arguments import CLEAN, USAGE, add_corpus
from fuzz_decode.errors import complain
from fuzz_decode.files import corpus_must_be_writable

ABOUT = """
Bring the case files of folders into the corpus. Of each bug the smallest case stays: same target, same signature, and the same to
the corpus's ledger. Nothing is run: a larger case goes even if it guards a fix, so look at what was dropped. The folders
stay as they are, unless one is the corpus itself (fuzz-decode merge corpus): what is more than one case of a bug there goes.
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
    from fuzz_decode.corpus.merge import merge
    from fuzz_decode.report.terminal.finding import in_a_line

    console = Console(highlight=False)
    corpus_must_be_writable("--corpus", arguments.corpus)
    merged, errors = merge(arguments.folders, arguments.corpus)
    for one in merged:
        if one.what != "kept" or one.dropped:
            console.print(in_a_line(_in_a_line(one)), soft_wrap=True)
    for error in errors:
        complain(error)
    for ledger in [folder / LEDGER for folder in arguments.folders if folder.resolve() != arguments.corpus.resolve()]:
        if ledger.exists():
            console.print(in_a_line(f"{ledger} is not merged; copy by hand what is to be excused here", "yellow"), soft_wrap=True)
    counts = Counter(one.what for one in merged)
    words = ", ".join(f"{counts[what]} {what}" for what in ("added", "replaced", "kept"))
    console.print(in_a_line(f"{arguments.corpus}: {words}; {sum(len(one.dropped) for one in merged)} dropped"), soft_wrap=True)
    return USAGE if errors else CLEAN


def _in_a_line(one: Any) -> str:
    origin = f" from {one.source}" if one.path != one.source else ""
    dropped = f"; dropped {', '.join(map(str, one.dropped))}" if one.dropped else ""
    return f"{one.what:<8}  {one.path}{origin}: {one.entry.signature} on {one.entry.target}{dropped}"
