"""One task of an evaluation, a kernel on the cases of one seed, and how far it has come."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import case_digest
from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.mutant_inventory import CLEAN, Subject
from fuzz_decode.evaluate.settings import EvaluationSettings
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import Outcome, Signature, Stage, Status
from fuzz_decode.workers.protocol import EvaluateCase

JudgedCase = tuple[Case, Tolerance | None]  # None: every oracle judges the case, otherwise the peer's tolerance does


@dataclass(frozen=True, slots=True)
class Task:
    """One kernel on the cases of one seed."""

    subject: Subject
    seed: int
    setting: EvaluationSettings
    diagnose: bool = False
    """the first failure is shrunk and diagnosed"""

    @property
    def stops(self) -> bool:
        """A mutant's run ends at the first failure; on the clean kernel failures are counted."""
        return self.subject.name != CLEAN


class SharedCases:
    """Cases that several tasks go through, drawn once, and only as far as the task that needs most of them."""

    def __init__(self, source: Iterator[JudgedCase]) -> None:
        self._source, self._drawn = source, list[JudgedCase]()

    def get(self, number: int) -> JudgedCase | None:
        """The case with that number; None if there are fewer."""
        self._drawn += itertools.islice(self._source, max(0, number + 1 - len(self._drawn)))
        return self._drawn[number] if number < len(self._drawn) else None


@dataclass(slots=True)
class TaskRun:
    """A task under way."""

    task: Task
    cases: SharedCases
    began: float = field(default_factory=time.monotonic)
    drawn: int = 0
    """number of cases that were run, or are running"""
    failures: int = 0
    rejected: int = 0
    request: EvaluateCase | None = None
    """the last one"""
    first: Outcome | None = None
    """the first failure"""
    killer: EvaluateCase | None = None
    """the request that it answers"""
    diagnosing: bool = False
    """the first failure is being diagnosed, or has been"""

    def next_request(self) -> EvaluateCase | None:
        """What to run next; None if the task is done."""
        if self.first is None or not self.task.stops:
            self.request = self._next_case()
        elif self.killer and not self.diagnosing and self._can_be_diagnosed(self.first):
            self.diagnosing = True
            self.request = dataclasses.replace(self.killer, diagnose=True, crashed=self._interpreter_crash(self.first))
        else:
            self.request = None
        return self.request

    def record(self, outcome: Outcome) -> None:
        """Take the outcome of the last request."""
        if self.diagnosing:
            if self.first and outcome.signature == self.first.signature:  # otherwise the diagnosis killed the process
                self.first = outcome
        elif outcome.status == Status.FAILED:
            self.failures += 1
            if self.first is None:
                self.first, self.killer = outcome, self.request
        self.rejected += outcome.status == Status.REJECTED

    def measurement(self) -> Measurement:
        first = self.first
        return Measurement(
            subject=self.task.subject.name,
            kind=self.task.subject.kind,
            seed=self.task.seed,
            cases=self.drawn,
            failures=self.failures,
            rejected=self.rejected,
            oracle=first.findings[0].oracle if first else "",
            signature=first.signature if first else "",
            message=first.findings[0].message[:300] if first else "",
            case=case_digest(self.killer.case) if self.killer else "",
            asked=self.diagnosing,
            diagnosed=first.diagnosed if first else "",
            confident=first.confident if first else False,
            seconds=round(time.monotonic() - self.began, 3),
        )

    def _next_case(self) -> EvaluateCase | None:
        judged = self.cases.get(self.drawn)
        if judged is None:
            return None
        self.drawn += 1
        return self.task.setting.trial(self.task.subject.target, *judged)

    def _can_be_diagnosed(self, first: Outcome) -> bool:
        """If outputs were compared, or in the interpreter, where a memory fence contains what crashed the kernel."""
        return self.task.diagnose and (first.stage == Stage.COMPARE or bool(self._interpreter_crash(first)))

    def _interpreter_crash(self, first: Outcome) -> Signature:
        """The signature, if it is that of a crash in the interpreter."""
        return first.signature if first.signature.is_signal and self.task.setting.device == "cpu" else Signature()


def batched(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Tasks that one process takes in a row: on CUDA all of one kernel, otherwise each alone."""

    def process(numbered: tuple[int, Task]) -> str | int:
        number, task = numbered
        return task.subject.name if task.setting.device == "cuda" else number

    for _, group in itertools.groupby(enumerate(tasks), process):
        yield [task for _, task in group]
