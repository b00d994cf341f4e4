"""`fuzz-decode run`, the default command: draw, compare, minimise, store."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.cases.domain import DTYPES
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, add_junit, add_minimize_time, add_target, plan_for
from fuzz_decode.errors import UsageError, raise_all
from fuzz_decode.files import corpus_must_be_writable, must_be_writable
from fuzz_decode.workers.devices import default_jobs

DEFAULT_ITERS = 300
JSON_SECONDS = 30.0


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    run = commands.add_parser("run", help="draw cases, compare, minimise and store what fails (the default command)")
    limit = run.add_mutually_exclusive_group()
    limit.add_argument("--iters", type=types.positive, metavar="N", help=f"number of cases (default {DEFAULT_ITERS})")
    limit.add_argument("--time", type=types.duration, metavar="T", help="stop after this long: 90s, 10m, 8h")
    run.add_argument("--seed", type=types.natural, default=0, metavar="S", help="same seed, same cases (default 0)")
    run.add_argument("--dtypes", type=types.dtypes, default=(), metavar="D,D", help=f"only these of {', '.join(DTYPES)}")
    run.add_argument("--jobs", type=types.positive, metavar="J", help="worker processes (default: one per core)")
    run.add_argument("--devices", default="", metavar="0,1|all", help="GPUs to use, workers on each in turn (default: the first)")
    run.add_argument(
        "--sequence", type=types.sequence, metavar="K", help="K related cases in a row through one process: stale state"
    )
    stop = run.add_mutually_exclusive_group()
    stop.add_argument("--keep-going", action="store_true", help="do not stop at findings (the default)")
    stop.add_argument("--stop-after", type=types.positive, metavar="K", help="stop after K distinct findings")
    run.add_argument("--ray", metavar="ADDRESS|local", help="run on a Ray cluster")
    run.add_argument("--resume", action="store_true", help="go on where a campaign that was killed or interrupted was")
    run.add_argument("--json", type=Path, metavar="FILE", help="write a report for machines")
    run.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of memory")
    add_junit(run)
    add_target(run, "bundled")
    add_minimize_time(run)
    run.set_defaults(call=_run)


def _run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from fuzz_decode.campaign.campaign import Budget, Campaign
    from fuzz_decode.campaign.checkpoint import NAME as JOURNAL
    from fuzz_decode.report.ci.check import Check
    from fuzz_decode.report.ci.summary import CiReport
    from fuzz_decode.report.terminal.campaign import CampaignView
    from fuzz_decode.workers.ray_pool import RayPool

    plan = plan_for(arguments, arguments.target, arguments.dtypes)
    gpus = _gpus(arguments.devices, "ray" if arguments.ray else plan.device)
    corpus_must_be_writable("--corpus", arguments.corpus)
    for option in ("json", "html", "junit"):
        must_be_writable(f"--{option}", getattr(arguments, option))
    cases = arguments.iters if arguments.iters or arguments.time else DEFAULT_ITERS
    budget = Budget(cases, arguments.time, arguments.stop_after)
    campaign = Campaign(
        plan.on(gpus[0]) if gpus else plan,
        arguments.seed,
        budget,
        arguments.jobs or default_jobs(plan.device, max(1, len(gpus))),
        arguments.corpus,
        arguments.minimize_time,
        arguments.sequence,
        gpus=gpus,
        journal=arguments.corpus / JOURNAL,
        resume=arguments.resume,
        fleet=RayPool(plan, arguments.ray, arguments.jobs) if arguments.ray else None,
    )
    view = CampaignView(campaign, Console(highlight=False, soft_wrap=False))
    written = time.monotonic()
    with CiReport(f"fuzz-decode run on {plan.target}", arguments.junit) as told:
        try:
            with view:
                for event in campaign.events():
                    view.show(event)
                    written = _write_now_and_then(arguments, campaign, view, written)
            if not campaign.bugs and not campaign.unexpected_passes:
                told.checks.append(Check("no findings", seconds=view.seconds))
        finally:
            if campaign.versions:
                view.summary()
                told.campaign(view)
                _write_reports(arguments, campaign, view)
    return FINDINGS if campaign.bugs or campaign.unexpected_passes else CLEAN


def _gpus(wanted: str, device: str) -> tuple[str, ...]:
    """What --devices means. Raises UsageError."""
    from fuzz_decode.workers.devices import pick_gpus

    if wanted and device != "cuda":
        where = "on the CPU" if device == "cpu" else "where Ray has it run"
        raise UsageError(f"--devices {wanted} names GPUs of this machine, but this campaign runs {where}; leave it out")
    return pick_gpus(wanted) if wanted else ()


def _write_now_and_then(arguments: argparse.Namespace, campaign: Any, view: Any, last: float) -> float:
    """The report for machines of a campaign under way, so that there is one however it ends; the time of the last one."""
    now = time.monotonic()
    if not arguments.json or now - last < JSON_SECONDS:
        return last
    _write_json(arguments.json, campaign, view)
    return now


def _write_json(path: Path, campaign: Any, view: Any) -> None:
    from fuzz_decode.files import write_report
    from fuzz_decode.report.campaign_json import summary_data

    write_report(path, json.dumps(summary_data(campaign, view.seconds), indent=1, sort_keys=True) + "\n")


def _write_reports(arguments: argparse.Namespace, campaign: Any, view: Any) -> None:
    """What was asked for beside the terminal; also of a campaign that was cut off."""
    from fuzz_decode.campaign.triage import triage
    from fuzz_decode.files import write_report
    from fuzz_decode.report.html import Page

    if arguments.json:
        _write_json(arguments.json, campaign, view)
    if arguments.html:
        stored = {bug.path: bug.entry for bug in campaign.bugs.values()}
        found = [*triage(stored, campaign.plan, campaign.plan.target, arguments.minimize_time)]
        write_report(arguments.html, Page(found, campaign.coverage, "this campaign").html())
        if not campaign.harness_errors:  # which are raised anyway, and most likely the same
            raise_all([triaged.harness_error for triaged in found if triaged.harness_error])
