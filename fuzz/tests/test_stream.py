"""A campaign's cases come from the seed and nothing else."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from fuzz_decode.case import Case
from fuzz_decode.layout import ALL_FAMILIES, family
from fuzz_decode.stream import case_stream


def first(count: int, seed: int, **generates: object) -> list[Case]:
    return list(islice(case_stream(seed, generates), count))


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
