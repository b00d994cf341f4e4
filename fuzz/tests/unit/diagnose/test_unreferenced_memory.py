"""The regions that the diagnosis poisons one at a time: memory that no sequence sees, and that holds NaN in the case itself."""

from __future__ import annotations

import pytest
import torch

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import FINITE_PLACES
from fuzz_decode.cases.finite_places import with_finite
from fuzz_decode.diagnose.checks.unreferenced_memory import regions
from fuzz_decode.problems.build import build_problem

# tokens 2 and 3 of the first sequence are before the window of its last query token only
CASE = Case(seq_lens=(6, 9), q_len=3, window=2, block_size=4, table=BlockTable(first_block=2, spare_blocks=1))


def test_no_region_holds_a_visible_token() -> None:
    for region in regions(CASE):
        problem = build_problem(CASE, "cpu", memory="random")
        region.poison(problem)
        blocks = torch.tensor(CASE.blocks())[problem.values.tokens.page]
        for cache in (problem.k_cache, problem.v_cache):
            assert bool(cache[blocks, problem.values.tokens.slot].isfinite().all()), region.name


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("tail", {"tail"}),
        ("before_window", {"window"}),
        ("unreferenced", {"block-0", "foreign"}),
        ("padding", {"gaps"}),
        ("allocations", set()),
    ],
)
def test_what_a_case_has_finite_is_no_region(place: str, names: set[str]) -> None:
    every = {region.name for region in regions(CASE)}
    assert every == {"tail", "window", "block-0", "foreign", "gaps", "table"}
    assert {region.name for region in regions(with_finite(CASE, (place,)))} == every - names


def test_a_case_that_has_everything_finite_has_its_table_left() -> None:
    assert [region.name for region in regions(with_finite(CASE, FINITE_PLACES))] == ["table"]
