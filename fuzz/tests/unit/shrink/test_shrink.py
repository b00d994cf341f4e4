"""Shrinking ends at the simplest case that fails in the same way, every time, and on time.

`run` is a plain predicate here: what a kernel would get wrong, said directly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fuzz_decode.cases.call_sequence import CallSequence, differences, sort_key
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.serialization import canonical_json, case_digest
from fuzz_decode.cases.simplicity import features_of, simplicity_key, without_feature
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import validate
from fuzz_decode.errors import CaseError
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.shrink import shrinker as shrinking
from fuzz_decode.shrink.needed import SIZES
from fuzz_decode.shrink.shrinker import PASSES, Shrunk, shrink_calls

Predicate = Callable[[Case], bool]

WRONG = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "12 of 16 elements"))
CRASH = failure(Stage.RUN, Violation("process", Symptom.CRASH, "call", "signal 11"))
HANG = failure(Stage.RUN, Violation("process", Symptom.TIMEOUT, "call", "20 s"))
FINE = Outcome(Status.PASSED)

RICH = Case(
    seq_lens=(37, 0, 33, 5),
    num_kv_heads=2,
    group=3,
    head_dim=64,
    value_head_dim=40,
    block_size=16,
    dtype="bfloat16",
    k=Layout(FAMILIES["HND"], (64, 0, 8, 0), 37),
    v=Layout(CACHE_AXES, (13, 8, 0, 0), 16),
    q=Layout(("head", "seq", "dim"), (3, 0, 0)),
    out=Layout(QUERY_AXES, (64, 13, 0), 8),
    table=BlockTable(Layout(TABLE_AXES, (3, 0), 1), "permuted", 4, 5, 2, 3, "stale"),
    window=5,
    softcap=30.0,
    scale=0.3,
    data="large",
    seed=1234,
)
PACKED = replace(RICH, k=Layout(FAMILIES["cross-layer"], (8, 16, 0, 8, 0, 0), 37), v=None, layers=3, layer=2)


def fails_where(predicate: Predicate, outcome: Outcome = WRONG) -> Callable[[Case], Outcome]:
    return lambda case: outcome if predicate(case) else FINE


def shrink(case: Case, outcome: Outcome, run: Callable[[Case], Outcome], seconds: float = 60.0) -> Shrunk:
    """A single case."""
    return shrink_calls((case,), outcome, lambda calls: run(calls[0]), seconds)


def shrunk(predicate: Predicate, start: Case = RICH) -> Shrunk:
    assert predicate(validate(start))
    return shrink(start, WRONG, fails_where(predicate))


def minimal(predicate: Predicate, start: Case = RICH) -> Case:
    return shrunk(predicate, start).case


@functools.cache
def shrunk_bug(bug: str) -> Shrunk:
    """What a bug of QUALITY shrinks to."""
    predicate, start, _ = QUALITY[bug]
    return shrunk(predicate, start)


def pad_of(layout: Layout | None, axis: str) -> int:
    return 0 if layout is None else layout.pad[layout.order.index(axis)]


def shares(case: Case) -> bool:
    return sum(map(len, case.pages())) > case.num_pages


def interleaved(case: Case) -> bool:
    return "kv" in case.k.order and case.k.order.index("kv") > case.k.order.index("block")


def block_stride_is_not_dense(case: Case) -> bool:
    strides = case.k.strides(case.cache_sizes(case.k_row))
    return strides["block"] != case.block_size * strides["slot"]


QUALITY: dict[str, tuple[Predicate, Case, Case]] = {
    "anything": (lambda case: True, RICH, Case(seq_lens=(0,))),
    "anything packed": (lambda case: True, PACKED, Case(seq_lens=(0,))),
    "a token": (lambda case: sum(case.seq_lens) > 0, RICH, Case()),
    "a sequence of three tokens": (lambda case: max(case.seq_lens) >= 3, RICH, Case(seq_lens=(3,))),
    "a sequence of seventeen tokens": (lambda case: max(case.seq_lens) >= 17, RICH, Case(seq_lens=(17,))),
    "five tokens in all": (lambda case: sum(case.seq_lens) >= 5, RICH, Case(seq_lens=(5,))),
    "two sequences": (lambda case: case.num_seqs >= 2, RICH, Case(seq_lens=(0, 0))),
    "an empty sequence": (lambda case: 0 in case.seq_lens, RICH, Case(seq_lens=(0,))),
    "an empty sequence after a full one": (
        lambda case: any(a > 0 and b == 0 for a, b in zip(case.seq_lens, case.seq_lens[1:], strict=False)),
        RICH,
        Case(seq_lens=(1, 0)),
    ),
    "sequences of unequal length": (
        lambda case: len(set(case.seq_lens)) > 1,
        replace(RICH, seq_lens=(9, 7)),
        Case(seq_lens=(0, 1)),
    ),
    "two KV heads": (lambda case: case.num_kv_heads > 1, RICH, Case(seq_lens=(0,), num_kv_heads=2)),
    "a group": (lambda case: case.group > 1, RICH, Case(seq_lens=(0,), group=2)),
    "a group that is no power of two": (lambda case: case.group & (case.group - 1) != 0, RICH, Case(seq_lens=(0,), group=3)),
    "head dim beyond 32": (lambda case: case.head_dim > 32, RICH, Case(seq_lens=(0,), head_dim=40)),
    "V narrower than K": (lambda case: case.value_head_dim < case.head_dim, RICH, Case(seq_lens=(0,), head_dim=32)),
    "a block of more than four": (
        lambda case: case.block_size > 4 and any(length % case.block_size for length in case.seq_lens),
        RICH,
        Case(seq_lens=(1,), block_size=5),
    ),
    "a second block": (lambda case: max(case.seq_lens) > case.block_size, RICH, Case(seq_lens=(2,))),
    "a second block of several slots": (
        lambda case: max(case.seq_lens) > case.block_size > 1,
        RICH,
        Case(seq_lens=(3,), block_size=2),
    ),
    "a window": (lambda case: case.window is not None, RICH, Case(seq_lens=(0,), window=1)),
    "a window that hides a token": (
        lambda case: case.window is not None and case.window < max(case.seq_lens),
        RICH,
        Case(seq_lens=(2,), window=1),
    ),
    "a window of four": (lambda case: (case.window or 0) >= 4, RICH, Case(seq_lens=(0,), window=4)),
    "softcap": (lambda case: case.softcap is not None, RICH, Case(seq_lens=(0,), softcap=1.0)),
    "a scale": (lambda case: case.scale is not None, RICH, Case(seq_lens=(0,), scale=0.3)),
    "bfloat16": (lambda case: case.dtype == "bfloat16", RICH, Case(seq_lens=(0,), dtype="bfloat16")),
    "a narrow dtype": (lambda case: case.dtype != "float32", RICH, Case(seq_lens=(0,), dtype="float16")),
    "large data": (lambda case: case.data == "large", RICH, Case(seq_lens=(0,), data="large")),
    "padded K blocks": (
        lambda case: pad_of(case.k, "block") > 0,
        replace(RICH, k=Layout(CACHE_AXES, (64, 0, 8, 0), 37)),
        Case(seq_lens=(0,), k=Layout(CACHE_AXES, (1, 0, 0, 0))),
    ),
    "padded V slots": (
        lambda case: pad_of(case.v, "slot") > 0,
        RICH,
        Case(seq_lens=(0,), v=Layout(CACHE_AXES, (0, 1, 0, 0))),
    ),
    "offset of out": (lambda case: case.out.offset > 0, RICH, Case(seq_lens=(0,), out=Layout(QUERY_AXES, offset=1))),
    "K by heads": (lambda case: case.k.order == FAMILIES["HND"], RICH, Case(seq_lens=(0,), k=Layout(FAMILIES["HND"]))),
    "K and V in different orders": (
        lambda case: case.v is not None and case.v.order != case.k.order,
        RICH,
        Case(seq_lens=(0,), k=Layout(FAMILIES["HND"])),
    ),
    "V interleaved with K": (interleaved, PACKED, Case(seq_lens=(0,), k=Layout(FAMILIES["interleaved"]), v=None)),
    "K and V in one buffer": (
        lambda case: "kv" in case.k.order,
        replace(PACKED, k=Layout(FAMILIES["layer-major"])),
        Case(seq_lens=(0,), k=Layout(FAMILIES["interleaved"]), v=None),
    ),
    "q by heads": (lambda case: case.q.order[0] == "head", RICH, Case(seq_lens=(0,), q=Layout(("head", "seq", "dim")))),
    "two sequences share a block": (shares, RICH, Case(seq_lens=(1, 1), table=BlockTable(shared_blocks=1))),
    "a block id of four": (
        lambda case: max(case.blocks(), default=0) >= 4,
        replace(RICH, table=replace(RICH.table, placement="identity")),
        Case(table=BlockTable(first_block=4)),
    ),
    "a padded table row": (
        lambda case: pad_of(case.table.layout, "seq") > 0,
        RICH,
        Case(seq_lens=(0,), table=BlockTable(Layout(TABLE_AXES, (1, 0)))),
    ),
    "a wider table": (lambda case: case.table.extra_columns > 0, RICH, Case(seq_lens=(0,), table=BlockTable(extra_columns=1))),
    "stale entries": (
        lambda case: case.table.unused == "stale" and case.table.extra_columns > 0,
        RICH,
        Case(seq_lens=(0,), table=BlockTable(extra_columns=1, unused="stale")),
    ),
    "a window and a narrow dtype": (
        lambda case: case.window is not None and case.dtype == "bfloat16",
        RICH,
        Case(seq_lens=(0,), window=1, dtype="bfloat16"),
    ),
}


@pytest.mark.parametrize("bug", QUALITY)
def test_the_minimal_case_of(bug: str) -> None:
    assert shrunk_bug(bug).case == QUALITY[bug][2]


def test_a_block_stride_taken_for_dense_ends_at_two_pages_of_the_smallest_cache() -> None:
    """The type specimen, ROCm/aiter PR 3498: only the second page shows it."""
    found = minimal(lambda case: block_stride_is_not_dense(case) and case.num_pages >= 2, PACKED)

    assert found.seq_lens == (2,)
    assert found.block_size == 1
    assert list(features_of(found)) == ["k"]


@pytest.mark.parametrize("bug", QUALITY)
def test_the_minimal_case_is_its_own_minimal_case(bug: str) -> None:
    predicate, _, expected = QUALITY[bug]

    assert minimal(predicate, expected) == expected


@pytest.mark.parametrize("bug", QUALITY)
def test_the_simplest_case_is_simpler(bug: str) -> None:
    _, start, expected = QUALITY[bug]

    assert simplicity_key(validate(expected)) < simplicity_key(start)


PREDICATES: dict[str, Predicate] = {
    "padding": lambda case: case.k.padded,
    "shared": shares,
    "not dense": lambda case: block_stride_is_not_dense(case) and case.num_pages >= 2,
    "offset and window": lambda case: case.k.offset > 0 and case.window is not None,
    "layer": lambda case: case.layer > 0,
    "two features": lambda case: len(features_of(case)) >= 2,
    "unlike": lambda case: case.q != case.out,
    "digest": lambda case: int(case_digest(case), 16) % 3 == 0,
}


@pytest.mark.parametrize("name", PREDICATES)
@given(data=st.data())
@settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_without_any_feature_of_the_result_nothing_fails(name: str, data: st.DataObject) -> None:
    predicate = PREDICATES[name]
    start = data.draw(decode_cases(max_seq_len=100))
    assume(predicate(start))

    result = shrunk(predicate, start)

    assert result.complete
    assert result.needed.keys() <= {*features_of(result.case), *SIZES}
    for feature in features_of(result.case):
        fewer = without_feature(result.case, feature)
        try:
            validate(fewer)
        except CaseError:
            assert feature not in result.needed
        else:
            assert not predicate(fewer)
            assert result.needed[feature] == "passes"


@given(start=decode_cases(max_seq_len=100))
@settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_only_valid_and_simpler_cases_are_run_but_for_sizes_and_none_twice(start: Case) -> None:
    tried: list[Case] = []

    def run(case: Case) -> Outcome:
        tried.append(case)
        return WRONG if case.num_blocks >= 2 or case.k.padded else FINE

    result = shrink(start, WRONG, run)

    def has_another_size(case: Case) -> bool:  # run to find out from which size on it fails
        changed = set(differences(result.case, case))
        return any(changed <= {name, *others} for name, others in SIZES.items())

    assert all(validate(case) is case for case in tried)
    assert all(simplicity_key(case) < simplicity_key(start) or has_another_size(case) for case in tried)
    assert len(set(tried)) == len(tried) == result.runs
    assert result.case in [start, *tried]


@pytest.mark.parametrize("bug", ["a window", "V interleaved with K", "two sequences share a block"])
def test_shrinking_is_deterministic(bug: str) -> None:
    predicate, start, _ = QUALITY[bug]
    sequences: list[list[Case]] = [[], []]

    def run_into(tried: list[Case]) -> Callable[[Case], Outcome]:
        return lambda case: (tried.append(case), fails_where(predicate)(case))[1]  # type: ignore[func-returns-value]

    results = [shrink(start, WRONG, run_into(tried)) for tried in sequences]

    assert results[0] == results[1]
    assert sequences[0] == sequences[1]


def test_a_few_hundred_runs_suffice() -> None:
    """A run costs some 70 ms in the interpreter and a new process after a crash."""
    assert max(shrunk_bug(bug).runs for bug in QUALITY) < 400


def test_the_outcome_is_that_of_the_minimal_case() -> None:
    def run(case: Case) -> Outcome:
        return (
            failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", f"{sum(case.seq_lens)} tokens"))
            if sum(case.seq_lens)
            else FINE
        )

    result = shrink(RICH, run(RICH), run)

    assert result.outcome == run(result.case)
    assert result.outcome.findings[0].message == "1 tokens"


def test_another_signature_is_never_accepted() -> None:
    """A simpler case that crashes is another bug."""
    result = shrink(RICH, WRONG, lambda case: WRONG if case.window is not None else CRASH)

    assert result.case == Case(seq_lens=(0,), window=1)
    assert result.outcome == WRONG
    assert result.needed == {"window": "fails as crash:call"}


def test_the_same_symptom_of_another_tensor_is_another_bug() -> None:
    lse = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "lse", "1 of 2"))

    assert shrink(RICH, WRONG, lambda case: WRONG if case.group == 3 else lse).case == Case(seq_lens=(0,), group=3)


def test_only_the_first_finding_names_the_bug() -> None:
    both = failure(Stage.COMPARE, *WRONG.findings, *CRASH.findings)

    assert shrink(RICH, both, lambda case: WRONG).case == Case(seq_lens=(0,))


@pytest.mark.parametrize("outcome", [CRASH, HANG], ids=["crash", "timeout"])
def test_crashes_and_hangs_shrink_too(outcome: Outcome) -> None:
    result = shrink(RICH, outcome, fails_where(lambda case: case.window is not None, outcome))

    assert result.case == Case(seq_lens=(0,), window=1)
    assert result.outcome == outcome


def test_a_rejected_case_is_never_accepted() -> None:
    """The target takes no float32 and no head_dim below 40: not the failure that is being shrunk."""

    def run(case: Case) -> Outcome:
        if case.dtype == "float32" or case.head_dim < 40:
            return Outcome(Status.REJECTED, Stage.BUILD, reason=f"dtype {case.dtype}")
        return WRONG

    result = shrink(RICH, WRONG, run)

    assert result.case == Case(seq_lens=(0,), dtype="float16", head_dim=40)
    assert result.needed == {}


NEEDED: dict[str, tuple[Predicate, dict[str, str]]] = {
    "group": (lambda case: case.group >= 3, {"group": "passes with 2; needs more than 2"}),
    "heads": (lambda case: case.num_kv_heads > 1, {"num_kv_heads": "passes with 1; needs more than 1"}),
    "lengths": (lambda case: max(case.seq_lens) > 20, {"seq_lens": "passes with [20]; needs more than 20 tokens"}),
    "sequences": (lambda case: case.num_seqs > 1, {"seq_lens": "passes with [0]"}),
    "two lengths": (
        lambda case: sum(length > 3 for length in case.seq_lens) > 1,
        {"seq_lens": "passes with [4] or [4, 3]"},
    ),
    "block_size": (lambda case: case.block_size >= 4, {"block_size": "passes with 3; needs more than 3"}),
    "head_dim": (lambda case: case.head_dim > 32, {"head_dim": "passes with 32; needs more than 32"}),
    "rows": (lambda case: case.head_dim == case.value_head_dim > 32, {"head_dim": "passes with 32; needs more than 32"}),
    "between": (lambda case: case.head_dim > 50, {"head_dim": "passes with 40; needs more than 50"}),
    "tiles": (
        lambda case: case.group > 2 and case.group % 16 > 0,
        {"group": "passes with 2; needs more than 2, and no multiple of 16"},
    ),
    "powers": (lambda case: case.group.bit_count() > 1, {"group": "passes with 2; needs no power of two"}),
    "one value": (lambda case: case.group == 3, {"group": "passes with 2"}),
    "dtype": (lambda case: case.dtype != "float32", {"dtype": "passes"}),
    "one token": (lambda case: case.seq_lens[0] > 0, {}),
    "nothing": (lambda case: True, {}),
}


@pytest.mark.parametrize("name", NEEDED)
def test_a_size_that_is_needed_comes_with_the_nearest_that_passes(name: str) -> None:
    predicate, needed = NEEDED[name]
    result = shrunk(predicate, replace(RICH, value_head_dim=64))

    assert {key: result.needed[key] for key in needed} == needed
    assert bool(result.needed) == bool(needed)


def test_of_two_dtypes_that_a_target_takes_the_one_that_passes_is_named() -> None:
    """The default dtype is rejected, which says nothing of the failure."""

    def run(case: Case) -> Outcome:
        if case.dtype == "float32":
            return Outcome(Status.REJECTED, Stage.BUILD, reason="dtype float32")
        return WRONG if case.dtype == "bfloat16" else FINE

    assert shrink(RICH, WRONG, run).needed == {"dtype": "passes with float16"}


def test_what_was_not_tried_is_not_needed() -> None:
    result = shrink(RICH, WRONG, lambda case: FINE, seconds=0.0)

    assert (result.complete, result.runs, result.needed) == (False, 0, {})


def test_a_failure_that_never_comes_back_leaves_the_case_as_it_was() -> None:
    result = shrink(RICH, WRONG, lambda case: FINE)

    assert result.case == RICH
    assert result.outcome == WRONG
    assert result.complete
    assert all(verdict.startswith("passes") for verdict in result.needed.values())
    assert features_of(RICH).keys() <= result.needed.keys()


def test_the_default_case_is_minimal_at_once() -> None:
    result = shrink(Case(seq_lens=(0,)), WRONG, lambda case: pytest.fail("nothing is simpler"))

    assert result == Shrunk(Case(seq_lens=(0,)), WRONG, {}, 0, True)


def test_without_time_the_case_comes_back() -> None:
    result = shrink(RICH, WRONG, fails_where(lambda case: True), seconds=0.0)

    assert result.case == RICH
    assert result.outcome == WRONG
    assert not result.complete


@pytest.mark.parametrize("seconds", [1, 7, 20])
def test_time_is_kept_but_for_one_run_a_feature(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that counts runs; what is found by then is kept."""
    clock = [0.0]

    def run(case: Case) -> Outcome:
        clock[0] += 1
        return WRONG if shares(case) and case.window is not None and case.scale is not None else FINE

    monkeypatch.setattr(shrinking, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    result = shrink(RICH, WRONG, run, float(seconds))

    assert seconds <= clock[0] <= seconds + 1 + len(features_of(result.case))
    assert not result.complete
    assert simplicity_key(result.case) < simplicity_key(RICH) or seconds == 1
    assert run(result.case) == WRONG


def test_every_pass_only_proposes() -> None:
    """Passes are pure: the same proposals each time, none of them the case itself changed in place."""
    for start in (RICH, PACKED):
        before = canonical_json(start)
        for propose in PASSES:
            assert list(propose(start)) == list(propose(start))
        assert canonical_json(start) == before


CallsPredicate = Callable[[CallSequence], bool]


def shapes(case: Case) -> tuple[object, ...]:
    return case.query_sizes(16).items(), case.head_dim, case.cache_sizes(case.head_dim).items(), case.table_sizes().items()


def stale(field: str) -> CallsPredicate:
    """A cache keyed on shapes without that field: what the first call of the shapes put there is used by the last."""

    def fails(calls: CallSequence) -> bool:
        first = next(case for case in calls if str(shapes(case)) == str(shapes(calls[-1])))
        return bool(getattr(first, field) != getattr(calls[-1], field))

    return fails


def minimal_calls(predicate: CallsPredicate, *start: Case) -> CallSequence:
    assert predicate(start)
    return shrink_calls(start, WRONG, lambda calls: WRONG if predicate(calls) else FINE).calls


OTHER = replace(PACKED, scale=None, window=None, seed=5)
STALE: dict[str, tuple[tuple[Case, ...], CallSequence]] = {
    "scale": ((PACKED, RICH, replace(RICH, scale=1.0)), (Case(seq_lens=(0,)), Case(seq_lens=(0,), scale=0.3))),
    "window": ((RICH, OTHER, replace(RICH, window=None)), (Case(seq_lens=(0,), window=1), Case(seq_lens=(0,)))),
    "q": (
        (PACKED, RICH, PACKED, replace(RICH, q=Layout(QUERY_AXES), k=RICH.v, scale=None)),
        (Case(seq_lens=(0,), q=Layout(QUERY_AXES, offset=1)), Case(seq_lens=(0,))),
    ),
    "seq_lens": ((OTHER, RICH, replace(RICH, seq_lens=(37, 0, 40, 7))), (Case(seq_lens=(1,)), Case(seq_lens=(0,)))),
    "seed": ((RICH, replace(OTHER, seed=6), OTHER, RICH, replace(RICH, seed=77)), (Case((0,), seed=1), Case((0,)))),
}


@pytest.mark.parametrize("field", STALE)
def test_stale_state_shrinks_to_two_small_calls_that_differ_in_what_the_key_lacks(field: str) -> None:
    start, expected = STALE[field]
    found = minimal_calls(stale(field), *start)

    assert len(found) == 2
    assert sort_key(found) <= sort_key(expected)
    assert stale(field)(found)


def test_only_what_is_needed_of_many_calls_stays() -> None:
    """The third window fills a cache of two."""

    def overflows(calls: CallSequence) -> bool:
        return len({case.window for case in calls if case.window}) >= 3

    windows = [replace(RICH, window=window) for window in (5, 5, 7, 5, 7, 9, 9, 4)]

    assert [case.window for case in minimal_calls(overflows, *windows)] in ([1, 2, 3], [2, 3, 1], [3, 2, 1], [1, 3, 2])


def test_a_call_that_needs_none_before_it_ends_up_alone() -> None:
    assert minimal_calls(lambda calls: calls[-1].group > 1, OTHER, PACKED, RICH) == (Case(seq_lens=(0,), group=2),)


def test_the_features_of_a_sequence_are_needed_in_all_its_calls() -> None:
    def fails(calls: CallSequence) -> bool:
        return len(calls) > 1 and all(case.dtype == "bfloat16" for case in calls) and calls[0].seed != calls[1].seed

    result = shrink_calls((RICH, OTHER), WRONG, lambda calls: WRONG if fails(calls) else FINE)

    assert result.complete
    assert result.needed == {"dtype": "passes"}
    assert result.before == (Case(seq_lens=(0,), dtype="bfloat16", seed=1),)


def test_only_valid_and_simpler_calls_are_run_and_none_twice() -> None:
    tried: list[CallSequence] = []

    def run(calls: CallSequence) -> Outcome:
        tried.append(calls)
        return WRONG if stale("scale")(calls) else FINE

    start = STALE["scale"][0]
    shrink_calls(start, WRONG, run)

    assert all(validate(case) is case for calls in tried for case in calls)
    assert all(sort_key(calls) < sort_key(start) for calls in tried)
    assert len(set(tried)) == len(tried) < 400


RULES: dict[str, tuple[StrideRules, Case]] = {
    "v_like_k": (
        StrideRules(v_like_k=True),
        Case(k=Layout(CACHE_AXES, (0, 1, 0, 0)), v=Layout(CACHE_AXES, (0, 1, 0, 0))),
    ),
    "one_slot_stride": (
        StrideRules(one_slot_stride=True),
        Case(block_size=2, k=Layout(CACHE_AXES, (0, 1, 0, 0)), v=Layout(CACHE_AXES)),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_shrunk_case_keeps_the_stride_rules_of_its_target(rule: str) -> None:
    """On axes of size 1, too: a kernel that asserts its rule would fail in another way, and so be blamed."""
    rules, simplest = RULES[rule]

    def run(case: Case) -> Outcome:
        if reason := rules.violation(case):
            return Outcome(Status.REJECTED, Stage.BUILD, reason=reason)
        strides = case.layouts()["k"].strides
        return WRONG if strides["slot"] > case.num_kv_heads * strides["head"] and "kv" not in case.k.order else FINE

    start = rules.nearest(replace(RICH, value_head_dim=64, k=Layout(CACHE_AXES, (64, 8, 8, 0), 37)))
    found = shrink(start, WRONG, run).case

    assert rules.violation(found) is None
    assert found == replace(simplest, seq_lens=(0,))


def test_without_time_the_calls_come_back() -> None:
    result = shrink_calls((OTHER, RICH), WRONG, lambda calls: WRONG, seconds=0.0)

    assert (result.calls, result.complete) == ((OTHER, RICH), False)
