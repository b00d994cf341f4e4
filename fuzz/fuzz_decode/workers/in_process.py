"""Functions that no other process can find (a closure, a lambda, a partial) run in this process, which has to bear what they do:
nothing ends a hang, and a crash ends everything."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import SECONDS, Diagnosis, ExplainRequest, Trace, can_be_explained
from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome, last_call_outcome
from fuzz_decode.targets.target import Target
from fuzz_decode.workers.backend import CompletedCall, Schedule, WorkItem, answered, diagnose_twice, explained, trace_twice
from fuzz_decode.workers.child import (
    describe_target,
    handle_case,
    handle_diagnosis,
    handle_explanation,
    handle_round,
    handle_trace,
)
from fuzz_decode.workers.devices import is_dead, refused_dtypes
from fuzz_decode.workers.engines import INTERPRETER, NATIVE, EngineChoice
from fuzz_decode.workers.protocol import DrawnRound, DrawRound, WorkerConfig, WorkerInfo

NOT_INTERPRETED = "a Triton kernel runs on the CPU only if TRITON_INTERPRET=1 was set before its module was imported"

Asked = TypeVar("Asked")
Response = TypeVar("Response")


class InProcessBackend:
    """A `CaseRunner` and a `WorkerBackend` without a process of its own: "fresh" means nothing here.

    Raises UsageError if the function cannot be a target.
    """

    def __init__(self, plan: WorkerConfig, fn: Callable[..., Any]) -> None:
        from fuzz_decode.execute.contain import load_contained, torch_defaults
        from fuzz_decode.targets.target import target_from_function

        self.plan = dataclasses.replace(plan, engine=_loaded_engine(plan))
        self._compiled = plan.device == "cpu" and self.engine.engine == INTERPRETER and os.environ.get("TRITON_INTERPRET") != "1"
        with torch_defaults():
            refused = {} if self._compiled else refused_dtypes(plan.device, self.engine.engine)
            target = load_contained(lambda: target_from_function(plan.target, fn))
            self._target, self.ready = describe_target(target, self.plan, refused)

    @property
    def engine(self) -> EngineChoice:
        return self.plan.engine

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Use as a context manager around all runs. A kernel that was compiled for a GPU is rejected if there is none."""
        from fuzz_decode.execute.contain import torch_defaults

        with torch_defaults(), _refused_launches() if self._compiled else contextlib.nullcontext():
            yield

    def run(self, case: Case) -> Outcome:
        return self._answer(handle_case, case)

    def run_fresh(self, calls: CallSequence) -> Outcome:
        return last_call_outcome([self.run(case) for case in calls], len(calls))

    def run_calls(self, calls: CallSequence) -> Outcome:
        return self.run_fresh(calls)

    def failing_as(self, signature: str) -> Callable[[CallSequence], bool]:
        return lambda calls: self.run_fresh(calls).signature == signature

    def diagnose(self, case: Case, raw: Case | None = None, seconds: float = SECONDS, known: tuple[str, ...] = ()) -> Diagnosis:
        return diagnose_twice(lambda request: self._answer(handle_diagnosis, request), case, raw, seconds, known)

    def explain(self, request: ExplainRequest) -> int | None:
        return answered(self._answer(handle_explanation, request))

    def trace(self, case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
        return trace_twice(lambda request: self._answer(handle_trace, request), case, fault, where)

    def start(self) -> WorkerInfo:
        return self.ready

    def outcomes(self, runs: Iterable[WorkItem], schedule: Schedule = Schedule()) -> Iterator[CompletedCall]:
        number = itertools.count(schedule.start)
        for run in runs:
            drawn = handle_round(DrawRound(run), self._target) if isinstance(run, CompileRound) else DrawnRound(run, key="")
            for case in drawn.cases:
                if time.monotonic() > schedule.until:
                    return
                outcome = schedule.quarantine((case,)) or dataclasses.replace(self.run(case), compiled_for=drawn.key)
                bugs = schedule.known_bugs()
                if bugs and can_be_explained(outcome):
                    request = ExplainRequest.of(case, outcome, bugs)
                    outcome = explained(outcome, bugs, self._answer(handle_explanation, request))
                yield next(number), (case,), outcome

    def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, handle: Callable[[Asked, Target, str], Response], request: Asked) -> Response:
        """Raises TargetError if an earlier case broke the CUDA context."""
        if is_dead(self.plan.device):
            more = "a function at the top level of a module runs in processes of its own"
            raise TargetError(f"target {self.plan.target} left this process's CUDA context unusable; {more}")
        return handle(request, self._target, self.plan.device)

    def __enter__(self) -> InProcessBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _loaded_engine(plan: WorkerConfig) -> EngineChoice:
    """The engine of this process. Raises UsageError if the plan wants another one."""
    from fuzz_decode.triton_native.installed import is_native

    if is_native():
        return EngineChoice(NATIVE)
    if plan.engine.engine == NATIVE and not plan.engine.replaceable:
        raise UsageError(f"engine native runs in workers, which cannot import {plan.target}; make it a function of a module")
    return EngineChoice()


@contextlib.contextmanager
def _refused_launches() -> Iterator[None]:
    """A case that launches a kernel is rejected."""
    from triton.runtime.jit import KernelInterface

    def refuse(*_: Any) -> NoReturn:
        raise NotImplementedError(NOT_INTERPRETED)

    launch, KernelInterface.__getitem__ = KernelInterface.__getitem__, refuse
    try:
        yield
    finally:
        KernelInterface.__getitem__ = launch
