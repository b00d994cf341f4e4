"""Runs kernels on cases until the first failure, several at once, each in a process in which nothing ran before.

A mutant may write anywhere, so that no two share a process: on the CPU every task runs in a fork of a process that has imported
Triton and run nothing. A CUDA context survives no fork and takes seconds to make: there one process takes all seeds of a mutant.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.errors import HarnessError
from fuzz_decode.evaluate.measurements import Measurement
from fuzz_decode.evaluate.mutant_inventory import CLEAN
from fuzz_decode.evaluate.settings import EvaluationSettings
from fuzz_decode.evaluate.task import SharedCases, Task, TaskRun, batched
from fuzz_decode.outcome import Outcome, Signature, Stage, Symptom, Violation, failure
from fuzz_decode.workers.protocol import EvaluateCase, WorkerConfig
from fuzz_decode.workers.slots import WorkerSlot, wait_for_any
from fuzz_decode.workers.worker import Worker


@dataclass(slots=True)
class EvaluationWork:
    """What a slot's worker has to do."""

    tasks: deque[Task] = field(default_factory=deque)
    """tasks for its process, the one under way first"""
    run: TaskRun | None = None
    """the task under way, once it has begun"""


Slot = WorkerSlot[EvaluationWork]


@dataclass(slots=True)
class EvaluationPool:
    """`jobs` processes for the tasks of one device. Iterate over `measurements()`, then `close()`, whatever happened."""

    plan: WorkerConfig
    jobs: int
    _slots: list[Slot] = field(default_factory=list)
    _cases: dict[tuple[int, EvaluationSettings], SharedCases] = field(default_factory=dict)
    _space: CaseSpace = CaseSpace()

    def measurements(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Measurement]]:
        """Each task with its measurement, as it is done. Raises HarnessError if our own code failed on the clean kernel."""
        batches = iter(batched(tasks))
        self._slots = [WorkerSlot(Worker(self.plan), EvaluationWork()) for _ in range(min(self.jobs, len(tasks)))]
        while True:
            for slot in self._slots:
                yield from self._keep_busy(slot, batches)
            busy = [slot for slot in self._slots if slot.running or (slot.starting and slot.work.tasks)]
            if not busy:
                return
            for slot in wait_for_any(busy):
                if slot.starting:
                    self._space = slot.greet(fresh=True).space
                else:
                    self._take_outcome(slot)

    def close(self) -> None:
        for slot in self._slots:
            slot.worker.close()

    def _keep_busy(self, slot: Slot, batches: Iterator[Sequence[Task]]) -> Iterator[tuple[Task, Measurement]]:
        """Submit the next case of the slot's task; yield the measurements of tasks that are done on the way."""
        work = slot.work
        while not slot.running and (work.tasks or self._take_batch(slot, batches)) and not slot.starting:
            work.run = work.run or TaskRun(work.tasks[0], self._cases_of(work.tasks[0]))
            request = work.run.next_request()
            if request is not None:
                slot.submit(request)
                return
            yield work.tasks.popleft(), work.run.measurement()
            work.run = None

    def _take_batch(self, slot: Slot, batches: Iterator[Sequence[Task]]) -> bool:
        """Give a slot its next tasks and a process in which nothing ran; False if there are no more tasks."""
        slot.work.tasks.extend(next(batches, ()))
        if slot.work.tasks:
            slot.fresh_process()
        return bool(slot.work.tasks)

    def _cases_of(self, task: Task) -> SharedCases:
        """The cases of the task's seed, which are the same for every mutant."""
        name = task.seed, task.setting
        if name not in self._cases:
            self._cases[name] = SharedCases(task.setting.questions(task.seed, self._space))
        return self._cases[name]

    def _take_outcome(self, slot: Slot) -> None:
        run = slot.work.run
        assert run is not None
        assert run.request is not None  # its answer has come, or is overdue
        try:
            outcome = slot.worker.answer(run.request)
        except HarnessError as error:
            outcome = self._blame_mutant(error, run.task, run.request)
        slot.running = False
        run.record(outcome)
        slot.replace_if_dead()

    def _blame_mutant(self, error: HarnessError, task: Task, request: EvaluateCase) -> Outcome:
        """A mutant may overwrite memory of the harness: a fault of our own is its failure, if the clean kernel has none there."""
        with contextlib.closing(Worker(self.plan)) as worker:
            worker.ready()
            worker.ask(dataclasses.replace(request, target=CLEAN, diagnose=False, crashed=Signature()))  # raises if we are wrong
        if not task.stops:
            raise error
        return failure(Stage.RUN, Violation("worker", Symptom.HARNESS_ERROR, "call", str(error).strip().splitlines()[-1][:300]))
