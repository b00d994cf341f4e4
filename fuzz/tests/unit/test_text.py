"""Untrusted text loses what could control a terminal, and nothing else."""

from __future__ import annotations

import pytest

from fuzz_decode.text import one_line, printable


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
