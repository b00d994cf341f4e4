"""What a kernel asks of strides: cases are made to conform, and those that do not are named."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.stride_rules import TENSORS, StrideRules
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem

BASE = Case(seq_lens=(20,), num_kv_heads=2, group=2, block_size=4)
INTERLEAVED = dataclasses.replace(BASE, k=Layout(FAMILIES["interleaved"]), v=None)
DIM_OUTSIDE = Layout(("seq", "dim", "head"))
DEMANDS = (
    StrideRules(),
    StrideRules(contiguous=TENSORS),
    StrideRules(one_slot_stride=True),
    StrideRules(v_like_k=True),
    StrideRules(contiguous=TENSORS, one_slot_stride=True, v_like_k=True),
    StrideRules(contiguous=("v",), v_like_k=True),
    StrideRules(multiple_of=16),
    StrideRules(one_slot_stride=True, v_like_k=True, multiple_of=8),
)
ALL_RULES = StrideRules(contiguous=TENSORS, one_slot_stride=True, v_like_k=True, multiple_of=8)


@pytest.mark.parametrize(
    ("strides", "case", "reason"),
    [
        (StrideRules(contiguous=("q",)), dataclasses.replace(BASE, q=DIM_OUTSIDE), "stride of q's dim is not 1"),
        (StrideRules(contiguous=("out",)), dataclasses.replace(BASE, q=DIM_OUTSIDE), None),
        (
            StrideRules(contiguous=("v",)),
            dataclasses.replace(BASE, k=Layout(("block", "slot", "kv", "dim", "head")), v=None),
            "stride of v's dim is not 1",
        ),
        (
            StrideRules(contiguous=("table",)),
            dataclasses.replace(BASE, seq_lens=(20, 20), table=BlockTable(layout=Layout(("column", "seq")))),
            "stride of table's column is not 1",
        ),
        (StrideRules(one_slot_stride=True), INTERLEAVED, "block stride is not block_size * slot stride"),
        (
            StrideRules(one_slot_stride=True),
            dataclasses.replace(INTERLEAVED, seq_lens=(4,)),  # a single block has a stride, too
            "block stride is not block_size * slot stride",
        ),
        (
            StrideRules(one_slot_stride=True),
            dataclasses.replace(BASE, block_size=1, k=Layout(FAMILIES["NHD"], (0, 8, 0, 0))),
            "block stride is not block_size * slot stride",
        ),
        (
            StrideRules(v_like_k=True),
            dataclasses.replace(BASE, block_size=1, v=Layout(FAMILIES["NHD"], (0, 1, 0, 0))),
            "strides of V are not those of K",
        ),
        (
            StrideRules(contiguous=("table",)),
            dataclasses.replace(BASE, seq_lens=(4,), table=BlockTable(layout=Layout(("seq", "column"), (0, 2)))),
            "stride of table's column is not 1",
        ),
        (
            StrideRules(multiple_of=8),
            dataclasses.replace(BASE, num_kv_heads=1, k=Layout(FAMILIES["NHD"], (0, 0, -13, 0))),
            "rows of k do not start at multiples of 8 elements",
        ),
        (
            StrideRules(multiple_of=32),
            dataclasses.replace(BASE, head_dim=40),
            "rows of q do not start at multiples of 32 elements",
        ),
        (StrideRules(v_like_k=True), INTERLEAVED, None),
        (StrideRules(v_like_k=True), dataclasses.replace(BASE, value_head_dim=32), "strides of V are not those of K"),
    ],
)
def test_what_is_not_allowed_is_named(strides: StrideRules, case: Case, reason: str | None) -> None:
    assert strides.violation(validate(case)) == reason
    assert strides.violation(validate(strides.nearest(case))) is None


@pytest.mark.slow
@pytest.mark.parametrize("strides", DEMANDS)
def test_every_drawn_case_conforms(strides: StrideRules) -> None:
    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(decode_cases(strides=strides))
    def check(case: Case) -> None:
        assert strides.violation(validate(case)) is None

    check()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(decode_cases())
def test_conforming_changes_nothing_but_layouts(case: Case) -> None:
    conformed = validate(ALL_RULES.nearest(case))
    layouts = {"k": case.k, "v": case.v, "q": case.q, "out": case.out}
    table = dataclasses.replace(conformed.table, layout=case.table.layout)
    assert dataclasses.replace(conformed, **layouts, table=table) == case  # type: ignore[arg-type]  # only layouts


@pytest.mark.slow
@pytest.mark.parametrize("strides", [*DEMANDS, ALL_RULES])
def test_the_tensors_of_a_drawn_case_keep_the_rules_on_every_axis(strides: StrideRules) -> None:
    """An axis of size 1, too: kernels assert equal strides, and take stride(1) for the slot stride where a block has one slot."""
    space = CaseSpace(strides=strides, huge_spans=False, max_seq_len=40)
    for case in itertools.islice(case_stream(0, space), 300):
        problem = build_problem(case, "cpu")
        q, k, v = problem.q, problem.k_cache, problem.v_cache
        tensors = {"q": q, "k": k, "v": v, "out": problem.out, "table": problem.block_table}
        assert all(tensors[name].stride(-1) == 1 for name in strides.contiguous)
        assert not strides.one_slot_stride or all(pool.stride(0) == pool.shape[1] * pool.stride(1) for pool in (k, v))
        assert not strides.v_like_k or k.stride() == v.stride()
        assert all(stride % strides.multiple_of == 0 for tensor in (q, k, v) for stride in tensor.stride()[:-1])


@pytest.mark.slow
def test_a_pool_of_token_slots_still_comes_in_many_layouts() -> None:
    """Conforming bends a layout as little as it must: padded slots, head-major pools and separate planes remain."""
    seen = set()

    @settings(max_examples=400, deadline=None, derandomize=True)
    @given(decode_cases(strides=StrideRules(one_slot_stride=True)))
    def collect(case: Case) -> None:
        seen.add((case.k.order, case.k.padded))

    collect()
    assert len(seen) >= 20
