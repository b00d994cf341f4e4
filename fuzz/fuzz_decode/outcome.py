"""What came of running one case: plain data that crosses process borders and goes into corpus files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STAGES = ("build", "run", "compare")
PASSED, FAILED, REJECTED = "passed", "failed", "rejected"
KNOWN, QUARANTINED = "known", "quarantined"  # the ledger says that it fails, and that it must not be launched


@dataclass(frozen=True, slots=True)
class Violation:
    """One oracle's complaint. `symptom` and `tensor` name the failure and make its signature; the rest shows it.

    `where` is the worst element's index, `expected`, `got` and `allowed` its values, `wrong` of `total` elements are affected.
    `reads`: the address that each wrong row read, a line each, where there are several.
    """

    oracle: str
    symptom: str
    tensor: str
    message: str
    where: tuple[int, ...] = ()
    expected: float | None = None
    got: float | None = None
    allowed: float | None = None
    wrong: int = 0
    total: int = 0
    reads: str = ""

    @property
    def signature(self) -> str:
        return f"{self.symptom}:{self.tensor}"

    def to_json(self) -> dict[str, Any]:
        """Plain data; JSON has no NaN and no infinity, so that these become words."""
        plain = dataclasses.asdict(self)
        return {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in plain.items()
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is passed, failed or rejected, or known or quarantined after the ledger; `reason` says why it is one of the last
    three; `findings` are ordered, the first one names the failure; `diagnosed` names the fault that explains it, if one was
    looked for and found, and `confident` says whether no other does; `compiled_for` is what the target is compiled for, in a
    campaign in rounds."""

    status: str
    stage: str = "compare"
    findings: tuple[Violation, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    diagnosed: str = ""
    confident: bool = False
    compiled_for: str = ""

    @property
    def signature(self) -> str:
        """Names the failure across cases; empty when there is none."""
        return self.findings[0].signature if self.findings else ""


def failure(stage: str, *findings: Violation, seconds: float = 0.0) -> Outcome:
    return Outcome(FAILED, stage, findings, seconds=seconds)


def last_call_outcome(outcomes: Sequence[Outcome], number: int) -> Outcome:
    """The outcome of the last of `number` calls in a row, given those of the calls that were run.

    Where only an earlier one failed, or its death left the last one without an answer, its failure under another signature.
    """
    last = outcomes[-1]
    failed = next((outcome for outcome in outcomes[: number - 1] if outcome.findings), None)
    if failed is None or (len(outcomes) == number and last.status != PASSED):
        return last
    findings = (dataclasses.replace(finding, tensor=f"{finding.tensor} of an earlier call") for finding in failed.findings)
    return dataclasses.replace(failed, findings=tuple(findings))
