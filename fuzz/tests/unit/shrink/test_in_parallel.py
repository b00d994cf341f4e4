"""Candidates that several workers run at once are judged in their order, as if one worker ran them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.shrink.shrinker import Shrunk, shrink_calls
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.team import WorkerTeam

WRONG = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "wrong"))
FINE = Outcome(Status.PASSED)
RICH = Case(
    seq_lens=(5, 9, 17),
    num_kv_heads=4,
    group=8,
    head_dim=64,
    value_head_dim=64,
    block_size=16,
    k=Layout(FAMILIES["interleaved HND"]),
    v=None,
    table=BlockTable(placement="permuted", spare_blocks=3, unused="huge"),
    softcap=3.0,
)


class Runner:
    """Runs a case in a time that differs from case to case, and is used by one thread at a time."""

    def __init__(self, fails: Callable[[Case], bool]) -> None:
        self.fails, self.alone, self.closed = fails, threading.Lock(), False
        self.plan = WorkerConfig("sample", "cpu", 60.0)

    def run(self, case: Case) -> Outcome:
        assert self.alone.acquire(blocking=False)
        time.sleep(hash(case) % 5 / 5000)
        self.alone.release()
        return WRONG if self.fails(case) else FINE

    def allow(self, seconds: float) -> None:
        self.seconds = seconds

    def close(self) -> None:
        self.closed = True


def needs_groups_and_interleaving(case: Case) -> bool:
    return case.group > 2 and case.v is None and max(case.seq_lens) > 3


def shrunk_by(size: int, fails: Callable[[Case], bool]) -> tuple[Shrunk, list[Runner]]:
    runners: list[Runner] = []

    def start() -> Any:
        runners.append(Runner(fails))
        return runners[-1]

    with contextlib.closing(WorkerTeam(start, size)) as team:
        result = shrink_calls(
            *((RICH,), WRONG, lambda calls: team.lead.run(calls[0]), 60.0),
            lambda each: team.in_order(each, lambda on, c: on.run(c[0])),
        )
        team.free_lead()
        assert team.lead.run(RICH) == WRONG
    return result, runners


def test_the_result_is_that_of_one_worker() -> None:
    alone = shrink_calls((RICH,), WRONG, lambda calls: Runner(needs_groups_and_interleaving).run(calls[0]))
    together, runners = shrunk_by(4, needs_groups_and_interleaving)

    assert together == alone
    assert 1 < len(runners) <= 4


def test_all_are_closed() -> None:
    _, runners = shrunk_by(3, needs_groups_and_interleaving)

    assert all(runner.closed for runner in runners)


def test_an_error_reaches_the_one_who_shrinks() -> None:
    def broken(case: Case) -> bool:
        raise HarnessError("boom")

    with pytest.raises(HarnessError, match="boom"):
        shrunk_by(2, broken)
