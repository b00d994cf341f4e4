"""Reduce failing calls to 1-minimal ones: without any call or feature, or with a smaller number, they do not fail any more. A
case is a tuple of one call.

Passes only propose. One gate decides: not seen, valid, strictly simpler by `call_sequence.sort_key`, and the last call still
fails with the same signature. The driver repeats the passes until none makes progress (after Hypothesis and Shrink Ray).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from fuzz_decode.cases.call_sequence import CallSequence, Runner, altered, differences, sort_key, unlike_parts, values
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import features_of, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.shrink.needed import in_words, needed_sizes
from fuzz_decode.shrink.passes import PASSES, Pass

RAN = (Status.PASSED, Status.FAILED, Status.KNOWN)
CallsPass = Callable[[CallSequence], Iterator[CallSequence]]
# calls to run, and their outcomes in the same order; more of them may be run than are taken
RunInOrder = Callable[[Iterator[CallSequence]], Generator[tuple[CallSequence, Outcome], None, None]]


def one_by_one(run: Runner) -> RunInOrder:
    return lambda candidates: ((calls, run(calls)) for calls in candidates)


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The simplest failure found."""

    case: Case
    outcome: Outcome
    needed: dict[str, str]
    """Feature or size of the case -> the result without it, or with another size, where that was not this failure."""
    runs: int
    complete: bool
    """False if time ran out while simpler calls were still found."""
    before: CallSequence = ()
    """Calls that must come before the case."""

    @property
    def calls(self) -> CallSequence:
        return (*self.before, self.case)


def shrink_calls(
    calls: CallSequence, outcome: Outcome, run: Runner, seconds: float = 60.0, run_in_order: RunInOrder | None = None
) -> Shrunk:
    """Shrink `calls`, the last of which failed with `outcome`; `run` makes them in a fresh process. `run_in_order`, if given,
    makes several at once, which changes nothing of the result."""
    gate = Gate(calls, outcome, run_in_order or one_by_one(run), time.monotonic() + seconds)
    before = None
    while gate.best != before and not gate.out_of_time:
        before = gate.best
        for propose in (fewer_calls, fewer_differences, *map(on_calls, PASSES)):
            gate.exhaust(propose)
    *earlier, case = gate.best
    tried = gate.without_each(features_of(case))
    needed = {feature: in_words(outcome) for feature, outcome in tried.items() if outcome and gate.differs(outcome)}
    needed = {**needed_sizes(gate.best, gate.seen, gate.fails), **needed}
    return Shrunk(case, gate.outcome, needed, len(gate.seen), not gate.out_of_time, tuple(earlier))


@dataclass(slots=True)
class Gate:
    """The one place where a candidate is accepted."""

    best: CallSequence
    """The simplest failing calls so far."""
    outcome: Outcome
    """That of the best calls."""
    run_in_order: RunInOrder
    deadline: float
    """On the monotonic clock, in seconds."""
    seen: dict[CallSequence, Outcome] = field(default_factory=dict)
    """Every candidate that ran, and its outcome."""

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def exhaust(self, propose: CallsPass) -> None:
        """Run one pass until none of its proposals is accepted."""
        while self._accepts_one_of(propose(self.best)):
            pass

    def _accepts_one_of(self, proposals: Iterator[CallSequence]) -> bool:
        """The first that is simpler and fails alike becomes the best; whether there is one."""
        simpler = (calls for calls in proposals if sort_key(calls) < sort_key(self.best))
        with contextlib.closing(self._run(simpler)) as outcomes:
            for candidate, outcome in outcomes:
                if outcome.signature == self.outcome.signature:
                    self.best, self.outcome = candidate, outcome
                    return True
        return False

    def _run(self, candidates: Iterable[CallSequence]) -> Generator[tuple[CallSequence, Outcome], None, None]:
        """Those that are new and valid, while there is time, with their outcomes."""
        with contextlib.closing(self.run_in_order(self._to_run(candidates))) as outcomes:
            for calls, outcome in outcomes:
                self.seen[calls] = outcome
                yield calls, outcome

    def _run_all(self, candidates: Iterable[CallSequence]) -> None:
        for _ in self._run(candidates):
            pass

    def _to_run(self, candidates: Iterable[CallSequence]) -> Iterator[CallSequence]:
        begun = set()
        for calls in candidates:
            if self.out_of_time:
                return
            if calls not in begun and calls not in self.seen and _valid(calls):
                begun.add(calls)
                yield calls

    def without_each(self, features: Iterable[str]) -> dict[str, Outcome | None]:
        """The outcome of the best calls without one feature, for each; None if they were not tried."""
        plainer = {feature: tuple(without_feature(case, feature) for case in self.best) for feature in features}
        self._run_all(plainer.values())
        return {feature: self.seen.get(calls) for feature, calls in plainer.items()}

    def fails(self, candidate: CallSequence) -> bool | None:
        """Whether calls that need not be simpler fail like the best ones; None if they were not run, or tell nothing."""
        self._run_all([candidate])
        outcome = self.seen.get(candidate)
        if outcome is None or not (outcome.status is Status.PASSED or outcome.signature == self.outcome.signature):
            return None
        return outcome.status is not Status.PASSED

    def differs(self, outcome: Outcome) -> bool:
        """Whether a case ran, and did not fail like the best one."""
        return outcome.status in RAN and outcome.signature != self.outcome.signature


def fewer_calls(calls: CallSequence) -> Iterator[CallSequence]:
    """One call before the last, then half of them, then all but one."""
    before, last = calls[:-1], calls[-1:]
    half = len(before) // 2
    yield from ((case, *last) for case in reversed(before))
    yield before[half:] + last
    yield before[:half] + last
    for index in range(len(before)):
        yield before[:index] + before[index + 1 :] + last


def fewer_differences(calls: CallSequence) -> Iterator[CallSequence]:
    """An earlier call equal to the last but for one part; one difference less, with either value; the calls reversed."""
    last = calls[-1]
    for index, case in enumerate(calls[:-1]):
        parts = unlike_parts(last, case)
        for part in parts:
            yield (*calls[:index], altered(last, values(case, part)), *calls[index + 1 :])
        for part in parts:
            yield (*calls[:-1], altered(last, values(case, part)))
            yield (*calls[:index], altered(case, values(last, part)), *calls[index + 1 :])
    yield calls[::-1]


def on_calls(propose: Pass) -> CallsPass:
    """The pass on calls that must stay related: its proposals, each also with pools and tables of one shape for all calls."""

    def proposals(calls: CallSequence) -> Iterator[CallSequence]:
        if len(calls) == 1:
            yield from ((simpler,) for simpler in propose(calls[0]))
            return
        for candidate in _simplified(propose, calls):
            yield candidate
            yield with_equal_shapes(candidate)

    return proposals


def _simplified(propose: Pass, calls: CallSequence) -> Iterator[CallSequence]:
    """A proposal for one call made in all calls, then in it alone, the last call first; then each call's own n-th proposal."""
    for index in reversed(range(len(calls))):
        for simpler in propose(calls[index]):
            changes = {name: new for name, (_, new) in differences(calls[index], simpler).items()}
            yield tuple(altered(case, changes) for case in calls)
            yield (*calls[:index], simpler, *calls[index + 1 :])
    yield from zip(*map(propose, calls), strict=False)


def with_equal_shapes(calls: CallSequence) -> CallSequence:
    """The calls with pools and tables of one shape, just large enough for each of them, since caches are keyed on shapes."""
    bare = [altered(case, {"table.spare_blocks": 0, "table.extra_columns": 0}) for case in calls]
    blocks, columns = max(case.num_blocks for case in bare), max(case.table_width for case in bare)
    return tuple(
        altered(case, {"table.spare_blocks": blocks - case.num_blocks, "table.extra_columns": columns - case.table_width})
        for case in bare
    )


def _valid(calls: CallSequence) -> bool:
    return all(is_valid(case) for case in calls)
