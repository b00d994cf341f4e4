"""How often tokens count is told by the output: gaps between splits, overlaps, and repetitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sample_faults
from sample_targets import honest

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import validate
from fuzz_decode.diagnose import DiagnoseRequest
from fuzz_decode.diagnose.find_fault import examine
from fuzz_decode.targets.target import target_from_function

GAPS = "tokens 8 to 9 and tokens 18 to 19 do not count: as if the splits of a sequence left gaps"
AGAIN = "token 22 counts 3 times: the last token, as if each split counted it"


@pytest.mark.parametrize(
    ("function", "case", "fault", "words"),
    [
        (sample_faults.splits_with_gaps, Case(seq_lens=(23, 4), num_kv_heads=2, block_size=4), "tokens-dropped", GAPS),
        (sample_faults.counts_the_last_token_in_every_split, Case(seq_lens=(23, 4), block_size=4), "tokens-repeated", AGAIN),
        (
            sample_faults.counts_the_last_token_in_every_split,
            Case(seq_lens=(9,)),
            "tokens-twice",
            "token 8 of sequence 0 counts twice",
        ),
    ],
)
def test_tokens_that_count_otherwise_are_named(function: Callable[..., Any], case: Case, fault: str, words: str) -> None:
    target = target_from_function(function.__name__, function)
    found = examine(DiagnoseRequest(validate(case), seconds=60.0), target, "cpu")
    assert (found.fault, found.confident) == (fault, True)
    assert words in found.sentence


def test_a_wrong_factor_is_no_matter_of_counts() -> None:
    target = target_from_function("wrong", lambda *arguments: honest(*arguments)[0] * 1.3)
    assert examine(DiagnoseRequest(Case(seq_lens=(23, 9), num_kv_heads=2)), target, "cpu").fault == ""
