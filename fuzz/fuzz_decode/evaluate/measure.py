"""Runs kernels on cases until the first failure, several at once, each in a process in which nothing ran before.

A mutant may write anywhere, so that no two share a process: on the CPU every run is a fork of one that has imported Triton and
run nothing. A CUDA context survives no fork and takes seconds to make: there one process takes all seeds of one mutant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.serialization import case_digest
from fuzz_decode.errors import HarnessError
from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.mutant_inventory import CLEAN, Subject
from fuzz_decode.evaluate.settings import EvaluationSettings
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import FAILED, REJECTED, Outcome, Violation, failure
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.worker import Worker

Question = tuple[Case, Tolerance | None]


@dataclass(frozen=True, slots=True)
class Task:
    """One kernel on the cases of one seed; `diagnose`: what kills it is shrunk and diagnosed."""

    subject: Subject
    seed: int
    setting: EvaluationSettings
    diagnose: bool = False

    @property
    def stops(self) -> bool:
        """At the first failure; the clean kernel's are counted."""
        return self.subject.name != CLEAN


@dataclass(slots=True)
class _Slot:
    """A worker's place: tasks for its process, the one under way and what has come of it. `asking`: the failure in `first` is
    being diagnosed."""

    worker: Worker
    starting: bool = True
    todo: deque[Task] = field(default_factory=deque)
    asked: int = 0
    failures: int = 0
    rejected: int = 0
    first: Outcome | None = None
    question: Question | None = None
    killer: Question | None = None
    asking: bool = False
    running: bool = False
    began: float = 0.0


@dataclass(slots=True)
class EvaluationPool:
    """`jobs` processes for the tasks of one device. Iterate over `measurements()`, then `close()`, whatever happened."""

    plan: WorkerConfig
    jobs: int
    _seats: list[_Slot] = field(default_factory=list)
    _drawn: dict[tuple[int, EvaluationSettings], _Shared] = field(default_factory=dict)
    _space: CaseSpace = field(default_factory=CaseSpace)

    def measurements(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Measurement]]:
        """Each task with what was measured, as it is done. Raises HarnessError if our own code failed on the clean kernel."""
        batches = iter(batched(tasks))
        self._seats = [_Slot(Worker(self.plan)) for _ in range(min(self.jobs, len(tasks)))]
        while True:
            for seat in self._seats:
                yield from self._keep_busy(seat, batches)
            busy = [seat for seat in self._seats if seat.running or (seat.starting and seat.todo)]
            if not busy:
                return
            for seat in _awake(busy):
                if seat.starting:
                    self._greet(seat)
                else:
                    self._collect(seat)

    def close(self) -> None:
        for seat in self._seats:
            seat.worker.close()

    def _keep_busy(self, seat: _Slot, batches: Iterator[Sequence[Task]]) -> Iterator[tuple[Task, Measurement]]:
        """Ask the seat's next question; where a task has none left, tell what was measured and go to the next task."""
        while not seat.running:
            if not seat.todo:
                seat.todo.extend(next(batches, ()))
                if not seat.todo:
                    return
                seat.worker.fresh_process()
                self._replace_if_dead(seat)
            if seat.starting:
                return
            seat.began = seat.began or time.monotonic()
            if self._ask(seat):
                return
            yield seat.todo[0], self._told(seat)
            seat.todo.popleft()

    def _ask(self, seat: _Slot) -> bool:
        """Submit the next question of the task under way; False if it is over."""
        task = seat.todo[0]
        if seat.first is not None and task.stops:
            if not self._wants_diagnosis(seat):
                return False
            seat.asking = True
            seat.question = seat.killer
        else:
            seat.question = self._question(task, seat.asked)
            seat.asked += seat.question is not None
        if seat.question is None:
            return False
        trial = task.setting.trial(task.subject.target, *seat.question)
        if seat.asking:
            trial = dataclasses.replace(trial, diagnose=True, crashed=self._crash(seat))
        seat.worker.submit(trial)
        seat.running = True
        return True

    def _wants_diagnosis(self, seat: _Slot) -> bool:
        """Once, of a kernel that lived to be compared, or whose wild reads a fence can stop."""
        told = seat.first is not None and (seat.first.stage == "compare" or bool(self._crash(seat)))
        return told and not seat.asking and seat.todo[0].diagnose

    def _crash(self, seat: _Slot) -> str:
        """The signature of a crash in the interpreter."""
        signature = seat.first.signature if seat.first else ""
        return signature if signature.startswith("crash-SIG") and self.plan.device == "cpu" else ""

    def _question(self, task: Task, number: int) -> Question | None:
        name = task.seed, task.setting
        if name not in self._drawn:
            self._drawn[name] = _Shared(task.setting.questions(task.seed, self._space))
        return self._drawn[name].get(number)

    def _greet(self, seat: _Slot) -> None:
        self._space = seat.worker.ready().space
        seat.starting = False
        seat.worker.fresh_process()  # before it runs anything, so that later a fork is enough

    def _collect(self, seat: _Slot) -> None:
        outcome = self._result(seat)
        seat.running = False
        if seat.asking:
            assert seat.first is not None
            seat.first = outcome if outcome.signature == seat.first.signature else seat.first
        elif outcome.status == FAILED:
            seat.failures += 1
            if seat.first is None:
                seat.first, seat.killer = outcome, seat.question
        seat.rejected += outcome.status == REJECTED
        self._replace_if_dead(seat)

    def _result(self, seat: _Slot) -> Outcome:
        """The answer. A mutant may overwrite memory that is ours: our own failure is its own, if the kernel does not cause it."""
        try:
            return seat.worker.result()
        except HarnessError as error:
            assert seat.question is not None
            with contextlib.closing(Worker(self.plan)) as other:
                other.ready()
                other.submit(seat.todo[0].setting.trial(CLEAN, *seat.question))
                other.result()  # raises if we are wrong
            if not seat.todo[0].stops:
                raise
            return failure("run", Violation("worker", "harness-error", "call", str(error).strip().splitlines()[-1][:300]))

    def _told(self, seat: _Slot) -> Measurement:
        """What was measured of the task under way; the seat forgets it."""
        task, first = seat.todo[0], seat.first
        measured = Measurement(
            subject=task.subject.name,
            kind=task.subject.kind,
            seed=task.seed,
            cases=seat.asked,
            failures=seat.failures,
            rejected=seat.rejected,
            oracle=first.findings[0].oracle if first else "",
            signature=first.signature if first else "",
            message=first.findings[0].message[:300] if first else "",
            case=case_digest(seat.killer[0]) if seat.killer else "",
            asked=seat.asking,
            diagnosed=first.diagnosed if first else "",
            confident=first.confident if first else False,
            seconds=round(time.monotonic() - seat.began, 3),
        )
        seat.asked = seat.failures = seat.rejected = 0
        seat.first = seat.question = seat.killer = None
        seat.asking, seat.began = False, 0.0
        return measured

    def _replace_if_dead(self, seat: _Slot) -> None:
        if not seat.worker.alive:
            seat.worker, seat.starting = Worker(self.plan), True


class _Shared:
    """Cases that several tasks go through, drawn once and no further than any of them goes."""

    def __init__(self, source: Iterator[Question]) -> None:
        self._source, self._known = source, list[Question]()

    def get(self, number: int) -> Question | None:
        while len(self._known) <= number:
            coming = next(self._source, None)
            if coming is None:
                return None
            self._known.append(coming)
        return self._known[number]


def batched(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Tasks that one process takes in a row: on CUDA all of one kernel, otherwise each alone."""

    def process(numbered: tuple[int, Task]) -> Any:
        number, task = numbered
        return task.subject.name if task.setting.device == "cuda" else number

    for _, group in itertools.groupby(enumerate(tasks), process):
        yield [task for _, task in group]


def _awake(seats: Sequence[_Slot]) -> list[_Slot]:
    """Seats that have something to say, or should have had by now."""
    patience = max(0.0, min(seat.worker.deadline for seat in seats) - time.monotonic())
    speaking = wait([seat.worker.connection for seat in seats], patience)
    return [seat for seat in seats if seat.worker.connection in speaking or seat.worker.overdue]
