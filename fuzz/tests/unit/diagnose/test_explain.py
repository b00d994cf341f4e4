"""Which known bug causes a failure: predicted by its fault, or gone without what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sample_faults
from sample_targets import honest
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, QUERY_AXES, Layout
from fuzz_decode.diagnose import DiagnoseRequest
from fuzz_decode.diagnose.diagnosis import BETWEEN_CALLS, ExplainRequest, KnownBug
from fuzz_decode.diagnose.explain import explain
from fuzz_decode.diagnose.find_fault import examine
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.outcome import Signature
from fuzz_decode.targets.target import target_from_function

WRONG = Signature("wrong-value:out")
HND = Layout(FAMILIES["HND"])
GAPS_IN_OUT = Layout(QUERY_AXES, (8, 16, 0))
CASE = Case(seq_lens=(5, 9), num_kv_heads=2, head_dim=24, block_size=4, k=HND, v=HND)
V_HEADS = KnownBug(3, (WRONG,), "v-head-stride-dense")
OUT_ROWS = KnownBug(7, (WRONG,), "out-row-stride-dense")


def wrong_in_large_groups(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    return honest(q, k_cache, *rest)[0] * (1.05 if q.shape[1] // k_cache.shape[2] > 2 else 1.0)


def cause(function: Callable[..., Any], case: Case, *bugs: KnownBug) -> int | None:
    target = target_from_function(function.__name__, function)
    outcome = run_case(case, target, "cpu")
    assert outcome.findings
    return explain(ExplainRequest(case, outcome.signature, bugs), target, "cpu").number


def test_a_fault_explains_what_it_predicts_and_nothing_else() -> None:
    assert cause(sample_faults.v_heads_taken_to_be_dense, CASE, V_HEADS) == 3
    assert cause(sample_faults.v_heads_taken_to_be_dense, CASE, OUT_ROWS) is None
    assert cause(sample_faults.five_percent_too_much, CASE, V_HEADS, OUT_ROWS) is None


def test_a_known_fault_hides_no_other_on_the_same_case() -> None:
    case = replace(CASE, out=GAPS_IN_OUT)
    assert cause(sample_faults.v_heads_and_out_rows_taken_to_be_dense, case, V_HEADS) is None
    assert cause(sample_faults.v_heads_and_out_rows_taken_to_be_dense, case, V_HEADS, OUT_ROWS) == 3
    assert cause(sample_faults.v_heads_and_out_rows_taken_to_be_dense, CASE, OUT_ROWS, V_HEADS) == 3
    assert (
        cause(sample_faults.v_heads_and_out_rows_taken_to_be_dense, replace(case, k=Case().k, v=Case().v), V_HEADS, OUT_ROWS) == 7
    )


def test_a_fault_explains_no_nan_that_it_does_not_read() -> None:
    """The ids of small pools are right when they are cut, whatever else is wrong; and with equal weights of all tokens only NaN
    shows where a kernel reads."""
    cut = KnownBug(4, (WRONG,), "block-id-16-bits")
    plain = replace(CASE, k=Case().k, v=Case().v)
    assert cause(sample_faults.multiplies_the_tail_by_zero, plain, cut) is None
    assert cause(sample_faults.multiplies_the_tail_by_zero, plain, cut, KnownBug(5, (WRONG,), "tail-v-unmasked")) == 5

    gaps = replace(CASE, k=replace(HND, pad=(0, 400, 0, 0)), data="uniform")
    assert cause(sample_faults.k_heads_taken_to_be_dense, gaps, cut, KnownBug(3, (WRONG,), "k-head-stride-dense")) == 3


def test_a_missing_mask_beside_a_fault_that_shows_everywhere_is_a_cause() -> None:
    plain, mask, lse = (
        replace(CASE, k=Case().k, v=Case().v),
        KnownBug(1, (WRONG,), "tail-v-unmasked"),
        KnownBug(2, (WRONG,), "lse-base-2"),
    )
    assert cause(sample_faults.multiplies_the_tail_by_zero_in_base_2, plain, lse) is None
    assert cause(sample_faults.multiplies_the_tail_by_zero_in_base_2, plain, lse, mask) == 1


TWO_MASKS = replace(CASE, k=Case().k, v=Case().v, seq_lens=(5, 9), window=2)
TAIL, WINDOW = KnownBug(1, (WRONG,), "tail-v-unmasked"), KnownBug(2, (WRONG,), "window-v-unmasked")


def test_masks_that_are_missing_together_are_a_cause() -> None:
    assert cause(sample_faults.multiplies_all_blocks_by_zero, TWO_MASKS, TAIL) is None
    assert cause(sample_faults.multiplies_all_blocks_by_zero, TWO_MASKS, TAIL, WINDOW) == 1


def test_a_missing_mask_is_found_beside_a_known_one() -> None:
    target = target_from_function("masks", sample_faults.multiplies_all_blocks_by_zero)
    alone, beside = (examine(DiagnoseRequest(TWO_MASKS, known=known), target, "cpu") for known in ((), (TAIL.fault,)))
    assert (alone.fault, beside.fault) == (TAIL.fault, WINDOW.fault)


def test_v_in_rows_of_k_is_told_from_the_rest_of_them() -> None:
    target = target_from_function("masks", sample_faults.multiplies_all_blocks_by_zero)
    case = replace(TWO_MASKS, seq_lens=(4, 8), num_kv_heads=1, group=2, head_dim=24, value_head_dim=16, v=None)
    assert case.v_prefix_of_k
    assert examine(DiagnoseRequest(case), target, "cpu").fault == WINDOW.fault
    assert cause(sample_faults.multiplies_all_blocks_by_zero, case, WINDOW) == 2


def test_an_exception_causes_no_wrong_values() -> None:
    case = replace(CASE, group=2)
    raised = KnownBug(4, (Signature("exception-ValueError:call"),), "", ("group", "num_kv_heads"), raises=True)
    assert cause(sample_faults.raises_in_large_groups, case, raised) is None
    assert cause(sample_faults.raises_in_large_groups, replace(CASE, num_kv_heads=1, group=6), raised) == 4


def test_a_failure_of_the_plain_layout_is_explained_there() -> None:
    case = replace(CASE, v=HND, k=HND)
    of_function = target_from_function("dense_hnd", sample_faults.v_taken_to_be_dense_hnd)
    target = replace(of_function, arithmetic=replace(of_function.arithmetic, same_bits_anywhere=True))
    outcome = run_case(case, target, "cpu")
    assert outcome.findings[0].in_plain_layout
    bug = KnownBug(6, (WRONG,), "v-strides-dense-HND")
    assert explain(ExplainRequest.of(case, outcome, (bug,)), target, "cpu").number == 6
    assert explain(ExplainRequest(case, outcome.signature, (bug,)), target, "cpu").number is None

    kept = KnownBug(8, (WRONG,), BETWEEN_CALLS, certain=False)
    assert explain(ExplainRequest.of(case, outcome, (kept,)), target, "cpu").number == 8
    assert explain(ExplainRequest.of(case, outcome, (kept, bug)), target, "cpu").number == 6
    assert explain(ExplainRequest(case, outcome.signature, (kept,)), target, "cpu").number is None


def test_an_access_out_of_bounds_without_effect_is_that_of_a_fault_that_leads_there() -> None:
    """Ids of unused entries of the table, which no pool has."""
    case = replace(CASE, table=BlockTable(unused="huge", extra_columns=1), seq_lens=(4, 8))
    request = ExplainRequest(case, Signature("out-of-bounds-k_cache:call"), (KnownBug(2, (WRONG,), "tail-one-more"),))
    target = target_from_function("honest", honest)
    assert explain(request, target, "cpu").number == 2
    assert explain(replace(request, bugs=(V_HEADS,)), target, "cpu").number is None
    assert explain(replace(request, signature=WRONG), target, "cpu").number is None


def test_forms_of_a_fault_are_alternatives() -> None:
    """Of one name are K alone and K with V in its rows: this kernel has the former, the bundled one the latter."""
    case = Case(
        seq_lens=(9, 5),
        head_dim=24,
        value_head_dim=16,
        block_size=4,
        k=Layout(FAMILIES["NHD"], (40, 0, 0, 0)),
        v=None,
        out=GAPS_IN_OUT,
    )
    k_blocks = KnownBug(4, (WRONG,), "k-block-stride-dense")
    assert case.v_prefix_of_k
    assert cause(sample_faults.k_blocks_and_out_rows_taken_to_be_dense, case, k_blocks) is None
    assert cause(sample_faults.k_blocks_and_out_rows_taken_to_be_dense, case, k_blocks, OUT_ROWS) == 4


def test_what_an_id_beyond_the_pool_leads_to_is_not_predicted() -> None:
    case = Case(seq_lens=(4, 8), block_size=4, table=BlockTable(spare_blocks=1, extra_columns=1, unused="huge"))
    assert cause(sample_faults.sees_one_more_with_wrapped_ids, case, KnownBug(2, (WRONG,), "tail-one-more")) == 2
    assert cause(sample_faults.sees_one_more_with_wrapped_ids, case, KnownBug(2, (WRONG,), "tail-one-less")) is None


@pytest.mark.parametrize(("fault", "explained"), [("tail-v-unmasked", 1), ("tail-k-unmasked", None), ("window-v-unmasked", None)])
def test_a_missing_mask_explains_what_is_right_once_its_memory_is_finite(fault: str, explained: int | None) -> None:
    case = replace(CASE, k=Case().k, v=Case().v)
    assert cause(sample_faults.multiplies_the_tail_by_zero, case, KnownBug(1, (WRONG,), fault)) == explained


@pytest.mark.parametrize(
    ("needed", "explained"), [(("group",), 5), (("table.placement",), None), (("table.placement", "group"), 5), ((), 5)]
)
def test_an_unknown_bug_explains_what_goes_away_without_what_it_needs(needed: tuple[str, ...], explained: int | None) -> None:
    case = replace(CASE, group=4, table=BlockTable(placement="permuted"))
    assert cause(wrong_in_large_groups, case, KnownBug(5, (WRONG,), "", needed)) == explained


def test_an_unknown_bug_that_needs_nothing_explains_its_signature_only() -> None:
    assert cause(wrong_in_large_groups, replace(CASE, group=4), KnownBug(5, (Signature("unwritten:out"),), "")) is None


def test_lengths_tell_nothing() -> None:
    """A failure that goes away with shorter sequences may have any cause."""
    bug = KnownBug(5, (Signature("unwritten:out"),), "", ("seq_lens",))
    assert cause(wrong_in_large_groups, replace(CASE, group=4), bug) is None


def test_a_bug_of_long_sequences_explains_no_failure_of_short_ones() -> None:
    case = replace(CASE, group=4)
    assert cause(wrong_in_large_groups, case, KnownBug(5, (WRONG,), "", ("seq_lens",), tokens=9)) == 5
    assert cause(wrong_in_large_groups, case, KnownBug(5, (WRONG,), "", ("seq_lens",), tokens=10)) is None


def test_a_fault_on_top_of_a_missing_mask_is_not_hidden_by_it() -> None:
    """Its memory is wrong with finite numbers, too."""
    mask = KnownBug(1, (WRONG,), "tail-v-unmasked")
    assert cause(sample_faults.v_heads_taken_to_be_dense, CASE, mask) is None
