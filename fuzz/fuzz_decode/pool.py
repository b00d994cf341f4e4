"""Several workers at once: keeps them busy, takes what they bring as it comes, and replaces those that a case killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from fuzz_decode.calls import Calls
from fuzz_decode.outcome import Outcome
from fuzz_decode.plan import Plan, Ready
from fuzz_decode.worker import Worker


@dataclass(slots=True)
class _Seat:
    """One worker's place: `todo` are the calls it has yet to make, of which the first is number `number` of all and `running`
    or about to; `before` are those that its process has made. `starting` while the process has not imported the target yet."""

    worker: Worker
    starting: bool = True
    running: bool = False
    number: int = 0
    before: Calls = ()
    todo: Calls = ()


@dataclass(slots=True)
class Pool:
    """`jobs` workers for one plan. `start()` first; `close()` at the end, whatever happened."""

    plan: Plan
    jobs: int
    _seats: list[_Seat] = field(default_factory=list)

    def start(self) -> Ready:
        """Start all workers and wait for the first. Raises UsageError if the target cannot be imported."""
        self._seats = [_Seat(Worker(self.plan)) for _ in range(self.jobs)]
        ready = self._seats[0].worker.ready()
        self._seats[0].starting = False
        return ready

    def outcomes(self, runs: Iterator[Calls], *, fresh: bool = False) -> Iterator[tuple[int, Calls, Outcome]]:
        """(number, calls, outcome) of each call as it is done, numbered from 0 in the order of `runs`; the calls end with it.

        `fresh`: each run gets a process of its own, and a call is told with those made in its process before it. What is left
        of a run whose process died is made in another one, so that every call is made. Otherwise processes go on from run to
        run, and a call is told alone.
        """
        number, exhausted = 0, False
        while True:
            for seat in self._seats:
                if not exhausted and not seat.todo and not seat.starting:
                    seat.number, seat.before, seat.todo = number, (), next(runs, ())
                    number += len(seat.todo)
                    exhausted = not seat.todo
                    if fresh and seat.todo:
                        self._renew(seat)
                self._submit(seat)
            if not any(seat.todo for seat in self._seats) and exhausted:
                return
            for seat in self._awake([seat for seat in self._seats if seat.running or seat.starting]):
                if seat.starting:
                    self._greet(seat, fresh)
                else:
                    yield self._collect(seat, fresh)

    def close(self) -> None:
        for seat in self._seats:
            seat.worker.close()

    def _awake(self, seats: list[_Seat]) -> list[_Seat]:
        """Seats that have something to say, or should have had by now."""
        patience = max(0.0, min(seat.worker.deadline for seat in seats) - time.monotonic())
        speaking = wait([seat.worker.connection for seat in seats], patience)
        return [seat for seat in seats if seat.worker.connection in speaking or seat.worker.overdue]

    def _greet(self, seat: _Seat, fresh: bool) -> None:
        seat.worker.ready()
        seat.starting = False
        if fresh:
            seat.worker.renew()  # before it runs anything, so that later a fork is enough

    def _submit(self, seat: _Seat) -> None:
        if seat.todo and not seat.running and not seat.starting:
            seat.worker.submit(seat.todo[0])
            seat.running = True

    def _collect(self, seat: _Seat, fresh: bool) -> tuple[int, Calls, Outcome]:
        outcome, calls = seat.worker.result(), (*seat.before, seat.todo[0])
        told = seat.number, calls, outcome
        seat.running, seat.number, seat.todo = False, seat.number + 1, seat.todo[1:]
        seat.before = calls if fresh and seat.worker.alive else ()
        self._replace_if_dead(seat)
        return told

    def _renew(self, seat: _Seat) -> None:
        seat.worker.renew()
        self._replace_if_dead(seat)

    def _replace_if_dead(self, seat: _Seat) -> None:
        if not seat.worker.alive:
            seat.worker, seat.starting = Worker(self.plan), True
