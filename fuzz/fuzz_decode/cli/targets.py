"""`fuzz-decode targets`: list the built-in targets, or check one."""

from __future__ import annotations

import argparse
from typing import Any

from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, add_import_timeout, add_needs_finite, add_where, worker_config


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    targets = commands.add_parser("targets", help="list the built-in targets, or try one on a few small cases")
    instead = targets.add_mutually_exclusive_group()
    instead.add_argument("--check", metavar="T", help="show what fuzz-decode derives from a target, and try it")
    instead.add_argument("--mutants", action="store_true", help="list the mutants of the bundled kernel")
    add_where(targets)
    add_import_timeout(targets)
    add_needs_finite(targets)
    targets.set_defaults(call=_targets)


def _targets(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.smoke_test import check
    from fuzz_decode.report.terminal.header import interpreter_lines
    from fuzz_decode.report.terminal.target_check import show_check
    from fuzz_decode.report.terminal.targets import show_mutants, show_targets
    from fuzz_decode.workers.devices import pick_device

    console = Console(highlight=False)
    if arguments.mutants:
        show_mutants(console)
        return CLEAN
    if arguments.check is None:
        show_targets(console, pick_device("auto"))
        return CLEAN
    config = worker_config(arguments, arguments.check)
    return FINDINGS if show_check(console, config, check(config, interpreter_lines(console))) else CLEAN
