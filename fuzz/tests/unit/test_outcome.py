"""What a failure is called, and which call of several it belongs to."""

from __future__ import annotations

import json
import math

from fuzz_decode.outcome import PASSED, REJECTED, Outcome, Violation, failure, last_call_outcome

WRONG = Violation("numeric", "wrong-value", "out", "1 of 16 elements of out is wrong", (0, 0, 3), 1.0, math.nan, 1e-6, 1, 16)
STRAY = Violation("guards", "stray-write", "out", "a byte behind out has changed")


def test_the_first_violation_names_the_failure() -> None:
    assert str(failure("compare", STRAY, WRONG).signature) == "stray-write:out"
    assert str(Outcome(PASSED).signature) == ""


def test_a_violation_is_valid_json_although_it_holds_nan_and_infinity() -> None:
    plain = json.loads(json.dumps(WRONG.to_json(), allow_nan=False))

    assert (plain["symptom"], plain["tensor"], plain["where"]) == ("wrong-value", "out", [0, 0, 3])
    assert (plain["expected"], plain["got"]) == (1.0, "nan")


def test_of_calls_in_a_row_the_last_counts() -> None:
    passed, failed, rejected = Outcome(PASSED), failure("compare", WRONG), Outcome(REJECTED)

    assert last_call_outcome([passed, failed], 2) == failed
    assert last_call_outcome([failed, failure("compare", STRAY)], 2).signature == failure("compare", STRAY).signature
    assert last_call_outcome([failed, rejected], 2) == rejected
    assert last_call_outcome([passed, passed], 2) == passed


def test_where_only_an_earlier_call_failed_its_signature_says_so() -> None:
    """Or where its crash left the last one without an answer."""
    for outcomes in ([failure("compare", WRONG), Outcome(PASSED)], [failure("compare", WRONG)]):
        assert str(last_call_outcome(outcomes, 2).signature) == "wrong-value:out of an earlier call"
