"""The command line: arguments -> calls. Imports nothing heavy before it knows what to do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from fuzz_decode import __version__, score_command
from fuzz_decode import arguments as types
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.validity import DTYPES

CLEAN, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130
COMMANDS = ("run", "replay", "minimize", "targets", "score")
DEFAULT_ITERS = 300
MAX_GPU_JOBS = 8


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0] not in COMMANDS and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "run")
    try:
        arguments = _parser().parse_args(words)
        code: int = arguments.call(arguments)
    except UsageError as error:
        return _complain(str(error))
    except HarnessError as error:
        where = str(error).strip().splitlines()
        return _complain(f"internal error, please report it: {where[-1]} ({where[0][:2000]})")
    except KeyboardInterrupt:
        print("interrupted; what was found is kept", file=sys.stderr)
        return INTERRUPTED
    return code


def _complain(sentence: str) -> int:
    print(f"fuzz-decode: error: {' '.join(sentence.split())}", file=sys.stderr)
    return USAGE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fuzz-decode", description="Differential fuzzing for paged KV-cache decode attention kernels.")
    parser.add_argument("--version", action="version", version=f"fuzz-decode {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="draw cases, compare, minimise and store what fails (the default command)")
    limit = run.add_mutually_exclusive_group()
    limit.add_argument("--iters", type=types.positive, metavar="N", help=f"number of cases (default {DEFAULT_ITERS})")
    limit.add_argument("--time", type=types.duration, metavar="T", help="stop after this long: 90s, 10m, 8h")
    run.add_argument("--seed", type=types.natural, default=0, metavar="S", help="same seed, same cases (default 0)")
    run.add_argument("--dtypes", type=types.dtypes, default=(), metavar="D,D", help=f"only these of {', '.join(DTYPES)}")
    run.add_argument("--jobs", type=types.positive, metavar="J", help="worker processes (default: one per core)")
    run.add_argument(
        "--sequence", type=types.sequence, metavar="K", help="K related cases in a row through one process: stale state"
    )
    stop = run.add_mutually_exclusive_group()
    stop.add_argument("--keep-going", action="store_true", help="do not stop at findings (the default)")
    stop.add_argument("--stop-after", type=types.positive, metavar="K", help="stop after K distinct findings")
    run.add_argument("--json", type=Path, metavar="FILE", help="write a report for machines")
    _common(run, target="bundled")
    run.set_defaults(call=_run)

    replay = commands.add_parser("replay", help="run stored cases again")
    replay.add_argument("names", nargs="*", metavar="FILE|DIR|DIGEST", help="default: the whole corpus")
    _common(replay, target="bundled")
    replay.set_defaults(call=_replay)

    minimize = commands.add_parser("minimize", help="shrink a stored case further")
    minimize.add_argument("name", metavar="FILE|DIGEST")
    _common(minimize, target=None)
    minimize.set_defaults(call=_minimize)

    targets = commands.add_parser("targets", help="list the built-in targets, or try one on five tiny cases")
    targets.add_argument("--check", metavar="T", help="say what is understood of a target, and try it")
    _where(targets)
    targets.set_defaults(call=_targets)

    score_command.add_to(commands)
    return parser


def _common(parser: argparse.ArgumentParser, target: str | None) -> None:
    words = "bundled, mutant:NAME, module:function or path/to/file.py:function"
    parser.add_argument("--target", default=target, metavar="T", help=f"{words} (default: {target or 'the one in the file'})")
    _where(parser)
    parser.add_argument(
        "--corpus", type=Path, default=Path("corpus"), metavar="DIR", help="where findings are kept (default corpus)"
    )
    parser.add_argument("--minimize-time", type=types.duration, default=60.0, metavar="SECONDS", help="per finding (default 60)")


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="cpu runs Triton's interpreter")
    parser.add_argument("--timeout", type=types.duration, default=60.0, metavar="SECONDS", help="per case (default 60)")


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign import Budget, Campaign
    from fuzz_decode.report.campaign_view import CampaignView
    from fuzz_decode.report.machine import summary_data

    plan = _plan(arguments, arguments.target, arguments.dtypes)
    _writable(arguments.corpus, arguments.json)
    cases = arguments.iters if arguments.iters or arguments.time else DEFAULT_ITERS
    budget = Budget(cases, arguments.time, arguments.stop_after)
    jobs = arguments.jobs or _default_jobs(plan.device)
    campaign = Campaign(plan, arguments.seed, budget, jobs, arguments.corpus, arguments.minimize_time, arguments.sequence)
    view = CampaignView(campaign, Console(highlight=False, soft_wrap=False))
    try:
        with view:
            for event in campaign.events():
                view.show(event)
    finally:
        if campaign.versions:
            view.summary()
            if arguments.json:
                arguments.json.write_text(json.dumps(summary_data(campaign, view.seconds), indent=1, sort_keys=True) + "\n")
    return FINDINGS if campaign.bugs or campaign.unexpected_passes else CLEAN


def _replay(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.corpus import load_files
    from fuzz_decode.outcome import KNOWN, QUARANTINED
    from fuzz_decode.replay import find_files, replay
    from fuzz_decode.report.finding import clean, show_finding

    console = Console(highlight=False)
    entries, errors = load_files(find_files(arguments.names, arguments.corpus))
    failed = excused = out_of_date = 0
    for replayed in replay(entries, _plan(arguments, arguments.target)) if entries else ():
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
        _complain(str(error))
    more = f", and {excused} as the ledger says" if excused else ""
    console.print(f"{failed} of {len(entries)} cases fail on {arguments.target}{more}")
    return FINDINGS if failed or out_of_date else USAGE if errors else CLEAN


def _minimize(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.corpus import load
    from fuzz_decode.replay import find_files, minimise
    from fuzz_decode.report.finding import show_finding

    console = Console(highlight=False)
    (path,) = find_files([arguments.name], arguments.corpus)[:1] or [Path(arguments.name)]
    entry = load(path)
    plan = _plan(arguments, arguments.target or entry.target)
    result = minimise(path, entry, plan, arguments.minimize_time)
    if result is None:
        console.print(f"{path} does not fail on {plan.target}; nothing to minimise")
        return CLEAN
    smaller_path, smaller, shrunk = result
    again = f"fuzz-decode replay {smaller_path} --target {plan.target}"
    show_finding(console, smaller, again, f"{smaller.signature} - minimised in {shrunk.runs} runs")
    return FINDINGS


def _targets(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.check import check
    from fuzz_decode.plan import pick_device
    from fuzz_decode.report.check_view import show_check
    from fuzz_decode.report.targets_view import show_targets

    console = Console(highlight=False)
    if arguments.check is None:
        show_targets(console, pick_device("auto"))
        return CLEAN
    plan = _plan(arguments, arguments.check)
    return FINDINGS if show_check(console, plan, check(plan)) else CLEAN


def _plan(arguments: argparse.Namespace, target: str, dtypes: tuple[str, ...] = ()) -> Any:
    from fuzz_decode.plan import Plan, pick_device

    return Plan(target, pick_device(arguments.device), arguments.timeout, dtypes)


def _as_found(replayed: Any, target: str) -> Any:
    """The entry as this replay found it."""
    import dataclasses

    outcome = replayed.outcome
    finding = outcome.findings[0].to_json()
    return dataclasses.replace(replayed.entry, target=target, signature=outcome.signature, finding=finding)


def _writable(corpus: Path, report: Path | None) -> None:
    """Find out before the campaign, not after."""
    if corpus.exists() and not corpus.is_dir():
        raise UsageError(f"--corpus {corpus} is a file; it must be a folder, or not exist yet")
    existing = next(folder for folder in (corpus, *corpus.absolute().parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        raise UsageError(f"--corpus {corpus}: no permission to write into {existing}")
    if report is not None and (report.is_dir() or not os.access(report.absolute().parent, os.W_OK)):
        raise UsageError(f"--json {report}: must be a file in a folder that exists and can be written")


def _default_jobs(device: str) -> int:
    cores = len(os.sched_getaffinity(0))
    return cores if device == "cpu" else min(cores, MAX_GPU_JOBS)
