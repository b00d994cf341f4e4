"""What a campaign needs of that which runs its cases: the interfaces of this package's pools and runners."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.diagnosis import (
    SECONDS,
    DiagnoseRequest,
    Diagnosis,
    ExplainRequest,
    Explanation,
    KnownBug,
    Trace,
    TraceRequest,
)
from fuzz_decode.errors import HarnessError
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome
from fuzz_decode.workers.engines import EngineChoice
from fuzz_decode.workers.protocol import WorkerConfig, WorkerInfo

AHEAD = 60_000  # cases that may be done, at most, while an earlier one is not: they wait to be judged, some 2 KB each

WorkItem = CallSequence | CompileRound
CompletedCall = tuple[int, CallSequence, Outcome]
Quarantine = Callable[[CallSequence], Outcome | None]
KnownBugs = Callable[[], tuple[KnownBug, ...]]


def nothing_quarantined(calls: CallSequence) -> Outcome | None:
    """The default: every call is made."""
    return None


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the calls of a campaign are made."""

    fresh: bool = False
    """each run gets a process of its own; otherwise processes go on from run to run"""
    start: int = 0
    """number of the first call"""
    quarantine: Quarantine = nothing_quarantined
    """a call that this has an outcome for is not made"""
    until: float = math.inf
    """time (of `time.monotonic`) at which everything is dropped that is not done"""
    known_bugs: KnownBugs = tuple
    """bugs that may cause a failure, as they are when its case is run; they are asked only where processes go on"""


class WorkerBackend(Protocol):
    """Makes the calls of a campaign. `start()` first; `close()` at the end, whatever happened."""

    @property
    def engine(self) -> EngineChoice:
        """What runs kernels on the CPU: another one than at the start, if that could not run one."""
        ...

    def start(self) -> WorkerInfo:
        """Import the target. Raises UsageError if that cannot be."""
        ...

    def outcomes(self, runs: Iterable[WorkItem], schedule: Schedule = Schedule()) -> Iterator[CompletedCall]:
        """(number, calls, outcome) of each call as it is done, numbered in the order of `runs`; the call is the last of `calls`.

        In fresh processes a call comes with those made in its process before it; otherwise it comes alone. If a process dies, the
        rest of its run is made in another one, so that every call is made. Raises UsageError if the target does not say what it
        is compiled for, HarnessError if our own code failed.
        """
        ...

    def close(self) -> None:
        """End all processes."""
        ...


class CaseRunner(Protocol):
    """Runs one case after another, for shrinking, replay and diagnosis."""

    @property
    def plan(self) -> WorkerConfig: ...

    @property
    def ready(self) -> WorkerInfo: ...

    def run(self, case: Case) -> Outcome:
        """The outcome of a case, after all cases that ran before."""
        ...

    def run_fresh(self, calls: CallSequence) -> Outcome:
        """The outcome of the last of the calls, made one after another in a process in which nothing ran before."""
        ...

    def run_calls(self, calls: CallSequence) -> Outcome:
        """The outcome of a single case like `run`, that of several calls like `run_fresh`; a timeout only if there are two."""
        ...

    def failing_as(self, signature: str) -> Callable[[CallSequence], bool]:
        """A function that says whether calls fail with the signature in a fresh process."""
        ...

    def diagnose(self, case: Case, raw: Case | None = None, seconds: float = SECONDS, known: tuple[str, ...] = ()) -> Diagnosis:
        """What the target does wrong on a failing case, besides known faults. Raises HarnessError if our own code failed."""
        ...

    def explain(self, request: ExplainRequest) -> int | None:
        """The number of the first bug that causes the failure; None if none does. Raises HarnessError."""
        ...

    def trace(self, case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
        """The addresses that are read for a row of out; None if they cannot be found out. Raises HarnessError."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


def explained(outcome: Outcome, bugs: tuple[KnownBug, ...], explanation: Explanation) -> Outcome:
    """The outcome, with the bug that causes it."""
    number, error = explanation.number, explanation.error
    return dataclasses.replace(outcome, explained_by=number, compared_with=bugs[-1].number, reason=error or outcome.reason)


def answered(explanation: Explanation) -> int | None:
    """The number of the bug. Raises HarnessError if our own code failed."""
    if explanation.error:
        raise HarnessError(explanation.error)
    return explanation.number


def diagnose_twice(
    ask: Callable[[DiagnoseRequest], Diagnosis | Outcome], case: Case, raw: Case | None, seconds: float, known: tuple[str, ...]
) -> Diagnosis:
    """The answer to a diagnosis request; if the kernel crashes on the probes, to one for nothing but the case itself."""
    answer = ask(DiagnoseRequest(case, raw, seconds, known=known))
    if isinstance(answer, Outcome):
        answer = ask(DiagnoseRequest(case, None, seconds, probes=False, known=known))
    if isinstance(answer, Outcome):
        return Diagnosis(sentence=f"the kernel {answer.findings[0].message} while it was diagnosed")
    return answer


def trace_twice(ask: Callable[[TraceRequest], Trace | None], case: Case, fault: str, where: tuple[int, int]) -> Trace | None:
    """The answer to a trace request; if the kernel crashes while it is watched, to one that does not run it."""
    return ask(TraceRequest(case, fault, where)) or ask(TraceRequest(case, fault, where, watch=False))
