"""A pool on a Ray cluster: each task makes some runs in a child process of the machine that it is on.

Ray decides where and when, and gives a task that was lost to another machine. What a target does to its process stays an outcome,
since a task has a `ProcessPool` of one. The driver judges, stores and minimizes findings, so that it needs what the target needs.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.errors import HarnessError, UnsupportedKernel, UsageError
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.workers.backend import AHEAD, CompletedCall, Schedule, WorkItem
from fuzz_decode.workers.engines import EngineChoice
from fuzz_decode.workers.pool import ProcessPool
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo

LOCAL = "local"
CALLS = 16  # in a task, where they come one by one
PER_GPU = 16  # tasks that share a GPU
QUEUED = 2  # tasks for each that runs, so that no machine waits for the driver
RETRIES = 20  # of a task whose machine or process was lost
GRACE = 0.5  # seconds between looks at the clock


@dataclass(frozen=True, slots=True)
class Bundle:
    """The runs of a task."""

    number: int
    """of the first call"""
    runs: tuple[WorkItem, ...]


@dataclass(slots=True)
class RayPool:
    """A `WorkerBackend` on the Ray cluster at `address`, or on one of this machine if that is LOCAL; at most `jobs` tasks at once
    (None: as many as it has cores, or PER_GPU for each GPU)."""

    plan: WorkerConfig
    address: str
    jobs: int | None = None
    _ray: Any = None
    _slots: int = 1
    _waiting: dict[Any, Bundle] = field(default_factory=dict)

    def start(self) -> WorkerInfo:
        """Connect, and have one task import the target. Raises UsageError if there is no Ray, no cluster or no such target."""
        self._ray = _connected(self.address, self.jobs)
        places = self._ray.cluster_resources()
        there = places.get("CPU", 1) if self.plan.device == "cpu" else min(places.get("CPU", 1), PER_GPU * places.get("GPU", 0))
        if there < 1:
            raise UsageError(f"--ray {self.address}: the cluster has no GPU; --device cpu needs none")
        self._slots = min(int(there), self.jobs or int(there))
        answer = self._worker_info()
        if isinstance(answer, UnsupportedKernel):
            self.plan = self.plan.interpreted(answer)
            answer = self._worker_info()
        if isinstance(answer, UsageError):
            raise answer
        return answer

    @property
    def engine(self) -> EngineChoice:
        return self.plan.engine

    def outcomes(self, runs: Iterable[WorkItem], schedule: Schedule = Schedule()) -> Iterator[CompletedCall]:
        """Raises HarnessError if a task was lost RETRIES times, too."""
        coming, number = _bundles(runs), schedule.start
        while time.monotonic() < schedule.until:
            while len(self._waiting) < QUEUED * self._slots and number - self._oldest(number) <= AHEAD:
                bundle = next(coming, ())
                if not bundle:
                    break
                self._submit(Bundle(number, bundle), schedule)
                number += sum(map(len, bundle))
            if not self._waiting:
                return
            for done in self._ray.wait(list(self._waiting), timeout=min(GRACE, max(0.0, schedule.until - time.monotonic())))[0]:
                task = self._waiting.pop(done)
                try:
                    yield from self._results(done)
                except UnsupportedKernel as error:
                    self.plan = self.plan.interpreted(error)
                    self._submit(task, schedule)

    def close(self) -> None:
        if self._ray is not None:
            self._ray.shutdown()  # tasks under way end with it

    def _oldest(self, otherwise: int) -> int:
        return min((bundle.number for bundle in self._waiting.values()), default=otherwise)

    def _submit(self, bundle: Bundle, schedule: Schedule) -> None:
        # the clocks of other machines show other times, and the driver drops what comes too late
        known = functools.partial(tuple, schedule.known_bugs())
        there = dataclasses.replace(schedule, start=bundle.number, until=math.inf, known_bugs=known)
        self._waiting[self._task(make_calls).remote(self._there, bundle.runs, there)] = bundle

    def _worker_info(self) -> WorkerInfo | UsageError:
        answer: WorkerInfo | UsageError = self._ray.get(self._task(worker_info).remote(self._there))
        return answer

    @property
    def _there(self) -> WorkerConfig:
        """The plan of a task, which reports what its engine cannot run, so that all tasks change engines together."""
        return dataclasses.replace(self.plan, engine=dataclasses.replace(self.plan.engine, replaceable=False))

    def _results(self, done: Any) -> list[CompletedCall]:
        answer: list[CompletedCall] | UsageError | HarnessError
        try:
            answer = self._ray.get(done)
        except self._ray.exceptions.RayError as error:
            raise HarnessError(f"a Ray task was lost {RETRIES} times\n{error}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _task(self, work: Any) -> Any:
        gpus = 1 / PER_GPU if self.plan.device == "cuda" else 0
        return self._ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(work)


def _connected(address: str, jobs: int | None) -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs Ray, which is not installed; pip install 'ray>=2.9'") from None
    local = {"num_cpus": jobs, "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"--ray {address}: no Ray cluster answers there ({reason}); local starts one here") from error
    return ray


def _bundles(runs: Iterable[WorkItem]) -> Iterator[tuple[WorkItem, ...]]:
    """The runs of each task: one round, or some that have CALLS calls together."""
    coming = iter(runs)
    for run in coming:
        more = () if isinstance(run, CompileRound) else itertools.islice(coming, CALLS // len(run) - 1 if len(run) < CALLS else 0)
        yield (run, *more)


# on the cluster

# Module state, since Ray offers no other place: a process of Ray's runs one task after another, and starting a worker takes as
# long as some tens of cases. There is at most one pool, for the plan of the last task.
_pools: dict[WorkerConfig, tuple[ProcessPool, WorkerInfo]] = {}


def worker_info(plan: WorkerConfig) -> WorkerInfo | UsageError:
    """What a worker of the machine says of the plan's target."""
    try:
        return _started(plan)[1]
    except UsageError as error:
        return error


def make_calls(
    plan: WorkerConfig, runs: tuple[WorkItem, ...], schedule: Schedule
) -> list[CompletedCall] | UsageError | HarnessError:
    """The outcomes of some runs."""
    try:
        return list(_started(plan)[0].outcomes(runs, schedule))
    except (UsageError, HarnessError) as error:
        return error


def _started(plan: WorkerConfig) -> tuple[ProcessPool, WorkerInfo]:
    """The pool for a plan, on the GPU that Ray gave to this process."""
    here = plan.on(os.environ.get("CUDA_VISIBLE_DEVICES", "")) if plan.device == "cuda" else plan
    if here not in _pools:
        for pool, _ in _pools.values():
            pool.close()
        _pools.clear()
        pool = ProcessPool(here, 1)
        _pools[here] = pool, pool.start()
    return _pools[here]
