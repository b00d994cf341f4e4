"""The public strategies draw valid cases only, keep to what they are asked for, and reach everything that engines do."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis.errors import HypothesisException

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import (
    BLOCK_SIZES,
    DATA_MODES,
    DTYPES,
    GROUPS,
    HEAD_DIMS,
    MAX_LIVE,
    NUM_KV_HEADS,
    PLACEMENTS,
    UNUSED_ENTRIES,
    VALUE_HEAD_DIMS,
)
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, dense, family
from fuzz_decode.cases.simplicity import features_of
from fuzz_decode.cases.validity import tags_fit, validate
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.draw_case import decode_cases

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
some = settings(max_examples=50, deadline=None, database=None, suppress_health_check=quiet)


def drawn(number: int, hypothesis_seed: int = 0, **kwargs: Any) -> list[Case]:
    """`number` cases that Hypothesis generates from one seed."""
    found: list[Case] = []

    @seed(hypothesis_seed)
    @settings(max_examples=number, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=quiet)
    @given(decode_cases(**kwargs))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def simplest(condition: Callable[[Case], bool], **kwargs: Any) -> Case:
    return find(
        decode_cases(**kwargs),
        condition,
        settings=settings(max_examples=400, deadline=None, database=None, suppress_health_check=quiet),
        random=random.Random(0),
    )


@pytest.fixture(scope="module")
def many() -> list[Case]:
    """Fewer cases than a campaign draws in a minute."""
    return list(islice(case_stream(0, CaseSpace()), 1000))


@given(decode_cases())
@some
def test_every_case_is_valid(case: Case) -> None:
    assert validate(case) is case


@given(decode_cases(block_sizes=(1056, 544), num_kv_heads=(8, 4), head_dims=(576, 256), groups=(16, 7)))
@some
def test_large_sizes_are_valid_too(case: Case) -> None:
    assert validate(case) is case


def test_the_same_seed_draws_the_same_cases() -> None:
    assert drawn(40, 7) == drawn(40, 7)


def test_another_seed_draws_other_cases() -> None:
    assert drawn(40, 7) != drawn(40, 8)


def test_cases_differ(many: list[Case]) -> None:
    assert len(set(many)) > len(many) // 2


@pytest.mark.parametrize("option", ["window", "softcap", "out"])
def test_an_option_that_is_not_listed_is_never_drawn(option: str) -> None:
    others = {"out", "window", "softcap"} - {option}
    default = getattr(Case(), option)

    found = drawn(100, options=others)

    assert all(getattr(case, option) == default for case in found)
    for other in others:
        assert any(getattr(case, other) != getattr(Case(), other) for case in found)


def test_without_options_a_target_gets_none() -> None:
    assert all((case.window, case.softcap, case.out) == (None, None, dense(QUERY_AXES)) for case in drawn(60, options=()))


@pytest.mark.parametrize(
    ("keyword", "values", "field"),
    [
        ("dtypes", ("bfloat16",), "dtype"),
        ("dtypes", ["float16", "bfloat16"], "dtype"),
        ("head_dims", (128, 64), "head_dim"),
        ("value_head_dims", (32, 512), "value_head_dim"),
        ("block_sizes", (16, 24), "block_size"),
        ("block_sizes", range(3, 6), "block_size"),
        ("groups", (7,), "group"),
        ("num_kv_heads", (8, 2), "num_kv_heads"),
    ],
)
def test_a_keyword_restricts_its_field(keyword: str, values: Any, field: str) -> None:
    found = {getattr(case, field) for case in drawn(25, **{keyword: values})}

    assert values[0] in found
    assert found <= set(values)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 40), (1, 2048), (16, 64), (50, 50), (3000, 4000)])
def test_lengths_keep_to_their_limits(low: int, high: int) -> None:
    """As a campaign draws them: what Hypothesis draws of itself clusters, and hangs on which modules are loaded."""
    drawn_cases = islice(case_stream(0, CaseSpace(min_seq_len=low, max_seq_len=high)), 100)
    lengths = {length for case in drawn_cases for length in case.seq_lens}

    assert min(lengths) == low
    assert max(lengths) <= high


def test_huge_spans_can_be_switched_off() -> None:
    spans = [layout.extent(sizes) for case in drawn(150, huge_spans=False) for layout, sizes in case.layouts().values()]

    assert max(spans) < 2**31


def test_value_head_dim_is_the_head_dim_mostly(many: list[Case]) -> None:
    alike = sum(case.head_dim == case.value_head_dim for case in many)

    assert len(many) > alike > 0.7 * len(many)


def test_small_cases_are_most(many: list[Case]) -> None:
    """Most faults live in tiny cases, and the interpreter pays per program."""
    tokens = sorted(sum(case.seq_lens) for case in many)

    assert tokens[len(tokens) // 2] <= 100
    assert sum(case.head_dim <= 72 for case in many) > 0.6 * len(many)
    crowds = [case for case in many if case.num_seqs * case.num_kv_heads > 8]
    assert 0 < len(crowds) < 0.02 * len(many)
    assert all(max(case.seq_lens) <= max(3, case.q_len) for case in crowds)
    assert max(case.num_pages * case.block_size * case.num_kv_heads * case.head_dim for case in many) < MAX_LIVE // 4


def test_the_simplest_case_is_the_default() -> None:
    """Hypothesis tries the simplest choices first."""
    assert drawn(1) == [Case()]


@pytest.mark.slow
def test_hypothesis_shrinks_a_feature_to_itself_alone() -> None:
    found = simplest(lambda case: case.table.first_block > 0)

    assert features_of(found) == {"table.first_block": "1"}
    assert found.seq_lens == (1,)


def reaches(condition: Callable[[Case], bool], many: list[Case]) -> None:
    assert any(condition(case) for case in many)


@pytest.mark.parametrize("name", [*FAMILIES, "MLA prefix", "permuted", "K and V differ"])
def test_each_family_is_reached(name: str, many: list[Case]) -> None:
    reaches(lambda case: family(case.k, case.v) == name, many)


@pytest.mark.parametrize("mode", DATA_MODES)
def test_each_data_mode_is_reached(mode: str, many: list[Case]) -> None:
    reaches(lambda case: case.data == mode, many)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("head_dim", HEAD_DIMS),
        ("value_head_dim", VALUE_HEAD_DIMS[:6]),
        ("block_size", BLOCK_SIZES),
        ("group", GROUPS),
        ("num_kv_heads", NUM_KV_HEADS),
        ("num_seqs", (1, 2, 3, 4)),
        ("dtype", DTYPES),
        ("layers", (1, 2, 3)),
        ("layer", (0, 1, 2)),
        ("softcap", (None, 1.0, 30.0, 50.0)),
        ("scale", (None, 1.0, 0.3)),
    ],
)
def test_each_value_is_reached(field: str, values: tuple[object, ...], many: list[Case]) -> None:
    assert {getattr(case, field) for case in many} >= set(values)


def test_each_placement_and_unused_entry_is_reached(many: list[Case]) -> None:
    assert {case.table.placement for case in many} == set(PLACEMENTS)
    assert {case.table.unused for case in many} == set(UNUSED_ENTRIES)


SHAPES: dict[str, Callable[[Case], bool]] = {
    "two sequences share a block": lambda case: sum(map(len, case.pages())) > case.num_pages,
    "window shorter than a sequence": lambda case: case.window is not None and case.window < max(case.seq_lens),
    "window longer than every sequence": lambda case: case.window is not None and case.window > max(case.seq_lens),
    "empty sequence": lambda case: 0 in case.seq_lens,
    "nothing but empty sequences": lambda case: max(case.seq_lens) == 0,
    "empty beside long": lambda case: 0 in case.seq_lens and max(case.seq_lens) > 100,
    "exactly a block": lambda case: case.block_size > 1 and case.block_size in case.seq_lens,
    "one more than a block": lambda case: case.block_size > 1 and case.block_size + 1 in case.seq_lens,
    "one less than a block": lambda case: case.block_size > 2 and case.block_size - 1 in case.seq_lens,
    "one more than a split": lambda case: bool({17, 33, 65, 129, 257} & {*case.seq_lens}),
    "beyond a thousand tokens": lambda case: max(case.seq_lens) > 1000,
    "page padded to no multiple of a row": lambda case: bool(
        case.k.pad[case.k.order.index("block")] % (case.num_kv_heads * case.head_dim)
    ),
    "slot padded": lambda case: case.k.pad[case.k.order.index("slot")] != 0,
    "innermost axis padded": lambda case: case.k.pad[-1] != 0,
    "storage offset": lambda case: case.k.offset != 0,
    "K and V padded differently": lambda case: case.v is not None and case.v.pad != case.k.pad,
    "K and V of unequal dims in one buffer": lambda case: "kv" in case.k.order and case.value_head_dim > case.head_dim,
    "dim outside head": lambda case: case.k.order.index("dim") < case.k.order.index("head"),
    "single head with a stride of its own": lambda case: case.num_kv_heads == 1 and min(case.k.pad) < 0,
    "head-major q": lambda case: case.q.order[0] == "head",
    "q slice of packed QKV": lambda case: case.q.order == QUERY_AXES and case.q.pad[0] > 0,
    "out strided unlike q": lambda case: case.out != case.q,
    "dim not innermost in q": lambda case: case.q.order[-1] != "dim",
    "block table row slice": lambda case: case.table.layout.pad[0] > 0,
    "block table column-major": lambda case: case.table.layout.order[0] == "column",
    "wider table": lambda case: case.table.extra_columns > 0,
    "all dense": lambda case: not any(layout.padded or layout.offset for layout, _ in case.layouts().values()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_of_the_wild_is_reached(shape: str, many: list[Case]) -> None:
    reaches(SHAPES[shape], many)


FAR: dict[str, Callable[[Case], bool]] = {
    "span beyond 2**31 elements": lambda case: max(layout.extent(sizes) for layout, sizes in case.layouts().values()) > 2**31,
    "live token beyond 2**31 elements": lambda case: (
        max(case.blocks(), default=0) * case.k.strides(case.cache_sizes(case.k_row))["block"] > 2**31
    ),
    "block ids beyond 2**16": lambda case: max(case.blocks(), default=0) >= 2**16,
}


@pytest.mark.slow
@pytest.mark.parametrize("reach", FAR)
def test_addresses_that_overflow_are_found(reach: str) -> None:
    found = find(
        decode_cases(),
        FAR[reach],
        settings=settings(max_examples=3000, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=quiet),
        random=random.Random(0),
    )

    assert FAR[reach](validate(found))


def test_tagged_cases_are_those_that_tags_fit(many: list[Case]) -> None:
    assert all(tags_fit(case) for case in many if case.data == "tagged")


@pytest.mark.parametrize("keyword", ["head_dims", "block_sizes", "groups", "num_kv_heads", "dtypes"])
def test_an_empty_choice_is_an_error(keyword: str) -> None:
    empty: dict[str, Any] = {keyword: ()}

    with pytest.raises(HypothesisException):
        drawn(1, **empty)


def test_v_may_lie_anywhere_where_it_is_separate(many: list[Case]) -> None:
    orders = {case.v.order for case in many if case.v is not None}

    assert CACHE_AXES in orders
    assert len(orders) > 2
