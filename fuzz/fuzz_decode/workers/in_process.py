"""A function that no other process can find (a closure, a lambda, a partial) runs in this one, which has to bear what it does:
nothing ends a hang, and a crash ends everything."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis
from fuzz_decode.errors import HarnessError, TargetError, UsageError
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome, last_call_outcome
from fuzz_decode.workers.child import describe_target, handle_case, handle_diagnosis, handle_round
from fuzz_decode.workers.devices import is_dead, refused_dtypes
from fuzz_decode.workers.pool import CompletedCall, Quarantine, WorkItem
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo
from fuzz_decode.workers.resilient_worker import ResilientWorker

NOT_INTERPRETED = "a Triton kernel runs on the CPU only if TRITON_INTERPRET=1 was set before its module was imported"


class InProcessBackend(ResilientWorker):
    """A PatientWorker, and a Pool of one, without a process of its own. Raises UsageError if the function cannot be a target."""

    def __init__(self, plan: WorkerConfig, fn: Callable[..., Any]) -> None:
        from fuzz_decode.targets.target import target_from_function

        self.plan = plan
        self._compiled = plan.device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"
        with _as_in_a_new_process():
            refused = {} if self._compiled else refused_dtypes(plan.device)
            self._target, self.ready = describe_target(target_from_function(plan.target, fn), plan, refused)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Goes around all that is run. A kernel that was decorated for a GPU is not to blame for having none."""
        with _as_in_a_new_process(), _refused_launches() if self._compiled else contextlib.nullcontext():
            yield

    def run(self, case: Case) -> Outcome:
        outcome: Outcome = self._guarded(handle_case, case)
        return outcome

    def run_fresh(self, calls: CallSequence) -> Outcome:
        return last_call_outcome([self.run(case) for case in calls], len(calls))

    def close(self) -> None:
        """There is nothing to close."""

    def start(self) -> WorkerInfo:
        return self.ready

    def outcomes(
        self,
        runs: Iterable[WorkItem],
        *,
        fresh: bool = False,
        start: int = 0,
        quarantine: Quarantine = lambda calls: None,
        until: float = math.inf,
    ) -> Iterator[CompletedCall]:
        """(number, calls, outcome) of each call, like `Pool.outcomes`, one after another. None of them is `fresh`."""
        number = itertools.count(start)
        for run in runs:
            cases, key = self._drawn(run) if isinstance(run, CompileRound) else (run, "")
            for case in cases:
                if time.monotonic() > until:
                    return
                outcome = quarantine((case,)) or dataclasses.replace(self.run(case), compiled_for=key)
                yield next(number), (case,), outcome

    def _drawn(self, asked: CompileRound) -> tuple[CallSequence, str]:
        answer = handle_round(asked, self._target)
        if isinstance(answer, UsageError):
            raise answer
        return answer

    def _examined(self, asked: DiagnoseRequest) -> Diagnosis | Outcome:
        found: Diagnosis | Outcome = self._guarded(handle_diagnosis, asked)
        return found

    def _guarded(self, ask: Callable[[Any, Any, str], Any], asked: Any) -> Any:
        """What `serve` answers."""
        if is_dead(self.plan.device):
            more = "a function at the top level of a module runs in processes of its own"
            raise TargetError(f"target {self.plan.target} left this process's CUDA context unusable; {more}")
        answer = ask(asked, self._target, self.plan.device)
        if isinstance(answer, HarnessError):
            raise answer
        return answer


@contextlib.contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Torch with its defaults, but one thread, since problems are tiny; and warnings are no exceptions."""
    import torch

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with warnings.catch_warnings(), torch.device("cpu"):
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)


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
