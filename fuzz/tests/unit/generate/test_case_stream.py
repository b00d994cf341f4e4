"""A campaign's cases come from the seed and nothing else."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest

from fuzz_decode.cases.call_sequence import CallSequence, differences
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.layout import ALL_FAMILIES, family
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import EPOCH, call_stream, case_stream


@pytest.fixture(scope="module")
def many() -> list[Case]:
    """More than one epoch of steering."""
    return list(islice(case_stream(0, CaseSpace()), EPOCH + 20))


def first(count: int, seed: int, **limits: Any) -> list[Case]:
    return list(islice(case_stream(seed, CaseSpace(**limits)), count))


def test_the_same_seed_gives_the_same_cases() -> None:
    assert first(150, 7) == first(150, 7)


def test_another_seed_gives_others() -> None:
    assert len(set(first(50, 1)) & set(first(50, 2))) <= 1


def test_the_first_case_is_the_simplest() -> None:
    assert first(1, 3) == [Case()]


def test_cases_are_independent_of_each_other() -> None:
    cases = first(300, 0)
    cells = {(family(case.k, case.v), case.dtype, case.group, case.block_size) for case in cases}

    assert len(cells) > 240


def test_a_few_hundred_cases_visit_every_family_dtype_and_data_mode() -> None:
    cases = first(300, 0)

    assert {family(case.k, case.v) for case in cases} == set(ALL_FAMILIES)
    assert {case.data for case in cases} == {"gaussian", "uniform", "large", "tagged"}
    assert min(Counter(case.dtype for case in cases).values()) > 50


def test_a_target_gets_only_what_it_takes() -> None:
    cases = first(100, 0, dtypes=("float16",), options=frozenset(), min_seq_len=1)

    assert {case.dtype for case in cases} == {"float16"}
    assert all(case.window is None and case.softcap is None and min(case.seq_lens) > 0 for case in cases)


def rows(count: int, length: int, **limits: Any) -> list[CallSequence]:
    return list(islice(call_stream(0, CaseSpace(**limits), length), count))


def test_sequences_are_the_same_each_time_and_begin_with_the_cases_of_the_seed() -> None:
    drawn = rows(120, 4)

    assert drawn == rows(120, 4)
    assert [calls[0] for calls in drawn] == first(120, 0)
    assert {len(calls) for calls in drawn} == {4}


def test_a_sequence_of_one_is_a_case() -> None:
    assert rows(120, 1) == [(case,) for case in first(120, 0)]


def test_most_calls_differ_from_an_earlier_one_in_a_thing_or_two_and_in_no_shape() -> None:
    """A cache that lacks something in its key is only asked for the same again if the rest of the key comes up again."""
    unlike: Counter[str] = Counter()
    related = same_shapes = 0
    for calls in rows(200, 4):
        for place, case in enumerate(calls[1:], 1):
            nearest = min((differences(earlier, case) for earlier in calls[:place]), key=len)
            related += len(nearest) < 10
            unlike.update(nearest.keys() if len(nearest) < 10 else ())
            same_shapes += any(shapes(case) == shapes(earlier) for earlier in calls[:place])

    assert related > 0.8 * 600
    assert same_shapes > 0.75 * 600
    assert min(unlike[name] for name in ("k", "q", "out", "scale", "softcap", "window", "dtype", "seq_lens", "data", "seed")) > 20


def shapes(case: Case) -> tuple[object, ...]:
    return case.query_sizes(case.head_dim), case.cache_sizes(case.head_dim), case.table_sizes()


@pytest.mark.slow
def test_relatives_are_valid_and_within_what_the_target_takes() -> None:
    for calls in rows(150, 5, dtypes=("float16", "bfloat16"), options=frozenset(), min_seq_len=2):
        for case in calls:
            assert validate(case).dtype != "float32"
            assert case.window is None
            assert case.softcap is None
            assert min(case.seq_lens) >= 2


def test_relatives_keep_to_the_strides_that_the_target_asks_for() -> None:
    strides = StrideRules(contiguous=("q", "k", "v", "table"), one_slot_stride=True, v_like_k=True)

    assert {strides.violation(case) for calls in rows(150, 4, strides=strides) for case in calls} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("start", [1, 99, 130, EPOCH - 1, EPOCH, EPOCH + 7])
def test_a_stream_can_begin_anywhere(start: int, many: list[Case]) -> None:
    assert list(islice(case_stream(0, CaseSpace(), start), 5)) == many[start : start + 5]


def test_sequences_can_begin_anywhere() -> None:
    assert list(islice(call_stream(0, CaseSpace(), 3, 118), 4)) == list(islice(call_stream(0, CaseSpace(), 3), 118, 122))
