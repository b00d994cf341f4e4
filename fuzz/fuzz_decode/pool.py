"""Several workers at once: keeps them busy, takes what they bring as it comes, and replaces those that a case killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from fuzz_decode.case import Case
from fuzz_decode.outcome import Outcome
from fuzz_decode.worker import Plan, Ready, Worker


@dataclass(slots=True)
class _Seat:
    """One worker's place: `job` is the case it runs, `starting` while its process has not imported the target yet."""

    worker: Worker
    job: tuple[int, Case] | None = None
    starting: bool = True


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

    def outcomes(self, cases: Iterator[Case]) -> Iterator[tuple[int, Case, Outcome]]:
        """(number, case, outcome) of each case as it is done, numbered from 0 in the order of `cases`."""
        numbered = enumerate(cases)
        exhausted = False
        while True:
            for seat in self._seats:
                if not exhausted and seat.job is None and not seat.starting:
                    seat.job = next(numbered, None)
                    exhausted = seat.job is None
                    if seat.job is not None:
                        seat.worker.submit(seat.job[1])
            busy = [seat for seat in self._seats if seat.job is not None]
            if exhausted and not busy:
                return
            for seat in self._awake(busy + [seat for seat in self._seats if seat.starting]):
                if seat.starting:
                    seat.worker.ready()
                    seat.starting = False
                elif seat.job is not None:
                    number, case = seat.job
                    yield number, case, self._collect(seat)

    def close(self) -> None:
        for seat in self._seats:
            seat.worker.close()

    def _awake(self, seats: list[_Seat]) -> list[_Seat]:
        """Seats that have something to say, or should have had by now."""
        patience = max(0.0, min(seat.worker.deadline for seat in seats) - time.monotonic())
        speaking = wait([seat.worker.connection for seat in seats], patience)
        return [seat for seat in seats if seat.worker.connection in speaking or seat.worker.overdue]

    def _collect(self, seat: _Seat) -> Outcome:
        outcome = seat.worker.result()
        seat.job = None
        if not seat.worker.alive:
            seat.worker, seat.starting = Worker(self.plan), True
        return outcome
