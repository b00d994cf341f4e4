"""A worker that is replaced whenever a case kills it: for one case after another, in shrinking, replay and diagnosis."""

from __future__ import annotations

from collections.abc import Callable

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import SECONDS, DiagnoseRequest, Diagnosis, Trace
from fuzz_decode.outcome import Outcome, Symptom, last_call_outcome
from fuzz_decode.workers.backend import diagnose_twice, trace_twice
from fuzz_decode.workers.protocol import RunCases, WorkerConfig
from fuzz_decode.workers.worker import Worker


class ResilientWorker:
    """A `CaseRunner` in a child process. Raises UsageError if the target cannot be imported."""

    def __init__(self, plan: WorkerConfig) -> None:
        self.plan = plan
        self._worker = Worker(plan)
        self.ready = self._worker.ready()

    def run(self, case: Case) -> Outcome:
        return self._alive().ask(RunCases((case,)))

    def run_fresh(self, calls: CallSequence) -> Outcome:
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

    def diagnose(self, case: Case, raw: Case | None = None, seconds: float = SECONDS) -> Diagnosis:
        return diagnose_twice(self._diagnose, case, raw, seconds)

    def trace(self, case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
        return trace_twice(lambda request: self._alive().ask(request), case, fault, where)

    def close(self) -> None:
        self._worker.close()

    def _diagnose(self, request: DiagnoseRequest) -> Diagnosis | Outcome:
        """In a fresh process: the diagnosis must not depend on the cases before it."""
        self._fresh_process()
        return self._worker.ask(request, request.seconds)

    def _fresh_process(self) -> None:
        self._worker.fresh_process()
        self._alive()

    def _alive(self) -> Worker:
        """The worker, replaced if its process has ended."""
        if not self._worker.alive:
            self._worker = Worker(self.plan)
            self._worker.ready()
        return self._worker

    def __enter__(self) -> ResilientWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
