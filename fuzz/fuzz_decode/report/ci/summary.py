"""The report of a campaign or a replay for continuous integration, written however the command ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from fuzz_decode.campaign.replay import Replayed
from fuzz_decode.campaign.state import CampaignState
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure
from fuzz_decode.corpus.lookup import with_outcome
from fuzz_decode.errors import FileError
from fuzz_decode.files import write_report
from fuzz_decode.outcome import Status
from fuzz_decode.report.ci import github
from fuzz_decode.report.ci.check import BROKEN, FAILED, SKIPPED, Check
from fuzz_decode.report.ci.junit import junit
from fuzz_decode.report.facts import headline
from fuzz_decode.report.terminal.campaign import CampaignView
from fuzz_decode.report.terminal.finding import finding_text, repro_line
from fuzz_decode.text import counted

MAX_DETAILS = 2**16  # characters of a check: texts in a case file may be much longer


@dataclass(slots=True)
class CiReport:
    """Use as a context manager around the work, and fill in the fields meanwhile."""

    title: str
    junit: Path | None
    """Where to write JUnit XML, if anywhere."""
    properties: dict[str, str] = field(default_factory=dict)
    """Of the run: target, device, seed, versions."""
    checks: list[Check] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Of the summary on GitHub."""
    _started: float = field(default_factory=time.monotonic)

    def __enter__(self) -> CiReport:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
            self.checks.append(Check("ended early", BROKEN, why))
        github.report(self.title, self.lines, self.checks)
        if self.junit is not None:
            write_report(self.junit, junit(self.title, self.checks, time.monotonic() - self._started, self.properties))

    def campaign(self, view: CampaignView) -> None:
        """Tell of a campaign as far as it came."""
        settings, state = view.campaign.settings, view.campaign.state
        self.checks += campaign_checks(state)
        excused = [check.message for check in self.checks if check.status == SKIPPED]
        self.lines += [view.verdict, state.coverage.in_a_line(), *excused]
        self.properties |= {"target": settings.target, "device": settings.device, "seed": str(settings.seed)}
        self.properties |= state.versions


def campaign_checks(state: CampaignState) -> list[Check]:
    """One for each finding, each of the ledger's entries that is out of date, and each that excused something."""
    found = [_failure(bug.entry.signature, bug.entry, bug.file, bug.count) for bug in state.bugs]
    stale = [_stale(known.signature, known, path) for known, path in state.unexpected_passes.items()]
    return found + stale + [_known_failure(known, count) for known, count in state.known.items()]


def replay_check(replayed: Replayed, target: str) -> Check:
    """The result of a stored case."""
    path, outcome = replayed.path, replayed.outcome
    if outcome.findings:
        return _failure(str(path), with_outcome(replayed.entry, outcome, target), path, seconds=outcome.seconds)
    if replayed.out_of_date:
        return _stale(str(path), replayed.out_of_date, path)
    if outcome.status == Status.PASSED:
        return Check(str(path), path=str(path), seconds=outcome.seconds)
    return Check(str(path), SKIPPED, f"{outcome.status}: {outcome.reason}", path=str(path))


def unreadable(error: FileError) -> Check:
    """A file that does not load."""
    return Check(str(error.path), BROKEN, str(error), path=str(error.path))


def _failure(name: str, entry: Entry, path: Path | None, count: int = 1, seconds: float = 0.0) -> Check:
    repro = repro_line(path, entry.target)
    details = finding_text(entry, repro, entry.signature)[:MAX_DETAILS]
    where = (repro, str(path)) if path else ("", "")
    return Check(name, FAILED, headline(entry), entry.signature, details, *where, count, seconds)


def _stale(name: str, known: KnownFailure, path: Path) -> Check:
    return Check(name, FAILED, known.no_longer_fails(path), known.signature, path=str(path))


def _known_failure(known: KnownFailure, count: int) -> Check:
    message = f"{known.outcome().status}: {known.reason}, {counted(count, 'case')} ({known.issue})"
    return Check(f"{known.signature} ({known.issue})", SKIPPED, message, known.signature, count=count)
