"""Does a failure come back in a fresh process, and with which of the calls before it? Shrinking it there."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from fuzz_decode.cases.call_sequence import CallSequence, Runner
from fuzz_decode.corpus.ledger import Ledger
from fuzz_decode.outcome import Outcome, Signature, Symptom
from fuzz_decode.shrink.shrinker import RunInOrder, Shrunk, shrink_calls
from fuzz_decode.workers.backend import CaseRunner
from fuzz_decode.workers.team import WorkerTeam

IN_MEMORY = (
    Symptom.WRONG_VALUE,
    Symptom.UNWRITTEN,
    Symptom.STRAY_WRITE,
    Symptom.INPUT_MODIFIED,
    Symptom.NONDETERMINISTIC,
    Symptom.OUT_OF_BOUNDS,
)


Wrap = Callable[[Runner, CaseRunner], Runner]


def as_it_is(run: Runner, worker: CaseRunner) -> Runner:
    return run


def under(ledger: Ledger) -> Wrap:
    return lambda run, worker: ledger.apply_ledger(run)


def shrink_in_fresh(
    calls: CallSequence,
    outcome: Outcome,
    worker: CaseRunner,
    seconds: float,
    wrap: Wrap = as_it_is,
    team: WorkerTeam | None = None,
) -> Shrunk | Outcome:
    """Shrink the calls, the last of which failed with `outcome`; if it does not fail like that again, its outcome then.

    A call that fails alone is shrunk in one process that goes from case to case, which is cheap. If the result does not fail in a
    fresh process, the cases before it mattered, and shrinking starts again with a fresh process for each candidate. `wrap` is
    applied to what a worker runs candidates by: a ledger, for instance, so that no known failure is taken for a simpler form of
    this one. The `team` of the worker, if there is one, runs several candidates at once.
    """
    deadline = time.monotonic() + seconds
    fewest, again = fewest_that_fail(calls, outcome.signature, worker)
    if not fewest:
        return again
    if len(fewest) == 1:
        shrunk = _shrink(fewest, again, worker, deadline, lambda each: wrap(lambda calls: each.run(calls[0]), each), team)
        if shrunk.calls == fewest or worker.failing_as(outcome.signature)(shrunk.calls):
            return shrunk
    return _shrink(fewest, again, worker, deadline, lambda each: wrap(each.run_fresh, each), team)


def _shrink(
    calls: CallSequence,
    outcome: Outcome,
    worker: CaseRunner,
    deadline: float,
    run_on: Callable[[CaseRunner], Runner],
    team: WorkerTeam | None,
) -> Shrunk:
    """`run_on(worker)` runs candidates on it."""
    in_order: RunInOrder | None = None
    if team:
        in_order = functools.partial(team.in_order, run_on=lambda each, calls: run_on(each)(calls))
    try:
        return shrink_calls(calls, outcome, run_on(worker), deadline - time.monotonic(), in_order)
    finally:
        if team:
            team.free_lead()


def is_one_bug(seen: Signature, again: Signature) -> bool:
    """Whether two failures of one case are a crash and wrong memory: an access out of bounds meets other memory each time."""
    pairs = ((seen, again), (again, seen))
    return any((one.is_signal or one.is_dead_device) and other.symptom in IN_MEMORY for one, other in pairs)


def fewest_that_fail(calls: CallSequence, signature: str, worker: CaseRunner) -> tuple[CallSequence, Outcome]:
    """The last call alone, else all of them, else none: whichever fails again with the signature in a fresh process."""
    outcome = worker.run_fresh(calls[-1:])
    if outcome.signature == signature:
        return calls[-1:], outcome
    if len(calls) > 1:
        together = worker.run_fresh(calls)
        outcome = together if together.findings else outcome
    return (calls if outcome.signature == signature else ()), outcome


def first_failure(calls: CallSequence, signature: str, worker: CaseRunner) -> tuple[CallSequence, Outcome]:
    """The calls up to the first one that fails with the signature in a fresh process, and its outcome; all if none does."""
    for count in range(1, len(calls)):
        outcome = worker.run_fresh(calls[:count])
        if outcome.signature == signature:
            return calls[:count], outcome
    return calls, worker.run_fresh(calls)
