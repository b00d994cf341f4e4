"""Does a failure come back in a fresh process, and with which of the calls before it? Shrinking it there."""

from __future__ import annotations

import time
from collections.abc import Callable

from fuzz_decode.cases.call_sequence import CallSequence, Runner
from fuzz_decode.outcome import Outcome, Signature, Symptom
from fuzz_decode.shrink.shrinker import Shrunk, shrink_calls
from fuzz_decode.workers.backend import CaseRunner

NOT_REPEATED = "did not fail again"
IN_MEMORY = (
    Symptom.WRONG_VALUE,
    Symptom.UNWRITTEN,
    Symptom.STRAY_WRITE,
    Symptom.INPUT_MODIFIED,
    Symptom.NONDETERMINISTIC,
    Symptom.OUT_OF_BOUNDS,
)


def as_it_is(run: Runner) -> Runner:
    return run


def shrink_in_fresh(
    calls: CallSequence, outcome: Outcome, worker: CaseRunner, seconds: float, wrap: Callable[[Runner], Runner] = as_it_is
) -> Shrunk | Outcome:
    """Shrink the calls, the last of which failed with `outcome`; if it does not fail like that again, its outcome then.

    A call that fails alone is shrunk in one process that goes from case to case, which is cheap. If the result does not fail in a
    fresh process, the cases before it mattered, and shrinking starts again with a fresh process for each candidate. `wrap` is
    applied to what runs candidates: a ledger, for instance, so that no known failure is taken for a simpler form of this one.
    """
    deadline = time.monotonic() + seconds
    fewest, again = fewest_that_fail(calls, outcome.signature, worker)
    if not fewest:
        return again
    if len(fewest) == 1:
        in_a_row = wrap(lambda calls: worker.run(calls[0]))
        shrunk = shrink_calls(fewest, again, in_a_row, deadline - time.monotonic())
        if shrunk.calls == fewest or worker.failing_as(outcome.signature)(shrunk.calls):
            return shrunk
    return shrink_calls(fewest, again, wrap(worker.run_fresh), deadline - time.monotonic())


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
