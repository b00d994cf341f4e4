"""Statuses, symptoms and signatures: typed, and the same texts as in files."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from fuzz_decode.outcome import Outcome, Signature, Stage, Status, Symptom, Violation, failure, last_call_outcome

TEXTS = {
    "wrong-value:out": (Symptom.WRONG_VALUE, "", "out"),
    "input-modified:block_table": (Symptom.INPUT_MODIFIED, "", "block_table"),
    "crash-SIGSEGV:call": (Symptom.CRASH, "SIGSEGV", "call"),
    "crash-device:call": (Symptom.CRASH, "device", "call"),
    "crash-exit-3:call": (Symptom.CRASH, "exit-3", "call"),
    "exception-ValueError:call": (Symptom.EXCEPTION, "ValueError", "call"),
    "timeout:call of an earlier call": (Symptom.TIMEOUT, "", "call of an earlier call"),
}


@pytest.mark.parametrize(("text", "parts"), TEXTS.items())
def test_a_signature_is_its_text_and_knows_its_parts(text: str, parts: tuple[Symptom, str, str]) -> None:
    signature = Signature(text)
    assert signature == text == Signature.of(parts[0], parts[2], parts[1])
    assert (signature.symptom, signature.detail, signature.tensor) == parts
    assert json.dumps({signature: signature}) == json.dumps({text: text})
    for copied in (pickle.loads(pickle.dumps(signature)), copy.deepcopy(signature)):
        assert (type(copied), copied) == (Signature, text)


def test_only_a_signal_that_ended_the_process_is_one() -> None:
    assert [text for text in TEXTS if Signature(text).is_signal] == ["crash-SIGSEGV:call"]


@pytest.mark.parametrize("text", ["", "made-up:out", "wrong-values:out", "no colon"])
def test_a_text_that_no_oracle_gives_has_no_symptom(text: str) -> None:
    assert (Signature(text).symptom, Signature(text).detail) == (None, "")


@pytest.mark.parametrize("word", [*Status, *Stage, *Symptom])
def test_a_word_is_shown_stored_and_sent_as_its_text(word: Status | Stage | Symptom) -> None:
    assert f"{word}" == str(word) == f"{word:s}" == word.value == word
    assert json.loads(json.dumps(word)) == word.value
    assert pickle.loads(pickle.dumps(word)) is word


def test_a_violation_is_stored_with_the_text_of_its_signature() -> None:
    violation = Violation("worker", Symptom.CRASH, "call", "killed", expected=float("nan"), detail="SIGSEGV")
    assert violation.signature == "crash-SIGSEGV:call"
    data = violation.to_json()
    assert (data["symptom"], data["expected"], "detail" in data) == ("crash-SIGSEGV", "nan", False)
    assert type(data["symptom"]) is str


def test_the_first_violation_names_the_failure() -> None:
    one, other = (Violation("numeric", Symptom.WRONG_VALUE, tensor, "") for tensor in ("out", "lse"))
    assert failure(Stage.COMPARE, one, other).signature == "wrong-value:out"
    assert Outcome(Status.PASSED).signature == ""
    assert not Outcome(Status.PASSED).signature


def test_a_failure_of_an_earlier_call_has_a_signature_of_its_own() -> None:
    failed = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", ""))
    assert last_call_outcome([failed, Outcome(Status.PASSED)], 2).signature == "wrong-value:out of an earlier call"
    assert last_call_outcome([Outcome(Status.PASSED), failed], 2).signature == "wrong-value:out"
