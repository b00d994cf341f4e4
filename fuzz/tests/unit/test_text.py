"""Untrusted text loses what could control a terminal, and nothing else."""

from __future__ import annotations

import pytest

from fuzz_decode.text import counted, did_you_mean, one_line, plain, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("block stride 16 ± 2, naïve", "block stride 16 ± 2, naïve"),
        ("two\nlines", "two\nlines"),
        ("\x1b[2Jclear", "?[2Jclear"),
        ("bell\x07 and\rreturn", "bell? and?return"),
        ("\u202eright to left", "?right to left"),
    ],
)
def test_control_characters_become_question_marks(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_has_no_breaks_and_at_most_so_many_characters() -> None:
    assert one_line(" a\nb \n") == "a b"
    assert one_line(KeyError("x")) == "'x'"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abc..."


def test_one_of_a_kind_is_no_plural() -> None:
    assert [counted(number, "case") for number in range(3)] == ["0 cases", "1 case", "2 cases"]


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [
        ("repaly", "; did you mean replay?"),
        ("mini", "; did you mean minimize?"),
        ("rep", "; did you mean replay or report?"),
        ("r", ""),
        ("frobnicate", ""),
        ("", ""),
    ],
)
def test_a_close_name_is_suggested(word: str, suggestion: str) -> None:
    assert did_you_mean(word, ["run", "replay", "report", "minimize"]) == suggestion


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "├ ±1 ✓ ▒ ä"), ("latin-1", "? ±1 v % ä"), ("ascii", "? ~1 v % ?"), (None, "? ~1 v % ?")],
)
def test_what_an_encoding_lacks_has_a_plain_form(encoding: str | None, shown: str) -> None:
    assert plain("├ ±1 ✓ ▒ ä", encoding) == shown
