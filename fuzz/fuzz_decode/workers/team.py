"""Several workers for one case after another: outcomes of candidates in their order, of which the later ones are run ahead."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.outcome import Outcome
from fuzz_decode.workers.backend import CaseRunner

RunOn = Callable[[CaseRunner, CallSequence], Outcome]


class Member(CaseRunner, Protocol):
    """A runner that another thread can end."""

    def allow(self, seconds: float) -> None:
        """Give each case that long."""
        ...

    def end(self) -> None:
        """Kill the process: what is asked of it, and whatever is asked from now on, raises `resilient_worker.Ended`."""
        ...


class WorkerTeam:
    """`size` runners, each used by one thread at a time; all but the lead are started when they are first needed."""

    def __init__(self, start: Callable[[], Member], size: int) -> None:
        self._start, self.size, self.lead = start, size, start()
        self._started = [self.lead]
        self._free: queue.LifoQueue[Member | None] = queue.LifoQueue()  # None: one that is not started
        for member in (*[None] * (size - 1), self.lead):
            self._free.put(member)
        self._threads = ThreadPoolExecutor(size)
        self._dropped: list[Future[Outcome]] = []
        self._seconds = self.lead.plan.timeout
        self._ended = False

    def allow(self, seconds: float) -> None:
        """Give each case that long from now on."""
        self._seconds = seconds
        for member in self._started:
            member.allow(seconds)

    def in_order(self, candidates: Iterator[CallSequence], run_on: RunOn) -> Generator[tuple[CallSequence, Outcome], None, None]:
        """Each of the candidates with its outcome. What is begun when the caller has enough is dropped."""
        begun: deque[tuple[CallSequence, Future[Outcome]]] = deque()
        try:
            for calls in candidates:
                begun.append((calls, self._threads.submit(self._run, calls, run_on)))
                if len(begun) == self.size:
                    yield _taken(begun)
            while begun:
                yield _taken(begun)
        finally:
            running = [future for _, future in begun if not future.cancel()]
            self._dropped = [future for future in (*self._dropped, *running) if not future.done()]

    def free_lead(self) -> None:
        """Wait until nothing runs on the lead any more, which may be used directly until the next candidates."""
        wait(self._dropped)

    def end(self) -> None:
        """From another thread: end all workers."""
        self._ended = True
        for member in tuple(self._started):
            member.end()

    def close(self) -> None:
        """End all workers once their cases are done."""
        self._threads.shutdown(cancel_futures=True)
        for member in self._started:
            member.close()

    def _run(self, calls: CallSequence, run_on: RunOn) -> Outcome:
        member = self._free.get()
        try:
            if member is None:
                member = self._start_another()
            return run_on(member, calls)
        finally:
            self._free.put(member)

    def _start_another(self) -> Member:
        member = self._start()
        member.allow(self._seconds)
        self._started.append(member)
        if self._ended:  # while it was started
            member.end()
        return member


def _taken(begun: deque[tuple[CallSequence, Future[Outcome]]]) -> tuple[CallSequence, Outcome]:
    calls, future = begun.popleft()
    return calls, future.result()
