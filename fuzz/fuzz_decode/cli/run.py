"""`fuzz-decode run`, the default command: draw cases, compare, minimize and store failures."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.campaign.option_values import DEFAULT_ITERS, UNSET, number_of_cases
from fuzz_decode.cases.domain import DTYPES
from fuzz_decode.cli.shared_arguments import CLEAN, FINDINGS, add_junit, add_minimize_time, add_target
from fuzz_decode.errors import raise_all
from fuzz_decode.files import must_be_writable

if TYPE_CHECKING:
    from fuzz_decode.campaign.settings import CampaignSettings
    from fuzz_decode.report.ci.summary import CiReport
    from fuzz_decode.report.terminal.campaign import CampaignView

JSON_SECONDS = 30.0  # between two writes of the report for machines


def add_to(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    run = commands.add_parser("run", help="draw cases, compare, minimize and store failures (the default command)")
    limit = f"number of cases (default {DEFAULT_ITERS}, or no limit with --time)"
    run.add_argument("--iters", type=types.positive, metavar="N", help=limit)
    run.add_argument("--time", type=types.duration, metavar="T", help="stop after this time: 90s, 10m, 8h")
    run.add_argument("--seed", type=types.natural, default=0, metavar="S", help="same seed, same cases (default 0)")
    run.add_argument("--dtypes", type=types.dtypes, metavar="D,D", help=f"only these of {', '.join(DTYPES)}")
    run.add_argument("--jobs", type=types.positive, metavar="J", help="worker processes (default: one per core)")
    run.add_argument("--devices", default="", metavar="0,1|all", help="GPUs to use, workers on each in turn (default: the first)")
    run.add_argument(
        "--sequence", type=types.sequence, metavar="K", help="sequences of K related calls, each in a fresh process: stale state"
    )
    stop = run.add_mutually_exclusive_group()
    stop.add_argument("--keep-going", action="store_true", help="do not stop at findings (the default)")
    stop.add_argument("--stop-after", type=types.positive, metavar="K", help="stop after K distinct findings")
    run.add_argument("--ray", metavar="ADDRESS|local", help="run on a Ray cluster")
    run.add_argument("--resume", action="store_true", help="continue a campaign that was killed or interrupted")
    run.add_argument("--json", type=Path, metavar="FILE", help="write a report for machines")
    run.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of memory")
    add_junit(run)
    add_target(run, "bundled")
    add_minimize_time(run)
    run.set_defaults(call=_run)


def _run(arguments: argparse.Namespace) -> int:
    from fuzz_decode.workers.fork_server import begin_server

    settings = _settings(arguments)
    for option in ("json", "html", "junit"):
        must_be_writable(f"--{option}", getattr(arguments, option))
    if settings.ray is None:
        begin_server(settings.worker_config)
    from rich.console import Console

    from fuzz_decode.campaign.campaign import Campaign
    from fuzz_decode.report.ci.check import Check
    from fuzz_decode.report.ci.summary import CiReport
    from fuzz_decode.report.terminal.campaign import CampaignView

    campaign = Campaign(settings)
    view = CampaignView(campaign, Console(highlight=False, soft_wrap=False))
    files = _ReportFiles(view, arguments.json, arguments.html)
    with contextlib.ExitStack() as ends:  # all are called, last to first, however the campaign ends
        ends.callback(files.write_html)  # last, since it may take some time
        report = ends.enter_context(CiReport(f"fuzz-decode run on {campaign.settings.target}", arguments.junit))
        ends.callback(files.write_json)
        ends.callback(_summarize, view, report)
        _run_campaign(view, files)
        if not _has_failed(view):
            report.checks.append(Check("no findings", seconds=view.seconds))
    return FINDINGS if _has_failed(view) else CLEAN


def _settings(arguments: argparse.Namespace) -> CampaignSettings:
    from fuzz_decode.campaign.checkpoint import NAME
    from fuzz_decode.campaign.settings import CampaignSettings
    from fuzz_decode.workers.protocol import IMPORT_SECONDS

    return CampaignSettings(
        target=arguments.target,
        corpus=arguments.corpus,
        device=arguments.device,
        engine=arguments.engine,
        seed=arguments.seed,
        iters=number_of_cases(arguments.iters or UNSET, arguments.time, DEFAULT_ITERS),
        time=arguments.time,
        stop_after=arguments.stop_after,
        jobs=arguments.jobs,
        devices=arguments.devices,
        sequence=arguments.sequence,
        dtypes=arguments.dtypes,
        needs_finite=arguments.needs_finite,
        timeout=arguments.timeout,
        import_timeout=arguments.import_timeout or IMPORT_SECONDS,
        minimize_time=arguments.minimize_time,
        ray=arguments.ray,
        checkpoint=arguments.corpus / NAME,
        resume=arguments.resume,
    )


def _summarize(view: CampaignView, report: CiReport) -> None:
    if view.campaign.state.versions:  # the target was loaded
        report.campaign(view)
        view.summary()


def _run_campaign(view: CampaignView, files: _ReportFiles) -> None:
    """Run the campaign, and show and report what happens."""
    with view, contextlib.closing(view.campaign.events()) as events:
        for event in events:
            view.show(event)
            files.write_json_now_and_then()


def _has_failed(view: CampaignView) -> bool:
    return bool(view.campaign.state.bugs or view.campaign.state.unexpected_passes)


@dataclass(slots=True)
class _ReportFiles:
    """The files that a campaign writes beside its corpus, each if it was requested."""

    view: CampaignView
    json_path: Path | None
    html_path: Path | None
    _json_written: float = field(default_factory=time.monotonic)

    def write_json_now_and_then(self) -> None:
        """During the campaign, so that there is a report however it ends."""
        if time.monotonic() - self._json_written >= JSON_SECONDS:
            self.write_json()
            self._json_written = time.monotonic()

    def write_json(self) -> None:
        from fuzz_decode.files import write_report
        from fuzz_decode.report.campaign_json import summary_data

        if self.json_path and self.view.campaign.state.versions:
            data = summary_data(self.view.campaign, self.view.seconds)
            write_report(self.json_path, json.dumps(data, indent=1, sort_keys=True) + "\n")

    def write_html(self) -> None:
        from fuzz_decode.campaign.triage import triage
        from fuzz_decode.files import write_report
        from fuzz_decode.report.html import Page

        if self.html_path and self.view.campaign.state.versions:
            settings, state = self.view.campaign.settings, self.view.campaign.state
            stored = {bug.path: bug.entry for bug in state.bugs}
            seen = triage(stored, settings.worker_config, settings.target, settings.minimize_time)
            found = [triaged.as_new for triaged in seen]
            write_report(self.html_path, Page(found, state.coverage, "this campaign").html())
            if not state.harness_errors:  # which are raised anyway, and most likely the same
                raise_all([triaged.harness_error for triaged in found if triaged.harness_error])
