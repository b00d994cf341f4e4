"""Reduce failing calls to some that are 1-minimal: no call and no feature can go, and no number can be smaller, without losing
the failure. A case is a tuple of one call.

Passes only propose. One gate decides: not seen, valid, strictly simpler by `calls.sort_key`, and the last call still failing
with the same signature. The driver repeats the passes until none of them makes progress (after Hypothesis and Shrink Ray).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fuzz_decode.cases.call_sequence import CallSequence, Runner, altered, differences, sort_key, unlike_parts, values
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import features_of, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.outcome import PASSED, Outcome
from fuzz_decode.shrink.passes import PASSES, Pass

CallsPass = Callable[[CallSequence], Iterator[CallSequence]]


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The simplest case found, its outcome, what happens without each of its features, how many runs that took, and the calls
    that must come before it. `complete` is False when time ran out before nothing simpler failed."""

    case: Case
    outcome: Outcome
    needed: dict[str, str]
    runs: int
    complete: bool
    before: CallSequence = ()

    @property
    def calls(self) -> CallSequence:
        return (*self.before, self.case)


def shrink_calls(calls: CallSequence, outcome: Outcome, run: Runner, seconds: float = 60.0) -> Shrunk:
    """Shrink `calls`, the last of which failed with `outcome`; `run` makes them in a process in which nothing ran before."""
    gate = Gate(calls, outcome, run, time.monotonic() + seconds)
    before = None
    while gate.best != before and not gate.out_of_time:
        before = gate.best
        for propose in (fewer_calls, more_alike, *map(in_step, PASSES)):
            gate.exhaust(propose)
    *earlier, case = gate.best
    needed = {feature: gate.without(feature) for feature in features_of(case)}
    return Shrunk(case, gate.outcome, needed, len(gate.seen), not gate.out_of_time, tuple(earlier))


@dataclass(slots=True)
class Gate:
    """The one place where a candidate is accepted. `best` only ever gets simpler; `seen` keeps every verdict."""

    best: CallSequence
    outcome: Outcome
    run: Runner
    deadline: float
    seen: dict[CallSequence, str] = field(default_factory=dict)

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline

    def exhaust(self, propose: CallsPass) -> None:
        """Run one pass until none of its proposals is accepted."""
        while any(self.consider(candidate) for candidate in propose(self.best)):
            pass

    def consider(self, candidate: CallSequence) -> bool:
        if self.out_of_time or candidate in self.seen or not _valid(candidate) or sort_key(candidate) >= sort_key(self.best):
            return False
        outcome = self.run(candidate)
        self.seen[candidate] = _verdict(outcome)
        if outcome.signature != self.outcome.signature:
            return False
        self.best, self.outcome = candidate, outcome
        return True

    def without(self, feature: str) -> str:
        """What happens to the best calls when one feature goes."""
        candidate = tuple(without_feature(case, feature) for case in self.best)
        if not _valid(candidate):
            return "no valid case"
        if candidate not in self.seen:
            if self.out_of_time:
                return "not tried"
            self.seen[candidate] = _verdict(self.run(candidate))
        return self.seen[candidate]


def fewer_calls(calls: CallSequence) -> Iterator[CallSequence]:
    """One call before the last, then half of them, then all but one."""
    before, last = calls[:-1], calls[-1:]
    half = len(before) // 2
    yield from ((case, *last) for case in reversed(before))
    yield before[half:] + last
    yield before[:half] + last
    for place in range(len(before)):
        yield before[:place] + before[place + 1 :] + last


def more_alike(calls: CallSequence) -> Iterator[CallSequence]:
    """An earlier call like the last but for one thing; one thing less that differs, set to either value; the calls backwards."""
    last = calls[-1]
    for place, case in enumerate(calls[:-1]):
        parts = unlike_parts(last, case)
        for part in parts:
            yield (*calls[:place], altered(last, values(case, part)), *calls[place + 1 :])
        for part in parts:
            yield (*calls[:-1], altered(last, values(case, part)))
            yield (*calls[:place], altered(case, values(last, part)), *calls[place + 1 :])
    yield calls[::-1]


def in_step(propose: Pass) -> CallsPass:
    """The pass on calls that must stay related: as it is, and with pool and table of one size for all calls."""

    def proposals(calls: CallSequence) -> Iterator[CallSequence]:
        if len(calls) == 1:
            yield from ((simpler,) for simpler in propose(calls[0]))
            return
        for candidate in _simplified(propose, calls):
            yield candidate
            yield in_one_room(candidate)

    return proposals


def _simplified(propose: Pass, calls: CallSequence) -> Iterator[CallSequence]:
    """One call simplified and the same change made in all, then in it alone, the last call first; then each in its own way."""
    for place in reversed(range(len(calls))):
        for simpler in propose(calls[place]):
            changes = {name: new for name, (_, new) in differences(calls[place], simpler).items()}
            yield tuple(altered(case, changes) for case in calls)
            yield (*calls[:place], simpler, *calls[place + 1 :])
    yield from zip(*map(propose, calls), strict=False)


def in_one_room(calls: CallSequence) -> CallSequence:
    """The calls with pools and tables just large enough for each of them, since shapes are what caches are keyed on."""
    bare = [altered(case, {"table.spare_blocks": 0, "table.extra_columns": 0}) for case in calls]
    blocks, columns = max(case.num_blocks for case in bare), max(case.table_width for case in bare)
    return tuple(
        altered(case, {"table.spare_blocks": blocks - case.num_blocks, "table.extra_columns": columns - case.table_width})
        for case in bare
    )


def _valid(calls: CallSequence) -> bool:
    return all(is_valid(case) for case in calls)


def _verdict(outcome: Outcome) -> str:
    if outcome.findings:
        return f"fails as {outcome.signature}"
    return "passes" if outcome.status == PASSED else f"is {outcome.status}: {outcome.reason}"
