"""A check: what continuous integration shows, in any format, of a finding, a known failure or a stored case."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.outcome import Status

FAILED, SKIPPED, BROKEN = "failed", "skipped", "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """One result, as a test case of JUnit or an annotation of GitHub."""

    name: str
    status: str = Status.PASSED
    """passed, failed, skipped, or broken if there is no result."""
    message: str = ""
    """Why it is not passed, in one line."""
    signature: str = ""
    """Of a failure."""
    details: str = ""
    """Of a failure: the whole panel of the terminal, as text."""
    repro: str = ""
    """Of a failure: the command that reproduces it."""
    path: str = ""
    """The case file."""
    count: int = 1
    """Number of cases with this failure."""
    seconds: float = 0.0
