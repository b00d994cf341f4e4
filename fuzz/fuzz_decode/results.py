"""What the Python API returns: plain data that prints like a finding on the terminal."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.outcome import Status
from fuzz_decode.report.terminal.finding import finding_text
from fuzz_decode.text import counted

if TYPE_CHECKING:
    from fuzz_decode.campaign.campaign import Campaign
    from fuzz_decode.campaign.state import Bug

PANEL_WIDTH = 72  # with the 8 columns that pytest puts before a line of an error it fits into 80


@dataclass(frozen=True, slots=True)
class Finding:
    """One bug of a function; `str()` of it is the whole story."""

    signature: str
    """symptom and tensor, such as wrong-value:out; the same for all cases that show the bug"""
    diagnosis: str
    """what the function does wrong; empty if unknown"""
    message: str
    """what the first oracle reports about the case"""
    where: tuple[int, ...]
    """index of the worst element; empty if there is none"""
    expected: float | None
    """its value in the reference"""
    got: float | None
    """its value in the function's output"""
    allowed: float | None
    """the largest difference that rounding explains"""
    case: Case
    """the simplest failing case that was found"""
    before: CallSequence
    """cases that must run before it in the same process, oldest first; mostly none"""
    count: int
    """cases of the campaign that showed the bug"""
    path: Path | None
    """case file in the corpus; None without a corpus"""
    story: str = field(repr=False)
    """all of this as text"""

    def __str__(self) -> str:
        return self.story


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one case: true if it passed."""

    status: str
    """passed, failed or rejected"""
    reason: str = ""
    """why the case was rejected"""
    finding: Finding | None = None
    """what is wrong, if it failed"""

    def __bool__(self) -> bool:
        return self.status == Status.PASSED

    def __str__(self) -> str:
        return str(self.finding) if self.finding else ": ".join(filter(None, (self.status, self.reason)))


def attach(error: UsageError | HarnessError | KeyboardInterrupt, findings: tuple[Finding, ...]) -> None:
    """Put what was found before an error into its text and, but for an interrupt, its `findings`: it may be kept nowhere else."""
    if not isinstance(error, KeyboardInterrupt):
        error.findings = findings
    if findings:
        error.args = ("\n".join([*filter(None, [str(error)]), "found before this error:", *map(str, findings)]),)


def to_finding(entry: Entry, title: str, repro: str, count: int = 1, path: Path | None = None) -> Finding:
    """The finding of an entry; `title` and `repro`, the way to reproduce it, go into its story."""
    violation = entry.finding
    expected, got, allowed = (None if violation.get(n) is None else float(violation[n]) for n in ("expected", "got", "allowed"))
    return Finding(
        signature=entry.signature,
        diagnosis=entry.diagnosis,
        message=str(violation["message"]),
        where=tuple(violation["where"]),
        expected=expected,
        got=got,
        allowed=allowed,
        case=entry.case,
        before=entry.before,
        count=count,
        path=path,
        story=finding_text(entry, repro, title, PANEL_WIDTH),
    )


def case_finding(entry: Entry, function: str) -> Finding:
    """The finding of a single case; `function` is an expression."""
    return to_finding(entry, entry.signature, check_call(entry, function))


def campaign_findings(campaign: Campaign, function: str, *, kept: bool) -> tuple[Finding, ...]:
    """Those of a campaign on a function; `kept`: their files stay."""
    return tuple(_finding(campaign, bug, function, kept=kept) for bug in campaign.state.bugs)


def _finding(campaign: Campaign, bug: Bug, function: str, *, kept: bool) -> Finding:
    entry, path = bug.entry, bug.file if kept else None
    cases = counted(campaign.state.done, "case")
    title = f"{entry.signature} - {bug.count} of {cases}" + ", not fully minimized" * (not entry.minimised)
    repro = replay_command(entry, path) if path and not campaign.in_process else check_call(entry, function)
    return to_finding(entry, title, repro, bug.count, path)


def replay_command(entry: Entry, path: Path) -> str:
    """The command line that reproduces a stored finding."""
    return f"fuzz-decode replay {shlex.quote(str(path))} --target {shlex.quote(entry.target)} --device {entry.device}"


def check_call(entry: Entry, function: str) -> str:
    """The Python call that reproduces a finding; `function` is an expression."""
    before = f", before={entry.before!r}" if entry.before else ""
    return f"check({function}, {entry.case!r}{before}, device={entry.device!r})"
