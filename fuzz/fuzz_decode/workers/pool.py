"""Several workers at once: keeps them busy, takes what they bring as it comes, and replaces those that a case killed.

A worker draws a round, tells its cases, and is given them to run. While one compiles for the first case of a round, the others
run theirs: a round that needs the very kernels that are being compiled is put off for another, so that none is compiled twice.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo
from fuzz_decode.workers.worker import Worker

AHEAD = 60_000  # cases that may be done, at most, while an earlier one is not: they wait to be judged, some 2 KB each

WorkItem = CallSequence | CompileRound
CompletedCall = tuple[int, CallSequence, Outcome]
Quarantine = Callable[[CallSequence], Outcome | None]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Calls that are known, numbered from `number`; all of them need the kernels that `key` names."""

    number: int
    calls: CallSequence
    key: str = ""


@dataclass(slots=True)
class WorkerSlot:
    """One worker's place: it draws the round `drawing`, whose first case has that `number`, or makes the calls `todo`, each with
    its number; `running`, or about to. `before` are those that its process has made. `starting` while the process has not
    imported the target yet; `compiling` while the first call for `key` is not done."""

    worker: Worker
    starting: bool = True
    drawing: CompileRound | None = None
    running: bool = False
    compiling: bool = False
    key: str = ""
    number: int = 0
    before: CallSequence = ()
    todo: tuple[tuple[int, CallSequence], ...] = ()

    @property
    def busy(self) -> bool:
        return bool(self.todo) or self.drawing is not None

    @property
    def oldest(self) -> float:
        """The number of the first call that is not done."""
        if self.todo:
            return self.todo[0][0]
        return self.number if self.drawing else math.inf


@dataclass(slots=True)
class ProcessPool:
    """`jobs` workers for one plan, in turn on each of `gpus`. `start()` first; `close()` at the end, whatever happened."""

    plan: WorkerConfig
    jobs: int
    gpus: tuple[str, ...] = ()
    _seats: list[WorkerSlot] = field(default_factory=list)
    _held: list[_Batch] = field(default_factory=list)
    _compiled: set[str] = field(default_factory=set)

    def start(self) -> WorkerInfo:
        """Start all workers and wait for the first. Raises UsageError if the target cannot be imported."""
        plans = (self.plan.on(self.gpus[number % len(self.gpus)]) if self.gpus else self.plan for number in range(self.jobs))
        self._seats = [WorkerSlot(Worker(plan)) for plan in plans]
        ready = self._seats[0].worker.ready()
        self._seats[0].starting = False
        return ready

    def outcomes(
        self,
        runs: Iterable[WorkItem],
        *,
        fresh: bool = False,
        start: int = 0,
        quarantine: Quarantine = lambda calls: None,
        until: float = math.inf,
    ) -> Iterator[CompletedCall]:
        """(number, calls, outcome) of each call as it is done, numbered from `start` in the order of `runs`: it is the last.

        `fresh`: each run gets a process of its own, and a call is told with those made in its process before it. What is left
        of a run whose process died is made in another one, so that every call is made. Otherwise processes go on from run to
        run, and a call is told alone. A call that `quarantine` has an outcome for is not made. At the time `until` all is dropped
        that is not done.
        """
        coming, number, exhausted = iter(runs), start, False
        while time.monotonic() < until:
            for seat in self._seats:
                while not seat.busy and not seat.starting:
                    if batch := self._put_off():
                        yield from self._launch(seat, batch, fresh, quarantine)
                        continue
                    if exhausted or number - self._oldest() > AHEAD:
                        break
                    run = next(coming, ())
                    exhausted = not run
                    if isinstance(run, CompileRound):
                        seat.drawing, seat.number = run, number
                    else:
                        yield from self._launch(seat, _Batch(number, run), fresh, quarantine)
                    number += len(run)
                self._submit(seat)
            if exhausted and not self._held and not any(seat.busy for seat in self._seats):
                return
            for seat in self._awake([seat for seat in self._seats if seat.running or seat.starting], until):
                if seat.starting:
                    self._greet(seat, fresh)
                elif seat.drawing:
                    yield from self._take_drawn(seat, fresh, quarantine)
                else:
                    yield self._collect(seat, fresh)

    def close(self) -> None:
        for seat in self._seats:
            seat.worker.kill()
        for seat in self._seats:
            seat.worker.close()

    def _oldest(self) -> float:
        return min([seat.oldest for seat in self._seats] + [batch.number for batch in self._held])

    def _put_off(self) -> _Batch | None:
        """The first round that was put off and need not be any longer."""
        crowded = len(self._held) >= len(self._seats)
        for batch in self._held:
            if crowded or not self._being_compiled(batch.key):
                self._held.remove(batch)
                return batch
        return None

    def _being_compiled(self, key: str) -> bool:
        return any(seat.compiling and seat.key == key for seat in self._seats)

    def _take_drawn(self, seat: WorkerSlot, fresh: bool, quarantine: Quarantine) -> Iterator[CompletedCall]:
        drawn, seat.running = seat.worker.drawn(), False
        if drawn is None:  # its successor draws again
            self._replace_if_dead(seat)
            return
        seat.drawing, batch = None, _Batch(seat.number, *drawn)
        if self._being_compiled(batch.key):
            self._held.append(batch)
        else:
            yield from self._launch(seat, batch, fresh, quarantine)

    def _launch(self, seat: WorkerSlot, batch: _Batch, fresh: bool, quarantine: Quarantine) -> Iterator[CompletedCall]:
        """Give a batch to a seat; tell at once what is excused."""
        todo = []
        for number, case in enumerate(batch.calls, batch.number):
            if outcome := quarantine((case,)):
                yield number, (case,), outcome
            else:
                todo.append((number, (case,)))
        seat.before, seat.todo, seat.key = (), tuple(todo), batch.key
        seat.compiling = bool(batch.key and todo) and batch.key not in self._compiled
        if fresh and todo:
            seat.worker.fresh_process()
            self._replace_if_dead(seat)
        self._submit(seat)

    def _awake(self, seats: list[WorkerSlot], until: float) -> list[WorkerSlot]:
        """Seats that have something to say, or should have had by now."""
        patience = max(0.0, min(until, *(seat.worker.deadline for seat in seats)) - time.monotonic())
        speaking = wait([seat.worker.connection for seat in seats], patience)
        return [seat for seat in seats if seat.worker.connection in speaking or seat.worker.overdue]

    def _greet(self, seat: WorkerSlot, fresh: bool) -> None:
        seat.worker.ready()
        seat.starting = False
        if fresh:
            seat.worker.fresh_process()  # before it runs anything, so that later a fork is enough

    def _submit(self, seat: WorkerSlot) -> None:
        """Have it drawn or run, unless that is under way."""
        if seat.busy and not seat.running and not seat.starting:
            seat.worker.submit(seat.drawing or tuple(case for _, (case,) in seat.todo))
            seat.running = True

    def _collect(self, seat: WorkerSlot, fresh: bool) -> CompletedCall:
        outcome, (number, call) = seat.worker.result(), seat.todo[0]
        calls = (*seat.before, *call)
        seat.todo = seat.todo[1:]
        seat.running = seat.worker.alive and bool(seat.todo)
        seat.before = calls if fresh and seat.worker.alive else ()
        if seat.compiling:
            seat.compiling = False
            self._compiled.add(seat.key)
        self._replace_if_dead(seat)
        return number, calls, dataclasses.replace(outcome, compiled_for=seat.key) if seat.key else outcome

    def _replace_if_dead(self, seat: WorkerSlot) -> None:
        if not seat.worker.alive:
            seat.worker, seat.starting = Worker(seat.worker.plan), True
