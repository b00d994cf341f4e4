"""Finite garbage is where a case says and nowhere else, and it is loud: never 0, never like live values, never an overflow."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import DATA_MODES, DTYPES, FINITE_PLACES
from fuzz_decode.cases.finite_places import needed_places, places_in_order, poisoned_places, with_finite
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.validity import is_valid, validate
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.garbage import LARGE, PERIOD, fill_with_garbage, garbage
from fuzz_decode.problems.poison import FILL_LIMIT
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.values import make_values

some = settings(max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
small = decode_cases(huge_spans=False, max_seq_len=100, block_sizes=(1, 4, 16))
EVERYWHERE = tuple(FINITE_PLACES)
# two sequences in a pool with a foreign block on each side, padded K, a window, and a tail in each
ORDINARY = Case(
    seq_lens=(6, 9),
    num_kv_heads=2,
    block_size=4,
    window=3,
    k=Layout(("block", "slot", "head", "dim"), (32, 8, 8, 0)),
    table=BlockTable(first_block=1, spare_blocks=1),
)


def slots(case: Case) -> dict[tuple[int, int], set[str]]:
    """The places that each token slot of the pool belongs to; none if a sequence sees it."""
    found: dict[tuple[int, int], set[str]] = {}
    live = set()
    for row, length in zip(case.pages(), case.seq_lens, strict=True):
        first = 0 if case.window is None else max(0, length - case.q_len + 1 - case.window)
        for token in range(len(row) * case.block_size):
            at = case.blocks()[row[token // case.block_size]], token % case.block_size
            if first <= token < length:
                live.add(at)
            found.setdefault(at, set()).add("tail" if token >= length else "before_window")
    every = {
        (block, slot): found.get((block, slot), {"unreferenced"})
        for block in range(case.num_blocks)
        for slot in range(case.block_size)
    }
    return {at: set() if at in live else places for at, places in every.items()}


def around(problem: Problem, name: str) -> Tensor:
    """Every number of a buffer outside of the tensors in it."""
    storage = problem.buffers[name].storage
    outside = torch.ones(storage.shape, dtype=torch.bool)
    for view in (problem.q, problem.k_cache, problem.v_cache):
        if view.untyped_storage().data_ptr() == storage.untyped_storage().data_ptr():
            outside.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(False)
    return storage.float()[outside]


@given(small, st.sets(st.sampled_from(EVERYWHERE)))
@some
def test_it_is_where_the_case_says(case: Case, places: set[str]) -> None:
    problem, poisoned = (build_problem(with_finite(case, finite), "cpu") for finite in (places, ()))

    for cache, before in (
        (problem.k_cache.float(), poisoned.k_cache.float()),
        (problem.v_cache.float(), poisoned.v_cache.float()),
    ):
        for (block, slot), belongs in slots(case).items():
            row, was = cache[block, slot], before[block, slot]
            if not belongs:
                assert torch.equal(row, was)
            elif belongs & places:
                assert bool((row.isfinite() & (row != 0)).all()), belongs
            else:
                assert bool(row.isnan().all()), belongs
    for name in {"q", "k", "v"} & problem.buffers.keys():
        if problem.buffers[name].storage.nbytes <= FILL_LIMIT:
            assert bool((around(problem, name).isfinite() == ("padding" in places)).all())


@given(small)
@some
def test_nothing_overflows_what_the_case_s_dtype_holds(case: Case) -> None:
    """q.k and its parts, and K and V times their scales, in a kernel that rounds everything to the dtype of q."""
    problem, largest = build_problem(with_finite(case, EVERYWHERE), "cpu"), torch.finfo(getattr(torch, case.dtype)).max
    live = build_problem(case, "cpu").k_cache.float().isfinite()
    k, v = (torch.where(live[:, :, :, :1], 0.0, cache.double().abs()) for cache in (problem.k_cache, problem.v_cache))

    factor = max(1.0, case.k_scale or 1.0, case.softmax_scale * (case.k_scale or 1.0))
    assert float(problem.q.double().abs().sum(-1).max() * k.max() * factor) < largest
    assert float(v.max() * (case.v_scale or 1.0)) < largest


@pytest.mark.parametrize("data", DATA_MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_in_unused_slots_are_far_from_live_ones(dtype: str, data: str) -> None:
    case = validate(replace(ORDINARY, dtype=dtype, data=data, finite=EVERYWHERE))
    problem, live = build_problem(case, "cpu"), make_values(case).v.abs().max()

    unused = torch.stack([problem.v_cache[at] for at, places in slots(case).items() if places]).float()
    assert float(unused.abs().min()) >= LARGE / 2 > 2 * float(live)
    assert bool((unused > 0).any() and (unused < 0).any())


def test_neighbouring_numbers_differ() -> None:
    numbers = garbage(3 * PERIOD, 100.0)
    assert len(numbers[:PERIOD].unique()) == PERIOD
    assert torch.equal(numbers[:PERIOD], numbers[PERIOD : 2 * PERIOD])
    assert 0.45 < float((numbers > 0).float().mean()) < 0.55


@pytest.mark.parametrize("count", [0, 1, PERIOD - 1, PERIOD, 2 * PERIOD + 5])
def test_a_large_memory_is_filled_like_a_small_one(count: int) -> None:
    storage = torch.empty(count)
    fill_with_garbage(storage, 7.0)
    assert torch.equal(storage, garbage(count, 7.0))


def test_a_cache_too_large_to_fill_is_finite_around_its_rows() -> None:
    huge = replace(ORDINARY, k=Layout(FAMILIES["NHD"], (2**24, 0, 0, 0)), head_dim=32)
    for places in (("unreferenced",), ("padding",), ("tail",)):
        cache = build_problem(validate(replace(huge, finite=places)), "cpu").k_cache
        assert bool(cache[2, 2].isfinite().all()) == (places == ("tail",)), "slot after the first sequence's end"
        row = cache.as_strided((32,), (1,), cache[1, 3].storage_offset() + cache.stride(1))
        assert bool(row.isfinite().all()) == (places != ("tail",)), "after block 1, in its padding"


@pytest.mark.parametrize("finite", [("nowhere",), ("padding", "tail"), ("tail", "tail")])
def test_a_case_names_places_in_order(finite: tuple[str, ...]) -> None:
    assert not is_valid(replace(ORDINARY, finite=finite))


def test_places_that_a_case_does_not_have_hold_no_poison() -> None:
    assert poisoned_places(ORDINARY) == EVERYWHERE
    assert poisoned_places(Case()) == ("padding", "allocations")
    assert poisoned_places(replace(ORDINARY, window=8, q_len=2)) == ("tail", "unreferenced", "padding", "allocations")
    assert poisoned_places(with_finite(ORDINARY, ("padding", "tail"))) == ("before_window", "unreferenced", "allocations")


@given(st.sets(st.sampled_from(EVERYWHERE)))
def test_the_places_that_a_target_needs_are_found(needs: set[str]) -> None:
    ran = list[Case]()

    def passes(case: Case) -> bool:
        ran.append(case)
        return needs <= set(case.finite)

    assert needed_places(ORDINARY, passes) == places_in_order(needs)
    assert len(ran) <= len(EVERYWHERE) + 1


def test_a_target_that_fails_anyway_needs_no_place() -> None:
    assert needed_places(ORDINARY, lambda case: False) == ()
