"""A worker that is replaced whenever a case kills it: for one case after another, in shrinking, replay and diagnosis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import SECONDS, DiagnoseRequest, Diagnosis, ExplainRequest, Trace
from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.outcome import Outcome, Symptom, last_call_outcome
from fuzz_decode.workers.backend import answered, diagnose_twice, trace_twice
from fuzz_decode.workers.protocol import Request, RunCases, WorkerConfig
from fuzz_decode.workers.worker import Worker

Response = TypeVar("Response")
Tell = Callable[[str], object]
"""Gets the reason why the interpreter runs kernels, if the native engine would have been better."""
EXPLAIN_SECONDS = 20.0  # more than one case may take, since several are run


class Ended(Exception):
    """What was asked has no answer, since another thread has ended the worker."""


class ResilientWorker:
    """A `CaseRunner` in a child process. Raises UsageError if the target cannot be imported."""

    def __init__(self, plan: WorkerConfig, tell: Tell = str) -> None:
        self.plan, self._tell, self._ended = plan, tell, False
        if plan.engine.reason:
            tell(plan.engine.reason)
        self._worker = Worker(plan)
        try:
            self.ready = self._worker.ready()
        except UnsupportedKernel as error:
            self._interpret(error)

    def run(self, case: Case) -> Outcome:
        return self._ask(RunCases((case,)))

    def run_fresh(self, calls: CallSequence) -> Outcome:
        plan = self.plan
        outcome = self._run_fresh(calls)
        return outcome if self.plan is plan else self._run_fresh(calls)

    def _run_fresh(self, calls: CallSequence) -> Outcome:
        self._fresh_process()
        self._worker.fresh_process()  # if it was replaced: from now on a fork is enough
        outcomes: list[Outcome] = []
        while len(outcomes) < len(calls) and self._worker.alive:
            outcomes.append(self.run(calls[len(outcomes)]))
        return last_call_outcome(outcomes, len(calls))

    def run_calls(self, calls: CallSequence) -> Outcome:
        outcome = self.run_fresh(calls) if len(calls) > 1 else self.run(calls[0])
        return self.run_fresh(calls) if outcome.signature.symptom is Symptom.TIMEOUT else outcome

    def failing_as(self, signature: str) -> Callable[[CallSequence], bool]:
        return lambda calls: self.run_fresh(calls).signature == signature

    def diagnose(self, case: Case, raw: Case | None = None, seconds: float = SECONDS, known: tuple[str, ...] = ()) -> Diagnosis:
        return diagnose_twice(self._diagnose, case, raw, seconds, known)

    def explain(self, request: ExplainRequest) -> int | None:
        return answered(self._ask(request, EXPLAIN_SECONDS))

    def trace(self, case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
        return trace_twice(self._ask, case, fault, where)

    def allow(self, seconds: float) -> None:
        """Give each case that long from now on."""
        self.plan = self._worker.plan = dataclasses.replace(self.plan, timeout=seconds)

    def end(self) -> None:
        """From another thread: kill the process. Whatever is asked from now on raises Ended."""
        self._ended = True
        self._worker.kill()

    def close(self) -> None:
        self._worker.close()

    def _diagnose(self, request: DiagnoseRequest) -> Diagnosis | Outcome:
        """In a fresh process: the diagnosis must not depend on the cases before it."""
        self._fresh_process()
        return self._ask(request, request.seconds)

    def _ask(self, request: Request[Response], more_seconds: float = 0.0) -> Response:
        """The answer; if the engine cannot run a kernel, that of a worker with the interpreter, which goes on in its place."""
        try:
            answer = self._alive().ask(request, more_seconds)
        except UnsupportedKernel as error:
            self._interpret(error)
            answer = self._alive().ask(request, more_seconds)
        if self._ended:  # by which the process died
            raise Ended
        return answer

    def _interpret(self, error: UnsupportedKernel) -> None:
        """Go on with the interpreter. Raises UsageError if another engine was asked for."""
        self.plan = self.plan.interpreted(error)
        self._tell(self.plan.engine.reason)
        self._alive()

    def _fresh_process(self) -> None:
        self._worker.fresh_process()
        self._alive()

    def _alive(self) -> Worker:
        """The worker, replaced if its process has ended."""
        if self._ended:
            raise Ended
        if not self._worker.alive:
            self._worker = Worker(self.plan)
            self.ready = self._worker.ready()
        return self._worker

    def __enter__(self) -> ResilientWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
