"""Findings for Python: plain data that prints as the story that the terminal tells."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.outcome import PASSED
from fuzz_decode.report.terminal.finding import finding_text

WIDTH = 72  # of a panel: with the 8 columns that pytest puts before a line of an error it fits into 80


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a function does wrong; `str()` of it is the whole story.

    `signature` names the failure across cases, `diagnosis` says what the function does wrong, where that is known, `message` what
    came of it. `where` is the worst element's index, `expected`, `got` and `allowed` its values. `case` is the simplest case that
    shows it, after the calls `before` if it needs any; `count` cases of the campaign did. `path` is its file in the corpus.
    """

    signature: str
    diagnosis: str
    message: str
    where: tuple[int, ...]
    expected: float | None
    got: float | None
    allowed: float | None
    case: Case
    before: CallSequence
    count: int
    path: Path | None
    story: str = field(repr=False)

    def __str__(self) -> str:
        return self.story


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case: true if it passed. `status` is passed, failed or rejected; `reason` says why it was rejected,
    `finding` what is wrong."""

    status: str
    reason: str = ""
    finding: Finding | None = None

    def __bool__(self) -> bool:
        return self.status == PASSED

    def __str__(self) -> str:
        return str(self.finding) if self.finding else ": ".join(filter(None, (self.status, self.reason)))


def to_finding(entry: Entry, title: str, repro: str, count: int = 1, path: Path | None = None) -> Finding:
    """The finding that an entry describes."""
    data = entry.finding
    expected, got, allowed = (None if data.get(n) is None else float(data[n]) for n in ("expected", "got", "allowed"))
    return Finding(
        signature=entry.signature,
        diagnosis=entry.diagnosis,
        message=str(data["message"]),
        where=tuple(data["where"]),
        expected=expected,
        got=got,
        allowed=allowed,
        case=entry.case,
        before=entry.before,
        count=count,
        path=path,
        story=finding_text(entry, repro, title, WIDTH),
    )


def replay_command(entry: Entry, path: Path) -> str:
    """What shows a stored finding again."""
    return f"fuzz-decode replay {shlex.quote(str(path))} --target {shlex.quote(entry.target)} --device {entry.device}"


def check_call(entry: Entry, function: str) -> str:
    """What shows a finding again in Python; `function` is an expression."""
    before = f", before={entry.before!r}" if entry.before else ""
    return f"check({function}, {entry.case!r}{before}, device={entry.device!r})"
