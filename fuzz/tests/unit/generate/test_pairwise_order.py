"""Steering: another order of the same cases, in which every pair of traits comes up early."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.serialization import canonical_json
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import case_stream, drawn_stream
from fuzz_decode.generate.pairwise_order import POOL, order_by_new_pairs, pairs, traits


def drawn(seed: int, count: int) -> list[Case]:
    """Cases in the order in which they are drawn."""
    return list(itertools.islice(drawn_stream(seed, CaseSpace()), count))


def seen(cases: list[Case]) -> int:
    return len({pair for case in cases for pair in pairs(case)})


def test_nothing_is_left_out_and_nothing_comes_twice() -> None:
    cases = drawn(0, 2 * POOL)
    assert sorted(canonical_json(case) for case in order_by_new_pairs(cases)) == sorted(canonical_json(case) for case in cases)


def test_the_order_is_the_same_every_time() -> None:
    cases = drawn(1, 100)
    assert list(order_by_new_pairs(cases)) == list(order_by_new_pairs(cases))


@pytest.mark.parametrize("seed", range(3))
def test_pairs_come_up_earlier(seed: int) -> None:
    cases = drawn(seed, 400)
    steered = list(order_by_new_pairs(cases))
    for count in (5, 20, 80):
        assert seen(steered[:count]) > 1.1 * seen(cases[:count])


def test_equals_come_in_the_order_in_which_they_were_drawn() -> None:
    alike = [Case(seed=seed) for seed in range(5)]
    assert list(order_by_new_pairs(alike)) == alike


def test_a_campaign_is_steered() -> None:
    cases = drawn(3, POOL + 10)
    assert list(itertools.islice(case_stream(3, CaseSpace()), 10)) == list(itertools.islice(order_by_new_pairs(cases), 10))


PLAIN = Case(seq_lens=(40, 70), num_kv_heads=2, group=2, block_size=16)
OTHERS = {
    "dtype": {"dtype": "float16"},
    "data": {"data": "large"},
    "block_size": {"block_size": 24},
    "kv heads": {"num_kv_heads": 3},
    "group": {"group": 3},
    "query rows": {"group": 16},
    "head_dim": {"head_dim": 40},
    "value_head_dim": {"value_head_dim": 32},
    "sequences": {"seq_lens": (70,)},
    "longest": {"seq_lens": (40, 700)},
    "empty": {"seq_lens": (0, 70)},
    "in blocks": {"seq_lens": (48, 70)},
    "growing": {"seq_lens": (70, 40)},
    "window": {"window": 9},
    "softcap": {"softcap": 1.0},
    "scale": {"scale": 1.0},
    "q_len": {"q_len": 2},
    "cache_dtype": {"cache_dtype": "float8_e5m2", "k_scale": 0.5, "v_scale": 0.5},
    "alibi": {"alibi": True},
    "sinks": {"sinks": True},
    "family": {"k": Layout(FAMILIES["interleaved"]), "v": None},
    "k padding": {"k": Layout(FAMILIES["NHD"], (8, 0, 0, 0))},
    "v padding": {"v": Layout(FAMILIES["NHD"], (0, 0, 0, 1))},
    "q": {"q": Layout(("head", "seq", "dim"))},
    "out": {"out": Layout(("seq", "head", "dim"), (1, 0, 0))},
    "table": {"table": BlockTable(extra_columns=1)},
    "unused": {"table": BlockTable(unused="huge")},
    "placement": {"table": BlockTable(first_block=3)},
    "span": {"table": BlockTable(first_block=70_000)},
}


@pytest.mark.parametrize("trait", OTHERS)
def test_each_trait_tells_cases_apart(trait: str) -> None:
    other = validate(dataclasses.replace(PLAIN, **OTHERS[trait]))  # type: ignore[arg-type]  # fields differ in type
    assert traits(other)[trait] != traits(PLAIN)[trait]


def test_every_trait_is_told() -> None:
    assert set(OTHERS) == set(traits(PLAIN))
