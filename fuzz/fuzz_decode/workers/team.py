"""Several case runners at once: outcomes of candidates in their order, of which the later ones are run ahead."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.outcome import Outcome
from fuzz_decode.workers.backend import CaseRunner

RunOn = Callable[[CaseRunner, CallSequence], Outcome]


class WorkerTeam:
    """`size` runners, each used by one thread at a time; `lead` is the first, the others are started when they are needed."""

    def __init__(self, lead: CaseRunner, start: Callable[[], CaseRunner], size: int) -> None:
        self._start, self._size = start, size
        self._free: queue.LifoQueue[CaseRunner | None] = queue.LifoQueue()  # None: one that is not started
        for member in (*[None] * (size - 1), lead):
            self._free.put(member)
        self._others: list[CaseRunner] = []
        self._threads = ThreadPoolExecutor(size)

    def in_order(self, candidates: Iterator[CallSequence], run_on: RunOn) -> Generator[tuple[CallSequence, Outcome], None, None]:
        """Each of the candidates with its outcome. What is begun when the caller has enough is dropped."""
        begun: deque[tuple[CallSequence, Future[Outcome]]] = deque()
        try:
            for calls in candidates:
                begun.append((calls, self._threads.submit(self._run, calls, run_on)))
                if len(begun) == self._size:
                    yield _taken(begun)
            while begun:
                yield _taken(begun)
        finally:
            for _, future in begun:
                future.cancel()

    def close(self) -> None:
        """End all but the lead; what they run is lost."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for runner in self._others:
            runner.close()
        self._threads.shutdown()

    def _run(self, calls: CallSequence, run_on: RunOn) -> Outcome:
        runner = self._free.get()
        if runner is None:
            runner = self._start()
            self._others.append(runner)
        try:
            return run_on(runner, calls)
        finally:
            self._free.put(runner)

    def __enter__(self) -> WorkerTeam:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _taken(begun: deque[tuple[CallSequence, Future[Outcome]]]) -> tuple[CallSequence, Outcome]:
    calls, future = begun.popleft()
    return calls, future.result()
