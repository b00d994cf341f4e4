"""A worker that is replaced whenever a case kills it: for one case after another, in shrinking, replay and diagnosis."""

from __future__ import annotations

from collections.abc import Callable

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis, Trace, TraceRequest
from fuzz_decode.diagnose.diagnosis import SECONDS
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, last_call_outcome
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.worker import Worker


class ResilientWorker:
    """A worker for one case after another (shrinking, replay), replaced whenever a case kills it."""

    def __init__(self, plan: WorkerConfig) -> None:
        self.plan = plan
        self._worker = Worker(plan)
        self.ready = self._worker.ready()

    def run(self, case: Case) -> Outcome:
        """The outcome of a case, after all that ran here before."""
        self._revive()
        self._worker.submit(case)
        return self._worker.result()

    def run_fresh(self, calls: CallSequence) -> Outcome:
        """The outcome of the last of the calls, made one after another in a process in which nothing ran before."""
        self._worker.fresh_process()
        self._revive()
        self._worker.fresh_process()  # if it was replaced: from now on a fork is enough
        outcomes: list[Outcome] = []
        while len(outcomes) < len(calls) and self._worker.alive:
            outcomes.append(self.run(calls[len(outcomes)]))
        return last_call_outcome(outcomes, len(calls))

    def run_calls(self, calls: CallSequence) -> Outcome:
        """A case as it is, several calls in a process of their own."""
        return self.run_fresh(calls) if len(calls) > 1 else self.run(calls[0])

    def failing_as(self, signature: str) -> Callable[[CallSequence], bool]:
        """Whether calls fail with that signature in a fresh process, as a question to ask."""
        return lambda calls: self.run_fresh(calls).signature == signature

    def diagnose(self, case: Case, raw: Case | None = None, seconds: float = SECONDS) -> Diagnosis:
        """What the target does wrong on a failing case, in a fresh process. A target that dies of it is asked once more, on
        nothing but the case itself."""
        how = ""
        for probes in (True, False):
            try:
                answer = self._examined(DiagnoseRequest(case, raw if probes else None, seconds, probes))
            except HarnessError as error:  # a finding is worth more than what can be said about it
                return Diagnosis(
                    sentence=f"could not be examined: {str(error).strip().splitlines()[-1]}"[:300], evidence=(str(error),)
                )
            if isinstance(answer, Diagnosis):
                return answer
            how = answer.findings[0].message
        return Diagnosis(sentence=f"the kernel {how} while it was examined")

    def trace(self, case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
        """Which addresses are read for a row of out; None if that cannot be told. A target that dies of being watched is left
        alone."""
        found = None
        for watch in (True, False):
            if found is None:
                self._revive()
                self._worker.submit(TraceRequest(case, fault, where, watch))
                found = self._worker.trace()
        return found

    def close(self) -> None:
        self._worker.close()

    def _examined(self, asked: DiagnoseRequest) -> Diagnosis | Outcome:
        self._worker.fresh_process()
        self._revive()
        self._worker.submit(asked)
        return self._worker.diagnosis()

    def _revive(self) -> None:
        if not self._worker.alive:
            self._worker = Worker(self.plan)
            self._worker.ready()

    def __enter__(self) -> ResilientWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
