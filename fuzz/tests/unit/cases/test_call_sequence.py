"""Several cases in a row as plain data: which are simpler, what differs, and whose outcome counts."""

from __future__ import annotations

from dataclasses import replace

from fuzz_decode.cases.call_sequence import altered, differences, sort_key, values
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure, last_call_outcome

SMALL, LARGE = Case(), Case(seq_lens=(9, 9), scale=0.3, table=BlockTable(first_block=2))
FINE = Outcome(Status.PASSED)
WRONG = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "all"))
CRASH = failure(Stage.RUN, Violation("worker", Symptom.CRASH, "call", "died", detail="SIGSEGV"))


def test_a_case_is_simpler_than_a_sequence_and_fewer_calls_than_more() -> None:
    assert sort_key((LARGE,)) < sort_key((SMALL, SMALL)) < sort_key((SMALL, SMALL, SMALL))


def test_calls_that_are_alike_are_simpler_than_small_ones_that_are_not() -> None:
    assert sort_key((LARGE, LARGE)) < sort_key((SMALL, LARGE))
    assert sort_key((SMALL, SMALL)) < sort_key((LARGE, LARGE))


def test_single_cases_are_ordered_as_ever() -> None:
    assert sort_key((SMALL,)) < sort_key((LARGE,))


def test_differences_name_fields_and_altering_them_makes_up_for_them() -> None:
    found = differences(SMALL, LARGE)

    assert found == {"seq_lens": ((1,), (9, 9)), "scale": (None, 0.3), "table.first_block": (0, 2)}
    assert altered(SMALL, values(LARGE, found)) == LARGE
    assert differences(LARGE, replace(LARGE)) == {}


def test_the_last_call_speaks_for_all() -> None:
    assert last_call_outcome([FINE, WRONG], 2) == WRONG
    assert last_call_outcome([CRASH, WRONG], 2) == WRONG
    assert last_call_outcome([FINE, FINE], 2) == FINE
    assert last_call_outcome([CRASH], 1) == CRASH


def test_the_failure_of_an_earlier_call_is_told_as_such() -> None:
    assert last_call_outcome([WRONG, FINE], 2).signature == "wrong-value:out of an earlier call"
    assert last_call_outcome([FINE, CRASH], 3).signature == "crash-SIGSEGV:call of an earlier call"
