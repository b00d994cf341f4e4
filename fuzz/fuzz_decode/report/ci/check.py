"""What continuous integration is told, in whatever format: a check for each finding, known failure or stored case."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.outcome import PASSED

FAILED, SKIPPED, BROKEN = "failed", "skipped", "broken"


@dataclass(frozen=True, slots=True)
class Check:
    """`status` is passed, failed, skipped, or broken if there is no answer; `message` says why. Of a failure, `signature` names
    it, `story` is all that a terminal shows, `repro` the command that shows it again, `count` says how many cases had it."""

    name: str
    status: str = PASSED
    message: str = ""
    signature: str = ""
    story: str = ""
    repro: str = ""
    path: str = ""
    count: int = 1
    seconds: float = 0.0
