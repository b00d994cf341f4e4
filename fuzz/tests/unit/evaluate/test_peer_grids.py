"""Published grids: as many cases as their tests have, valid, and judged as their tests judge."""

from __future__ import annotations

import dataclasses

import pytest
from machine import DEVICE

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.cli import score as score_command
from fuzz_decode.evaluate.peer_grids import CPU, GPU, GRIDS, UNCUT, Cut, Grid, peers
from fuzz_decode.evaluate.peer_grids.grid import DRAWN_WINDOW, GridShape
from fuzz_decode.execute.compare_with_tolerance import compare_with_tolerance
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import Status
from fuzz_decode.targets import resolve

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
# splits, heads, appending, ALiBi, local, causal, four of rotary, paging, left padding, batch index, head dims, lengths
FLASH_ATTN = 2 * 3 * 2 * 2 * 2 * 2 * 2 * 2 * 3 * 2 * 2 * 1 * 6 * 11
# grid: the factors of what the test is parametrised with, and those by which it has more cases than a Case can say
PUBLISHED = {
    "aiter pa_decode": (2 * 2 * 2 * 3 * 2 * 5, 5 / 2),
    "aiter pa_decode, several partitions": (3 * 2 * 2, 1),
    "aiter unified": (2 * 3 * 2 * 3 * 2 * 2 * 2 * 5, 2 * 5),
    "aiter unified, float8 cache": (2 * 3 * 2 * 3 * 2 * 2 * 2 * 5, 2 * 5),
    "vllm decode": (2 * 2 * 1 * 2 * 3 * 2 * 1 * 2, 1),
    "vllm unified": (2 * 3 * 2 * 1 * 4 * 1 * 2 * 2 * 2 * 2, 2 * 2 * 2),
    "vllm unified, float8 cache": (2 * 3 * 2 * 1 * 2 * 2, 2 * 2),
    "flashinfer, K and V in one tensor": (3 * 2 * 3 * 5 * 3 * 1 * 2 * 2, 2),
    "flashinfer, K and V apart": (3 * 5 * 3 * 1 * 2 * 2 * 2 * 2, 2),
    "sglang decode": (4, 1),
    "sglang grouped": (4 * 6, 1),
    "flash-attn kvcache, one token": (FLASH_ATTN, FLASH_ATTN / (3 * 3 * 6 * 2)),
    "flash-attn kvcache, one token, ALiBi": (FLASH_ATTN, FLASH_ATTN / (3 * 3 * 6 * 2)),
    "flash-attn kvcache, several tokens": (FLASH_ATTN, FLASH_ATTN / (8 * 3 * 6 * 2)),
    "flash-attn kvcache, several tokens, ALiBi": (FLASH_ATTN, FLASH_ATTN / (8 * 3 * 6 * 2)),
}
TINY = Grid(
    peer="tiny",
    source="",
    published=2,
    left_out="",
    shapes=(GridShape((5, 9), 4, 2, 16, 16),),
    block_sizes=(1, 4),
    dtypes=("float32",),
    tolerance=Tolerance(rtol=1e-3, atol=1e-3),
)


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_has_as_many_cases_as_was_published_less_what_a_case_cannot_say(name: str) -> None:
    published, beyond = PUBLISHED[name]
    assert GRIDS[name].published == published
    assert len(GRIDS[name]) == published / beyond
    assert len(set(GRIDS[name].cases(0, CPU))) == len(GRIDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [UNCUT, GPU, CPU])
@pytest.mark.parametrize("name", GRIDS)
def test_every_case_is_valid_and_the_same_each_time(name: str, cut: Cut) -> None:
    cases = list(GRIDS[name].cases(3, cut))
    assert all(is_valid(case) for case in cases)
    assert cases == list(GRIDS[name].cases(3, cut))


def test_every_grid_says_where_it_is_from_to_the_commit() -> None:
    for grid in GRIDS.values():
        assert grid.source.startswith("https://github.com/")
        assert len(grid.source.split("/blob/")[1].split("/")[0]) == 40
    assert peers() == score_command.PEERS


def test_cutting_a_grid_case_keeps_its_features() -> None:
    grid = dataclasses.replace(TINY, shapes=(GridShape((1027,) * 8, 32, 8, 64, 64),), block_sizes=(16,), slots=16384)
    (case,) = grid.cases(0, Cut(length=96, batch=4, kv_heads=4, spare=16))
    assert (case.seq_lens, case.num_kv_heads, case.group) == ((99,) * 4, 4, 4)
    assert case.table.spare_blocks == 16
    (few,) = grid.cases(0, Cut(elements=2 * 1040 * 8 * 64))
    assert few.num_seqs == 2


def test_lengths_and_windows_that_the_test_draws_are_drawn() -> None:
    grid = dataclasses.replace(TINY, ragged=True, windows=(DRAWN_WINDOW,), columns=3)
    for case in grid.cases(0):
        assert all(1 <= length <= longest for length, longest in zip(case.seq_lens, (5, 9), strict=True))
        assert case.window is not None
        assert case.window <= max(case.seq_lens)
        assert case.table_width == 3 * (case.table_width - case.table.extra_columns)
        assert case.num_blocks >= case.num_seqs * case.table_width


def test_contiguous_caches_let_a_block_stride_fault_pass_and_interleaved_ones_do_not() -> None:
    target = resolve("mutant:k-block-stride-dense")
    for case in TINY.cases(0):
        assert compare_with_tolerance(case, target, DEVICE, TINY.tolerance).status == Status.PASSED
        assert compare_with_tolerance(case, resolve("bundled"), DEVICE, TINY.tolerance).status == Status.PASSED
        apart = dataclasses.replace(case, k=Layout(FAMILIES["interleaved"]), v=None)
        assert compare_with_tolerance(apart, target, DEVICE, TINY.tolerance).status == Status.FAILED


def test_tolerance_comparison_ignores_lse() -> None:
    case = Case(seq_lens=(3,), block_size=4)
    assert compare_with_tolerance(case, resolve("mutant:lse-base-2"), DEVICE, TINY.tolerance).status == Status.PASSED
    assert compare_with_tolerance(case, resolve("mutant:tail-v-unmasked"), DEVICE, TINY.tolerance).status == Status.PASSED


def test_plain_judging_takes_wrong_values_exceptions_and_other_results_for_failures() -> None:
    case = Case(seq_lens=(3, 4), num_kv_heads=2, group=2)
    outcome = compare_with_tolerance(case, resolve("mutant:gqa-modulo"), DEVICE, TINY.tolerance)
    assert (outcome.signature, outcome.findings[0].oracle) == ("wrong-value:out", "allclose")

    broken = dataclasses.replace(resolve("bundled"), fn=lambda *_, **__: 1 / 0)
    assert compare_with_tolerance(case, broken, DEVICE, TINY.tolerance).signature == "exception-ZeroDivisionError:call"
    shapeless = dataclasses.replace(resolve("bundled"), fn=lambda *_, **__: None, options=frozenset())
    assert compare_with_tolerance(case, shapeless, DEVICE, TINY.tolerance).signature == "wrong-shape:out"


def test_a_tolerance_in_multiples_of_low_precision_takes_its_own_measure() -> None:
    case = Case(seq_lens=(40,), head_dim=64, value_head_dim=64, block_size=16, dtype="float16")
    times = Tolerance(atol=1e-5, times=3.0)
    assert compare_with_tolerance(case, resolve("bundled"), DEVICE, times).status == Status.PASSED
    assert compare_with_tolerance(case, resolve("mutant:tail-off-by-one"), DEVICE, times).status == Status.FAILED
    assert compare_with_tolerance(case, resolve("bundled"), DEVICE, Tolerance(atol=1e-9)).status == Status.FAILED
