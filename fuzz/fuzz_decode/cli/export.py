"""`fuzz-decode export`: a stored case as a stand-alone script."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from fuzz_decode.cli.shared_arguments import CLEAN, add_corpus
from fuzz_decode.errors import UsageError
from fuzz_decode.files import must_be_writable


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    export = commands.add_parser("export", help="write a stored case as a script that needs only torch, triton and the target")
    export.add_argument("name", metavar="FILE|DIGEST")
    export.add_argument("-o", type=Path, metavar="FILE", dest="output", help="where to write (default: standard output)")
    export.add_argument("--pytest", action="store_true", help="write a regression test instead")
    export.add_argument("--target", metavar="T", help="target of the script (default: the one in the file, if it is built in)")
    add_corpus(export)
    export.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> int:
    from fuzz_decode.corpus.lookup import find_files, target_of
    from fuzz_decode.corpus.read import load
    from fuzz_decode.files import write_report

    must_be_writable("-o", arguments.output)
    paths = find_files([arguments.name], arguments.corpus)
    if len(paths) != 1:
        raise UsageError(f"{arguments.name} holds {len(paths)} case files; name one of them")
    entry = load(paths[0])
    text = _script(entry, target_of(entry, arguments.target), as_test=arguments.pytest)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        write_report(arguments.output, text)
    return CLEAN


def _script(entry: Any, name: str, *, as_test: bool) -> str:
    """The script. The target is imported for its declaration; what it prints meanwhile must not get into the script."""
    from fuzz_decode.workers.devices import pick_device

    if pick_device("auto") == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
        from fuzz_decode.triton_interpreter import patch_triton_interpreter

        patch_triton_interpreter()
    from fuzz_decode.export.script import script
    from fuzz_decode.targets import resolve

    with contextlib.redirect_stdout(sys.stderr):
        return script(entry, resolve(name), as_test=as_test)
