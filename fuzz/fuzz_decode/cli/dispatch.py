"""The command line: the choice of a subcommand, and errors as one line. Imports nothing heavy until a subcommand runs."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from typing import Any, NoReturn

import fuzz_decode.cli.bench as bench
import fuzz_decode.cli.export as export
import fuzz_decode.cli.merge as merge
import fuzz_decode.cli.minimize as minimize
import fuzz_decode.cli.replay as replay
import fuzz_decode.cli.run as run
import fuzz_decode.cli.score as score
import fuzz_decode.cli.targets as targets
import fuzz_decode.cli.triage as triage
from fuzz_decode._version import __version__
from fuzz_decode.cli.process import Terminated, checked_stdout, ending_signals
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, INTERRUPTED, USAGE
from fuzz_decode.errors import HarnessError, UsageError, print_error
from fuzz_decode.report.ci.github import commands_stopped
from fuzz_decode.text import PLAIN, did_you_mean, printable

__all__ = ["CLEAN", "FINDINGS", "INTERRUPTED", "USAGE", "main"]

COMMANDS = {
    "run": run,
    "replay": replay,
    "minimize": minimize,
    "triage": triage,
    "export": export,
    "merge": merge,
    "targets": targets,
    "score": score,
    "bench": bench,
}
PRINTS_A_FILE = ("export",)  # its output must not have the lines that stop commands to GitHub around it


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _print_plainly()
    try:
        with ending_signals(), checked_stdout():
            if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
                words.insert(0, "run")
            arguments = _parser().parse_args(words)
            with contextlib.nullcontext() if words[0] in PRINTS_A_FILE else commands_stopped():
                code: int = arguments.call(arguments)
    except UsageError as error:
        _print_unsaved(error)
        print_error(error)
        return USAGE
    except HarnessError as error:
        print_error(f"internal error ({_last_line(error)}); please report it with the traceback in {_write_traceback(error)}")
        return USAGE
    except KeyboardInterrupt as interrupt:
        with contextlib.suppress(OSError):
            print("interrupted; findings are kept", file=sys.stderr, flush=True)
        return 128 + interrupt.number if isinstance(interrupt, Terminated) else INTERRUPTED
    return code


def _print_plainly() -> None:
    """Let nothing fail because the terminal's encoding lacks a character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)


def _print_unsaved(error: UsageError) -> None:
    """Show the case of a finding that could not be written: nothing else keeps it."""
    from fuzz_decode.corpus.store import NotSaved
    from fuzz_decode.results import check_call

    if isinstance(error, NotSaved):
        call = printable(check_call(error.entry, repr(error.entry.target)))
        with contextlib.suppress(OSError):
            print(f"fuzz-decode: not saved: {error.entry.signature}: {call}", file=sys.stderr, flush=True)


def _last_line(error: HarnessError) -> str:
    """The last line of a traceback names the exception."""
    return str(error).strip().splitlines()[-1]


def _write_traceback(error: HarnessError) -> str:
    """Write the case and the traceback to a file, and return its path."""
    with tempfile.NamedTemporaryFile("w", prefix="fuzz-decode-error-", suffix=".txt", encoding="utf-8", delete=False) as file:
        file.write(f"fuzz-decode {__version__}: {error}\n")
    return file.name


class _Parser(argparse.ArgumentParser):
    """Errors are UsageErrors, and a wrong option or command comes with those that are close to it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's, but a subcommand names what it does not know itself, since the main parser has other options."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            close = did_you_mean(unknown[0].partition("=")[0], self._option_string_actions)
            raise UsageError(f"unrecognized arguments: {' '.join(unknown)}{close or f'; see {self.prog} --help'}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.dest == "command" and value not in COMMANDS:
            close = did_you_mean(str(value), COMMANDS)
            raise UsageError(f"there is no command {value!r}; there are {', '.join(COMMANDS)}{close}")
        super()._check_value(action, value)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fuzz-decode", description="Differential fuzzing for paged KV-cache decode attention kernels.")
    parser.add_argument("--version", action="version", version=f"fuzz-decode {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for command in COMMANDS.values():
        command.add_to(commands)
    return parser
