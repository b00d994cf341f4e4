"""Places for workers: a place keeps its work while one worker after another, each replacing one that died, does it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from fuzz_decode.workers.protocol import Request, WorkerConfig, WorkerInfo
from fuzz_decode.workers.worker import Worker

Work = TypeVar("Work")


@dataclass(slots=True)
class WorkerSlot(Generic[Work]):
    """A place for a worker, and the `work` that its owner keeps there."""

    worker: Worker
    work: Work
    starting: bool = True
    """the worker has not imported its target yet"""
    running: bool = False
    """an answer is due"""

    def submit(self, request: Request[Any]) -> None:
        self.worker.submit(request)
        self.running = True

    def greet(self, *, fresh: bool) -> WorkerInfo:
        """Take the started worker's information; `fresh` if its requests are to run in forks of it. Raises UsageError."""
        info = self.worker.ready()
        self.starting = False
        if fresh:
            self.worker.fresh_process()  # before it runs anything, so that a fork is enough from now on
        return info

    def fresh_process(self) -> None:
        """Let the next request be the first of its process."""
        self.worker.fresh_process()
        self.replace_if_dead()

    def replace_if_dead(self) -> None:
        if not self.worker.alive:
            self.replace(self.worker.plan)

    def replace(self, plan: WorkerConfig) -> None:
        """End the worker, and start another one in its place."""
        self.worker.close()
        self.worker, self.starting, self.running = Worker(plan), True, False


def wait_for_any(slots: Sequence[WorkerSlot[Work]], until: float = math.inf) -> list[WorkerSlot[Work]]:
    """Those slots whose worker has sent something, or should have done so by now; none if it is later than `until`."""
    latest = min([until, *(slot.worker.deadline for slot in slots)])
    sent = wait([slot.worker.connection for slot in slots], max(0.0, latest - time.monotonic()))
    return [slot for slot in slots if slot.worker.connection in sent or slot.worker.is_overdue()]
