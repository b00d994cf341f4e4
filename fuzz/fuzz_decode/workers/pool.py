"""Several workers at once: keeps them busy, takes outcomes in the order in which they come, replaces workers that a case killed.

A worker draws a round, sends back its cases, and is given them to run. While one compiles for the first case of a round, the
others run theirs: a round that needs the very kernels that are being compiled is deferred, so that none is compiled twice.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.diagnose.diagnosis import ExplainRequest, KnownBug
from fuzz_decode.errors import TargetError, UnsupportedKernel
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome, Symptom
from fuzz_decode.workers.backend import AHEAD, CompletedCall, Schedule, WorkItem, explained
from fuzz_decode.workers.engines import EngineChoice
from fuzz_decode.workers.protocol import DrawRound, RunCases, WorkerConfig, WorkerInfo
from fuzz_decode.workers.slots import WorkerSlot, wait_for_any
from fuzz_decode.workers.worker import Worker

MAX_DRAWS = 3  # of one round: the first may end by what an earlier case did to its process, the others are first in theirs


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that are known."""

    number: int
    """of the first call"""
    calls: CallSequence
    key: str = ""
    """what the target compiles for all of them, as text; empty: not known, they are of no round"""


@dataclass(slots=True)
class PoolWork:
    """What a slot's worker has to do: draw a round, or make calls."""

    drawing: CompileRound | None = None
    """the round to draw"""
    number: int = 0
    """of the first call of that round"""
    draws: int = 0
    """of that round, which killed their process"""
    todo: tuple[tuple[int, CallSequence], ...] = ()
    """the calls to make, each with its number"""
    before: CallSequence = ()
    """calls that the process has made, where each run has a process of its own"""
    key: str = ""
    """what the target compiles for the calls"""
    compiling: bool = False
    """the first call for `key` is not done"""
    bugs: tuple[KnownBug, ...] = ()
    """those that the worker was told"""
    unexplained: CompletedCall | None = None
    """the call whose explanation is due"""

    @property
    def left(self) -> bool:
        return bool(self.todo) or self.drawing is not None or self.unexplained is not None

    @property
    def oldest(self) -> float:
        """The number of the first call that is not done."""
        if self.unexplained:
            return self.unexplained[0]
        if self.todo:
            return self.todo[0][0]
        return self.number if self.drawing else math.inf

    def repeat_unexplained(self) -> None:
        """Make the call again whose explanation will not come."""
        if self.unexplained:
            number, calls, _ = self.unexplained
            self.todo, self.unexplained = ((number, calls[-1:]), *self.todo), None

    @property
    def request(self) -> DrawRound | RunCases:
        if self.drawing:
            return DrawRound(self.drawing)
        return RunCases(tuple(case for _, (case,) in self.todo), self.bugs)


Slot = WorkerSlot[PoolWork]


@dataclass(slots=True)
class ProcessPool:
    """A `WorkerBackend` of `jobs` workers on this machine, in turn on each of `gpus`."""

    plan: WorkerConfig
    jobs: int
    gpus: tuple[str, ...] = ()
    _slots: list[Slot] = field(default_factory=list)
    _deferred: list[Batch] = field(default_factory=list)
    _compiled: set[str] = field(default_factory=set)

    def start(self) -> WorkerInfo:
        """Start all workers and wait for the first. Raises UsageError if the target cannot be imported."""
        plans = (self.plan.on(self.gpus[number % len(self.gpus)]) if self.gpus else self.plan for number in range(self.jobs))
        self._slots = [WorkerSlot(Worker(plan), PoolWork()) for plan in plans]
        try:
            return self._slots[0].greet(fresh=False)
        except UnsupportedKernel as error:
            self._go_on_interpreted(error)
            return self._slots[0].greet(fresh=False)

    def outcomes(self, runs: Iterable[WorkItem], schedule: Schedule = Schedule()) -> Iterator[CompletedCall]:
        coming, number, exhausted = iter(runs), schedule.start, False
        while time.monotonic() < schedule.until:
            for slot in self._slots:
                while not slot.work.left and not slot.starting:
                    if batch := self._deferred_no_longer():
                        yield from self._assign(slot, batch, schedule)
                        continue
                    if exhausted or number - self._oldest() > AHEAD:
                        break
                    run = next(coming, ())
                    exhausted = not run
                    if isinstance(run, CompileRound):
                        slot.work.drawing, slot.work.number, slot.work.draws = run, number, 0
                    else:
                        yield from self._assign(slot, Batch(number, run), schedule)
                    number += len(run)
                self._submit(slot, schedule)
            if exhausted and not self._deferred and not any(slot.work.left for slot in self._slots):
                return
            for slot in wait_for_any([slot for slot in self._slots if slot.running or slot.starting], schedule.until):
                try:
                    if slot.starting:
                        slot.greet(fresh=schedule.fresh)
                    elif slot.work.drawing:
                        yield from self._take_drawn(slot, slot.work.drawing, schedule)
                    elif slot.work.unexplained:
                        yield self._take_explanation(slot, slot.work.unexplained)
                    elif done := self._take_outcome(slot, schedule):
                        yield done
                except UnsupportedKernel as error:
                    self._go_on_interpreted(error)
                    break

    def close(self) -> None:
        for slot in self._slots:  # a GPU's process takes some time to end: all of them end at once
            slot.worker.kill()
        for slot in self._slots:
            slot.worker.close()

    @property
    def engine(self) -> EngineChoice:
        return self.plan.engine

    def _go_on_interpreted(self, error: UnsupportedKernel) -> None:
        """Restart all workers with the interpreter; they do what is left. Raises the error if that is not wanted."""
        self.plan = self.plan.interpreted(error)
        for slot in self._slots:
            slot.work.repeat_unexplained()
            slot.replace(self.plan)

    def _oldest(self) -> float:
        """The number of the first call that is not done."""
        return min([slot.work.oldest for slot in self._slots] + [batch.number for batch in self._deferred])

    def _deferred_no_longer(self) -> Batch | None:
        """The first deferred round whose kernels are compiled, or whichever is first if there are as many as workers."""
        too_many = len(self._deferred) >= len(self._slots)
        for batch in self._deferred:
            if too_many or not self._being_compiled(batch.key):
                self._deferred.remove(batch)
                return batch
        return None

    def _being_compiled(self, key: str) -> bool:
        return any(slot.work.compiling and slot.work.key == key for slot in self._slots)

    def _submit(self, slot: Slot, schedule: Schedule) -> None:
        """Have the worker do its work, unless it is at it."""
        if slot.work.left and not slot.running and not slot.starting:
            slot.work.bugs = () if schedule.fresh else schedule.known_bugs()
            slot.submit(slot.work.request)

    def _take_drawn(self, slot: Slot, round: CompileRound, schedule: Schedule) -> Iterator[CompletedCall]:
        drawn, slot.running = slot.worker.answer(DrawRound(round)), False
        if isinstance(drawn, Outcome):
            self._draw_again(slot, drawn)
            return
        slot.work.drawing, batch = None, Batch(slot.work.number, drawn.cases, drawn.key)
        if self._being_compiled(batch.key):
            self._deferred.append(batch)
        else:
            yield from self._assign(slot, batch, schedule)

    def _draw_again(self, slot: Slot, killed: Outcome) -> None:
        """Have the next worker draw the round. Raises TargetError if that is of no use."""
        how, timeout = killed.findings[0].message, killed.signature.symptom is Symptom.TIMEOUT
        slot.work.draws += 1
        if timeout or slot.work.draws == MAX_DRAWS:
            what = f"gave {how}" if timeout else f"ended its process {MAX_DRAWS} times; the last one {how}"
            raise TargetError(f"target {self.plan.target}: compiles_for {what}")
        slot.replace_if_dead()

    def _assign(self, slot: Slot, batch: Batch, schedule: Schedule) -> Iterator[CompletedCall]:
        """Give a batch to a slot; yield the calls in quarantine at once."""
        todo = []
        for number, case in enumerate(batch.calls, batch.number):
            if outcome := schedule.quarantine((case,)):
                yield number, (case,), outcome
            else:
                todo.append((number, (case,)))
        compiling = bool(batch.key and todo) and batch.key not in self._compiled
        slot.work = PoolWork(todo=tuple(todo), key=batch.key, compiling=compiling)
        if schedule.fresh and todo:
            slot.fresh_process()
        self._submit(slot, schedule)

    def _take_outcome(self, slot: Slot, schedule: Schedule) -> CompletedCall | None:
        """The call that is done; None if it failed and its explanation is still to come."""
        work = slot.work
        (number, call), *_ = work.todo
        outcome = slot.worker.answer(RunCases(call))
        calls = (*work.before, *call)
        work.todo = work.todo[1:]
        is_explained = slot.worker.alive and RunCases(call, work.bugs).is_explained(outcome)
        slot.running = slot.worker.alive and (bool(work.todo) or is_explained)
        work.before = calls if schedule.fresh and slot.worker.alive else ()
        if work.compiling:
            work.compiling = False
            self._compiled.add(work.key)
        slot.replace_if_dead()
        done = number, calls, dataclasses.replace(outcome, compiled_for=work.key) if work.key else outcome
        work.unexplained = done if is_explained else None
        return None if is_explained else done

    def _take_explanation(self, slot: Slot, done: CompletedCall) -> CompletedCall:
        number, calls, outcome = done
        work = slot.work
        explanation = slot.worker.answer(ExplainRequest.of(calls[-1], outcome, work.bugs))
        work.unexplained = None
        slot.running = slot.worker.alive and bool(work.todo)
        slot.replace_if_dead()
        return number, calls, explained(outcome, work.bugs, explanation)
