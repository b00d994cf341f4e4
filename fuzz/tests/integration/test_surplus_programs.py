"""Programs beyond the batch are found by the lengths that lie there, and reading them without using them is no fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import surplus_programs

from fuzz_decode import check, fuzz
from fuzz_decode.cases.case import Case

FILE = Path(surplus_programs.__file__)
CASE = Case(seq_lens=(3, 5), block_size=4)


def test_a_length_that_could_be_real_shows_them() -> None:
    """-1 and 0 make a surplus program return at once, as if its sequence were empty."""
    for beyond in ("minus one", "zero"):
        assert check(f"{FILE}:unchecked", replace(CASE, beyond=beyond), device="cpu")
    found = check(f"{FILE}:unchecked", replace(CASE, beyond="valid"), device="cpu").finding
    assert found is not None
    assert found.signature == "stray-write:out"


@pytest.mark.parametrize("beyond", ["minus one", "zero", "valid"])
def test_reading_them_is_no_fault(beyond: str) -> None:
    assert check(f"{FILE}:checked", replace(CASE, beyond=beyond), device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_campaign_finds_them_soon(seed: int) -> None:
    (finding,) = fuzz(f"{FILE}:unchecked", iters=15, stop_after=1, seed=seed, device="cpu")
    assert finding.signature == "stray-write:out"
    assert finding.case.beyond == "valid"


@pytest.mark.slow
def test_a_campaign_is_quiet_without_them() -> None:
    assert fuzz(f"{FILE}:checked", iters=100, seed=0, device="cpu") == ()
