"""A campaign on the terminal: a live line while it runs, findings as they come, a summary at the end. Plain lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseRun, EngineReplaced, Event, Found, Minimized, NotResumable, SpuriousTimeout, Started
from fuzz_decode.campaign.state import CampaignState
from fuzz_decode.cases.finite_places import places_in_order
from fuzz_decode.cases.layout import ALL_FAMILIES
from fuzz_decode.corpus.ledger import CRASH
from fuzz_decode.diagnose.diagnosis import place_of
from fuzz_decode.outcome import Status
from fuzz_decode.report.facts import headline
from fuzz_decode.report.terminal.coverage import coverage_summary
from fuzz_decode.report.terminal.finding import clean, repro_line, show_finding
from fuzz_decode.report.terminal.header import interpreter_line, show_header
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.text import counted, one_line
from fuzz_decode.workers.protocol import WorkerInfo

PLAIN_LINE_SECONDS, PLAIN_LINES = 10.0, 30  # in a pipe: seconds between lines, later 1/30 of the time so far: a night is a page
UPDATE_SECONDS = 0.1


@dataclass(slots=True)
class CampaignView:
    """Prints the events of one campaign. Use as a context manager around them."""

    campaign: Campaign
    console: Console
    started: float = field(default_factory=time.monotonic)
    _progress: Progress | None = None
    _task: TaskID = TaskID(0)
    _next_update: float = 0.0
    _shrunk: dict[int, str] = field(default_factory=dict)
    """number of a finding's first case to how it was minimized"""
    _last: int = 0
    """that of the last finding"""

    def __enter__(self) -> CampaignView:
        self._next_update = self.started + (0.0 if self.console.is_terminal else PLAIN_LINE_SECONDS)
        if self.console.is_terminal:
            ends = (TimeElapsedColumn(), TimeRemainingColumn(compact=True))
            columns = (BarColumn(12), TextColumn("{task.description}"), *ends)
            self._progress = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self._task = self._progress.add_task("importing torch and the target", total=self._total())
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case Started(ready):
                self._header(ready)
            case NotResumable(corpus):
                words = f"another campaign runs on {corpus} and keeps its checkpoint there; this one cannot be resumed"
                self.console.print(clean(words, "yellow"), soft_wrap=True)
            case EngineReplaced(reason):
                self.console.print(interpreter_line(reason), soft_wrap=True)
            case CaseRun():
                self._tick()
            case Found(entry, path, index):
                self._last = index
                self.console.print(clean(f"case {index}: {entry.signature}, saved as {path}; minimizing", "red"), soft_wrap=True)
            case Minimized(entry, _, shrunk):
                self._shrunk[self._last] = how_it_shrank(shrunk)
                self.console.print(clean(one_line(f"{how_it_shrank(shrunk)}: {headline(entry)}")), soft_wrap=True)
            case SpuriousTimeout(path, reason):
                self.console.print(clean(f"{path} is not a finding and is removed: {reason}", "yellow"), soft_wrap=True)

    def summary(self) -> None:
        """What was covered, what was rejected, and last what was found."""
        state, print_ = self.campaign.state, self.console.print
        print_()
        print_(coverage_summary(state.coverage))
        if state.rejected:
            print_(f"\nrejected {state.rejected.total()} of {counted(state.done, 'case')}:")
            for reason, count in state.rejected.most_common(8):
                print_(clean(f"  {count} x {reason}"))
        print_()
        if state.stopped_because:
            print_(clean(state.stopped_because))
        for known, count in state.known.items():
            word = Status.QUARANTINED if known.expect == CRASH else Status.KNOWN
            print_(clean(f"{word}: {known.signature} {counted(count, 'case')} ({known.issue})", "yellow"), soft_wrap=True)
        for known, path in state.unexpected_passes.items():
            print_(clean(known.no_longer_fails(path), "red"), soft_wrap=True)
        for bug in state.bugs:
            shrunk = self._shrunk.get(bug.first_case_index, "minimized" if bug.entry.minimised else "not minimized")
            title = f"{bug.signature} - {shrunk}"
            repro = repro_line(bug.file, bug.entry.target)
            show_finding(self.console, bug.entry, repro, title)
            print_()
        for bug in state.bugs:
            cases = f"{bug.count} of {counted(state.done, 'case')}, the first is case {bug.first_case_index}"
            print_(clean(f"{bug.signature}: {cases}; {bug.file or 'not saved'}", "red"), soft_wrap=True)
        for line in closing_remarks(state):
            print_(clean(line), soft_wrap=True)
        verdict = Text(self.verdict)
        verdict.stylize("bold red" if state.bugs else "bold green", 0, len(counted(len(state.bugs), "finding")))
        print_(verdict)

    @property
    def verdict(self) -> str:
        found = counted(len(self.campaign.state.bugs), "finding")
        return f"{found} in {counted(self.campaign.state.done, 'case')}, {self.seconds:.1f} s, {self.rate:.1f} cases/s"

    @property
    def seconds(self) -> float:
        return self.campaign.state.seconds + time.monotonic() - self.started

    @property
    def rate(self) -> float:
        return self._rate_of(self.campaign.state.done)

    def _rate_of(self, cases: int) -> float:
        """So many cases, a second."""
        return cases / max(self.seconds, 1e-9)

    def _header(self, ready: WorkerInfo) -> None:
        settings, done = self.campaign.settings, self.campaign.state.done
        sequences = f", sequences of {settings.sequence}" if settings.sequence else ""
        gpus = f" on {len(settings.gpus)} GPUs" if len(settings.gpus) > 1 else ""
        resumed = f", resumed after {counted(done, 'case')}" if done else ""
        jobs = f"Ray at {settings.ray}" if settings.ray else f"{counted(settings.job_count, 'job')}{gpus}"
        more = f", seed {settings.seed}{sequences}, {jobs}{resumed}"
        show_header(self.console, settings.worker_config, ready, more)
        if settings.resume and not done:
            why = f"there is no {settings.checkpoint}, which a campaign leaves only if it is cut off"
            self.console.print(clean(f"nothing to resume: {why}; this one starts at case 0", "yellow"), soft_wrap=True)

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._next_update:
            return
        if self._progress is not None:
            self._next_update = now + UPDATE_SECONDS
            done = self.campaign.cases_run if self.campaign.settings.iters else self.seconds
            self._progress.update(self._task, completed=done, description=self._status())
        else:
            self._next_update = now + max(PLAIN_LINE_SECONDS, (now - self.started) / PLAIN_LINES)
            self.console.print(f"{self.seconds:.0f} s: {self._status()}")

    def _status(self) -> str:
        limit, done = self.campaign.settings.iters, self.campaign.cases_run
        cases = f"{done}/{counted(limit, 'case')}" if limit else counted(done, "case")
        visited = f"{self.campaign.state.coverage.families}/{len(ALL_FAMILIES)} families"
        return f"{cases}  {self._rate_of(done):.1f}/s  {counted(len(self.campaign.state.bugs), 'finding')}  {visited}"

    def _total(self) -> float | None:
        return self.campaign.settings.iters or self.campaign.settings.time


def closing_remarks(state: CampaignState) -> Iterator[str]:
    """What the counts do not say."""
    if state.unexplained:
        cases = counted(state.unexplained, "failing case")
        yield f"{cases} counted for the signature alone: nothing explains them"
    if places := places_in_order(place for bug in state.bugs if (place := place_of(bug.entry.fault))):
        yield f"to search behind what reads NaN, and faster, declare or give --needs-finite {','.join(places)}"


def how_it_shrank(shrunk: Shrunk | None) -> str:
    if shrunk is None:
        return "not minimized"
    return f"minimized in {counted(shrunk.runs, 'run')}" + ("" if shrunk.complete else ", out of time")
