"""The result of running one case: plain data that crosses process borders and goes into corpus files.

Statuses, stages, symptoms and signatures are strings with a type: they are stored as, and compare equal to, the texts of corpus
files, ledgers and reports.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class _Word(str, Enum):
    """A word of a fixed set (enum.StrEnum, which Python 3.10 lacks)."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


class Status(_Word):
    """What a case came to."""

    PASSED = "passed"
    FAILED = "failed"
    REJECTED = "rejected"
    """the target does not take it"""
    KNOWN = "known"
    """the ledger says that it fails"""
    QUARANTINED = "quarantined"
    """the ledger says that it must not be launched"""


class Stage(_Word):
    """How far a case came."""

    BUILD = "build"
    RUN = "run"
    COMPARE = "compare"


class Symptom(_Word):
    """How a failure shows."""

    WRONG_VALUE = "wrong-value"
    UNWRITTEN = "unwritten"
    STRAY_WRITE = "stray-write"
    INPUT_MODIFIED = "input-modified"
    OUT_OF_BOUNDS = "out-of-bounds"
    """its detail is the kernel's name of a tensor"""
    UNDEFINED_VALUE = "undefined-value"
    """its detail is the kernel's name of a tensor, or what was done with the value"""
    NONDETERMINISTIC = "nondeterministic"
    ORDER_DEPENDENT = "order-dependent"
    LAYOUT_DEPENDENT = "layout-dependent"
    WRONG_SHAPE = "wrong-shape"
    WRONG_DTYPE = "wrong-dtype"
    WRONG_DEVICE = "wrong-device"
    OUT_OF_MEMORY = "out-of-memory"
    TIMEOUT = "timeout"
    EXCEPTION = "exception"
    """its detail is the exception's type"""
    CRASH = "crash"
    """its detail is a signal, `exit-CODE` or DEAD_DEVICE"""
    HARNESS_ERROR = "harness-error"
    """a mutant overwrote memory of the harness"""


DEAD_DEVICE = "device"  # detail of a crash that leaves the CUDA context unusable


class Signature(str):
    """`symptom:tensor` or `symptom-detail:tensor`: names a failure across cases. Empty: there is none."""

    __slots__ = ()

    @classmethod
    def of(cls, symptom: Symptom, tensor: str, detail: str = "") -> Signature:
        return cls(f"{'-'.join(filter(None, (symptom, detail)))}:{tensor}")

    @property
    def symptom(self) -> Symptom | None:
        """None for a text that no oracle of this version gives."""
        return self._split()[0]

    @property
    def detail(self) -> str:
        """The exception's type, the signal that ended the process, ..."""
        return self._split()[1]

    @property
    def tensor(self) -> str:
        return self.partition(":")[2]

    @property
    def is_signal(self) -> bool:
        """Whether a signal ended the process, such as SIGSEGV."""
        return self.symptom is Symptom.CRASH and self.detail.startswith("SIG")

    @property
    def is_dead_device(self) -> bool:
        """Whether the CUDA context is unusable, so that the process has to be replaced."""
        return self.symptom is Symptom.CRASH and self.detail == DEAD_DEVICE

    def _split(self) -> tuple[Symptom | None, str]:
        text = self.partition(":")[0]
        for symptom in Symptom:
            if text == symptom or text.startswith(f"{symptom}-"):
                return symptom, text[len(symptom) + 1 :]
        return None, ""


@dataclass(frozen=True, slots=True)
class Violation:
    """One oracle's complaint. `symptom`, `detail` and `tensor` name the failure and make its signature; the rest shows it."""

    oracle: str
    symptom: Symptom
    tensor: str
    message: str
    where: tuple[int, ...] = ()
    """index of the worst element"""
    expected: float | None = None
    """its value in the reference"""
    got: float | None = None
    """its value in the output"""
    allowed: float | None = None
    """how far apart the two may be"""
    wrong: int = 0
    """number of elements that are wrong"""
    total: int = 0
    """number of elements"""
    reads: str = ""
    """the address that each wrong row read, a line each, if there are several"""
    calls: str = ""
    """the lines of the target that led to an exception, the innermost last, a line each, if there are several"""
    detail: str = ""
    """the exception's type, the signal that ended the process, ..."""
    place: str = ""
    """the innermost line of the target that led to an exception"""
    in_plain_layout: bool = False
    """whether the call was right, and a later one wrong that had the same values in a plain layout"""

    @property
    def signature(self) -> Signature:
        return Signature.of(self.symptom, self.tensor, self.detail)

    def to_json(self) -> dict[str, Any]:
        """Plain data; JSON has no NaN and no infinity, so that these become words."""
        fields = {**dataclasses.asdict(self), "symptom": self.signature.partition(":")[0]}
        del fields["detail"]
        return {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one case."""

    status: Status
    stage: Stage = Stage.COMPARE
    findings: tuple[Violation, ...] = ()
    """in order: the first one names the failure"""
    reason: str = ""
    """why it was rejected, or is known or quarantined"""
    seconds: float = 0.0
    diagnosed: str = ""
    """name of the fault that explains the failure, if one was looked for and found"""
    confident: bool = False
    """whether no other fault explains it"""
    compiled_for: str = ""
    """what the target is compiled for, in a campaign in rounds"""
    explained_by: int | None = None
    """number of the known bug that causes the failure; None: none of those that it was compared with does"""
    compared_with: int = -1
    """number of the last known bug that it was compared with; -1: with none"""

    @property
    def signature(self) -> Signature:
        """Names the failure across cases; empty if there is none."""
        return self.findings[0].signature if self.findings else Signature()


def failure(stage: Stage, *findings: Violation, seconds: float = 0.0) -> Outcome:
    return Outcome(Status.FAILED, stage, findings, seconds=seconds)


def last_call_outcome(outcomes: Sequence[Outcome], number: int) -> Outcome:
    """The outcome of the last of `number` calls in a row, given those of the calls that were run.

    Where only an earlier one failed, or its crash left the last one without an answer, its failure under another signature.
    """
    last = outcomes[-1]
    failed = next((outcome for outcome in outcomes[: number - 1] if outcome.findings), None)
    if failed is None or (len(outcomes) == number and last.status is not Status.PASSED):
        return last
    findings = (dataclasses.replace(finding, tensor=f"{finding.tensor} of an earlier call") for finding in failed.findings)
    return dataclasses.replace(failed, findings=tuple(findings))
