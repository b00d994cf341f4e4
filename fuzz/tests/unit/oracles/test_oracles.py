"""Each oracle fires on a target that only it catches, and none fires on an honest one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
import sample_targets
import torch
from hypothesis import given, settings
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.oracles.catalogue import IMMEDIATE
from fuzz_decode.oracles.completeness import written
from fuzz_decode.oracles.expected import expect, rounding_of
from fuzz_decode.oracles.guards import inputs_intact, no_stray_writes, snapshot
from fuzz_decode.oracles.kernel_run import KernelRun, index_of
from fuzz_decode.oracles.numeric import within_bound
from fuzz_decode.oracles.provenance import reads_what_it_should
from fuzz_decode.outcome import Outcome, Status, Violation
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.poison import poison_out
from fuzz_decode.targets import Arithmetic
from fuzz_decode.targets.target import target_from_function
from fuzz_decode_reference import Rounding

Change = Callable[[Tensor, Tensor], Tensor]  # of what is exact and what is allowed
PADDED = Layout(QUERY_AXES, (0, 3, 0), 5)
TWO = Case(seq_lens=(3, 2), num_kv_heads=2, block_size=2)
THREE = ("out", "window", "softcap")
TAGGED = Case(seq_lens=(4,), head_dim=16, block_size=4, dtype="bfloat16", data="tagged")


def outcome(case: Case, fn: Callable[..., Any], **limits: Any) -> Outcome:
    return run_case(validate(case), target_from_function("sample", fn, **limits), "cpu")


def only_finding(case: Case, fn: Callable[..., Any], **limits: Any) -> Violation:
    """The one complaint about the target."""
    (finding,) = outcome(case, fn, **limits).findings
    return finding


@settings(deadline=None, derandomize=True, max_examples=40)
@given(decode_cases(max_seq_len=100, head_dims=(16, 40, 128), block_sizes=(1, 16, 3, 64), options=THREE, huge_spans=False))
def test_an_honest_target_passes_whatever_is_drawn(case: Case) -> None:
    assert outcome(case, sample_targets.honest).status == Status.PASSED


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=60)
@given(decode_cases(max_seq_len=100, head_dims=(16, 40, 128), block_sizes=(1, 16, 3, 64), huge_spans=False))
def test_an_honest_target_with_every_option_passes_whatever_is_drawn(case: Case) -> None:
    assert outcome(case, sample_targets.honest_in_everything).status == Status.PASSED


IGNORED = {
    "ignores_the_sinks": Case(seq_lens=(3,), sinks=True),
    "ignores_the_slopes": Case(seq_lens=(3,), alibi=True),
    "ignores_k_scale": Case(seq_lens=(3,), cache_dtype="float8_e4m3fn", k_scale=0.5, v_scale=0.5),
    "ignores_v_scale": Case(cache_dtype="float8_e5m2", k_scale=0.5, v_scale=0.5),
    "lets_query_tokens_see_later_ones": Case(seq_lens=(2,), q_len=2),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", IGNORED)
def test_an_option_that_is_ignored_is_a_wrong_value(name: str, dtype: str) -> None:
    """On the smallest case that has the option, in every dtype."""
    case = dataclasses.replace(IGNORED[name], dtype=dtype)
    assert outcome(case, getattr(sample_targets, name)).signature == "wrong-value:out"
    assert outcome(case, sample_targets.honest_in_everything).status == Status.PASSED


@pytest.mark.slow
@pytest.mark.parametrize("name", IGNORED)
def test_an_option_that_is_ignored_is_found_by_drawing(name: str) -> None:
    """Within the first 200 cases of a campaign, and never without the option."""
    target = target_from_function("sample", getattr(sample_targets, name))
    space = dataclasses.replace(target.case_space(), max_seq_len=60, head_dims=(16,), huge_spans=False)
    drawn = islice(case_stream(0, space), 200)
    found = [case for case in drawn if IGNORED[name].options() <= case.options() and run_case(case, target, "cpu").findings]
    assert found


def test_provenance_divides_by_v_scale() -> None:
    """What is decoded is what V holds, and where a tag is read wrongly, the finding says which query token read it."""
    case = Case(
        seq_lens=(6,), head_dim=16, block_size=4, data="tagged", cache_dtype="float8_e4m3fn", k_scale=0.3, v_scale=1.7, q_len=2
    )
    assert outcome(case, sample_targets.honest_in_everything).status == Status.PASSED
    problem = build_problem(case, "cpu")
    exact = expect(problem, target_from_function("sample", sample_targets.honest_in_everything))
    out = exact.out.float()
    out[1] = problem.v_cache[0, 0, 0].float() * 1.7
    (finding,) = reads_what_it_should(problem, KernelRun(out, None, exact, {}))
    assert finding.message.startswith("sequence 0, query token 1, q head 0 read block 0 slot 0 head 0, expected block ")


@settings(deadline=None, derandomize=True, max_examples=10)
@given(decode_cases(max_seq_len=50, head_dims=(16, 72), options=(), min_seq_len=1, huge_spans=False))
def test_an_honest_target_that_returns_out_alone_passes(case: Case) -> None:
    assert outcome(case, sample_targets.only_out).status == Status.PASSED


def test_an_honest_target_passes_on_huge_spans_and_block_ids() -> None:
    far = Layout(FAMILIES["interleaved"], (2**31, 0, 0, 0, 0))
    assert (
        outcome(Case(seq_lens=(3,), block_size=2, dtype="float16", k=far, v=None), sample_targets.honest).status == Status.PASSED
    )
    high = BlockTable(first_block=70_000)
    assert outcome(Case(seq_lens=(3,), block_size=2, data="tagged", table=high), sample_targets.honest).status == Status.PASSED


@pytest.mark.parametrize("data", ["gaussian", "large", "uniform", "tagged"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_honest_target_passes_on_each_kind_of_data(data: str, dtype: str) -> None:
    case = Case(seq_lens=(70, 0, 1), num_kv_heads=2, group=3, head_dim=128, value_head_dim=40, block_size=16)
    case = dataclasses.replace(case, dtype=dtype, data=data)
    assert outcome(case, sample_targets.honest).status == Status.PASSED


def run_with(case: Case, out: Change | None, lse: Change | None = None) -> list[Violation]:
    """What all oracles say of an answer made from the exact one and what is allowed."""
    problem = build_problem(case, "cpu")
    expected = expect(problem, target_from_function("sample", sample_targets.honest))
    bound = expected.bound
    got = expected.out if out is None else out(expected.out, bound.out)
    got_lse = None if lse is None else lse(expected.lse, bound.lse).float()
    problem.out.copy_(got)
    run = KernelRun(problem.out, got_lse, expected, snapshot(problem))
    return [finding for oracle in IMMEDIATE for finding in oracle(problem, run)]


@pytest.mark.parametrize("sign", [1, -1])
def test_numeric_fires_a_little_beyond_the_bound_and_not_within(sign: int) -> None:
    assert run_with(TWO, lambda exact, allowed: exact + 0.98 * sign * allowed) == []
    (finding,) = run_with(TWO, lambda exact, allowed: exact + 1.02 * sign * allowed)
    assert (finding.oracle, finding.signature, finding.wrong, finding.total) == ("numeric", "wrong-value:out", 64, 64)


def test_numeric_fires_on_lse_alone() -> None:
    assert run_with(TWO, None, lambda exact, allowed: exact + 0.9 * allowed) == []
    (finding,) = run_with(TWO, None, lambda exact, allowed: exact - 1.1 * allowed)
    assert (finding.oracle, finding.signature) == ("numeric", "wrong-value:lse")


def test_numeric_names_the_worst_element_and_its_values() -> None:
    def damage(exact: Tensor, allowed: Tensor) -> Tensor:
        got = exact.clone()
        got[0, 1, 3] += 2 * allowed[0, 1, 3]
        got[1, 0, 7] += 9 * allowed[1, 0, 7]
        return got

    (finding,) = run_with(TWO, damage)
    assert (finding.where, finding.wrong) == ((1, 0, 7), 2)
    assert finding.got is not None
    assert finding.expected is not None
    assert finding.allowed is not None
    assert 8.5 < (finding.got - finding.expected) / finding.allowed < 9.5


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_only_numeric_catches_a_value_that_is_a_little_off(dtype: str) -> None:
    case = Case(seq_lens=(1,), dtype=dtype)
    finding = only_finding(case, sample_targets.five_percent_off)
    assert (finding.oracle, finding.signature, finding.where, finding.wrong) == ("numeric", "wrong-value:out", (0, 0, 15), 1)


def test_written_tells_rows_that_were_left() -> None:
    finding = only_finding(TWO, sample_targets.leaves_the_last_row)
    assert (finding.oracle, finding.signature, finding.where, finding.wrong) == ("written", "unwritten:out", (1, 0, 0), 32)


def test_written_tells_nan_from_unwritten() -> None:
    finding = only_finding(TWO, sample_targets.stores_nan)
    assert (finding.oracle, finding.signature, finding.where, finding.wrong) == ("written", "wrong-value:out", (0, 0, 15), 1)


def test_written_wants_minus_infinity_where_a_sequence_is_empty() -> None:
    finding = only_finding(Case(seq_lens=(2, 0), data="uniform"), sample_targets.lse_of_the_empty_is_zero)
    assert (finding.oracle, finding.signature, finding.where) == ("written", "wrong-value:lse", (1, 0))


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_written_wants_finite_values_where_they_are_finite(value: float) -> None:
    (finding,) = run_with(TWO, lambda exact, allowed: torch.full_like(exact, value))
    assert (finding.oracle, finding.signature, finding.wrong) == ("written", "wrong-value:out", 64)


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 0.0])
def test_an_empty_sequence_has_no_other_lse_than_minus_infinity(value: float) -> None:
    findings = run_with(Case(seq_lens=(0,)), None, lambda exact, allowed: torch.full_like(exact, value))
    assert [finding.signature for finding in findings] == ["wrong-value:lse"]


def test_a_result_that_was_allocated_and_not_filled_is_noticed() -> None:
    def lazy(q: Tensor, *rest: Any) -> Tensor:
        return torch.empty_like(q)

    assert only_finding(TWO, lazy).signature == "wrong-value:out"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_untouched_out_is_unwritten_in_every_dtype(dtype: str) -> None:
    def idle(q: Tensor, k: Tensor, v: Tensor, t: Tensor, n: Tensor, scale: float, *, out: Tensor) -> Tensor:
        return out

    finding = only_finding(Case(dtype=dtype, out=PADDED), idle)
    assert (finding.signature, finding.wrong, finding.total) == ("unwritten:out", 16, 16)


@pytest.mark.parametrize(
    ("fn", "place_of_first"),
    [
        (sample_targets.writes_one_past_out, 64),
        (sample_targets.writes_one_before_out, -1),
        (sample_targets.writes_between_the_rows_of_out, 16),
    ],
)
def test_guards_catch_a_write_around_out(fn: Callable[..., Any], place_of_first: int) -> None:
    padded = fn is sample_targets.writes_between_the_rows_of_out
    finding = only_finding(dataclasses.replace(TWO, out=PADDED) if padded else TWO, fn)
    assert (finding.oracle, finding.signature, finding.where) == ("guards", "stray-write:out", (place_of_first,))
    assert (finding.wrong, finding.got) == (1, 0)


@pytest.mark.parametrize(
    ("fn", "tensor", "case"),
    [
        (sample_targets.clears_the_block_table, "block_table", TWO),
        (sample_targets.scales_q_in_place, "q", TWO),
        (sample_targets.shortens_the_sequences, "seq_lens", TWO),
        (sample_targets.writes_a_live_v, "v", TWO),
        (sample_targets.writes_a_live_v, "k", dataclasses.replace(TWO, k=Layout(FAMILIES["packed"]), v=None)),
        (sample_targets.writes_into_a_gap_of_k, "k", dataclasses.replace(TWO, k=Layout(CACHE_AXES, (8, 0, 0, 0)))),
    ],
)
def test_guards_catch_a_changed_input(fn: Callable[..., Any], tensor: str, case: Case) -> None:
    finding = only_finding(case, fn)
    assert (finding.oracle, finding.signature) == ("guards", f"input-modified:{tensor}")
    assert finding.wrong > 0


def test_guards_see_a_changed_live_row_of_a_huge_cache() -> None:
    far = Layout(CACHE_AXES, (2**27, 0, 0, 0))
    case = Case(seq_lens=(3,), block_size=2, v=far)
    assert only_finding(case, sample_targets.writes_a_live_v).signature == "input-modified:v"


def test_damaged_memory_outranks_the_value_that_is_wrong_because_of_it() -> None:
    def rude(q: Tensor, *rest: Any, out: Tensor) -> None:
        out.fill_(3.0)
        rest[0].fill_(2.0)

    symptoms = [finding.symptom for finding in outcome(TWO, rude).findings]
    assert symptoms == ["input-modified", "wrong-value"]


def test_only_determinism_catches_noise_in_the_last_bit() -> None:
    finding = only_finding(TWO, sample_targets.flickers)
    assert (finding.oracle, finding.signature, finding.wrong) == ("determinism", "nondeterministic:out", 64)


def test_a_target_may_declare_that_it_is_not_deterministic() -> None:
    assert outcome(TWO, sample_targets.flickers_and_says_so).status == Status.PASSED


def test_only_relayout_catches_bits_that_depend_on_the_layout() -> None:
    case = dataclasses.replace(TWO, k=Layout(FAMILIES["interleaved"]), v=None)
    finding = only_finding(case, sample_targets.minds_the_block_stride)
    assert (finding.oracle, finding.signature, finding.wrong) == ("relayout", "layout-dependent:out", 64)
    assert outcome(TWO, sample_targets.minds_the_block_stride).status == Status.PASSED


def test_a_layout_dependent_last_bit_is_no_finding_unless_the_target_promises_otherwise() -> None:
    case = dataclasses.replace(TWO, k=Layout(FAMILIES["interleaved"]), v=None)
    assert outcome(case, sample_targets.minds_the_block_stride, arithmetic=Arithmetic()).status == Status.PASSED


def test_a_target_that_is_wrong_on_the_plain_layout_only_is_reported_as_what_it_is() -> None:
    def hates_plain(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
        out = sample_targets.honest(q, k_cache, *rest)[0]
        return out if k_cache.stride(0) != k_cache[0].numel() else out * 2

    case = dataclasses.replace(TWO, k=Layout(FAMILIES["interleaved"]), v=None)
    finding = only_finding(case, hates_plain, arithmetic=Arithmetic(same_bits_anywhere=True))
    assert (finding.oracle, finding.signature) == ("numeric", "wrong-value:out")


@pytest.mark.parametrize("same_bits_anywhere", [True, False])
def test_a_target_may_use_its_own_out_again(same_bits_anywhere: bool) -> None:
    """A kept workspace holds the second answer while the first is compared."""
    kept = torch.zeros(TWO.num_seqs, TWO.num_q_heads, TWO.value_head_dim)

    def frugal(q: Tensor, *rest: Any) -> Tensor:
        return kept.copy_(sample_targets.flickers(q, *rest))

    finding = only_finding(TWO, frugal, arithmetic=Arithmetic(same_bits_anywhere=same_bits_anywhere))
    assert finding.oracle in {"determinism", "relayout"}


def test_only_provenance_catches_a_neighbour_where_the_bound_is_blind() -> None:
    finding = only_finding(TAGGED, sample_targets.reads_the_next_slot)
    assert (finding.oracle, finding.signature, finding.wrong, finding.total) == ("provenance", "wrong-value:out", 1, 1)
    slot = int(finding.message.rpartition("slot ")[2].split()[0])
    assert f"read block 0 slot {(slot - 1) % 4} head 0, expected block 0 slot {slot} head 0" in finding.message


def test_provenance_names_block_slot_and_head_of_what_was_read() -> None:
    """Block ids beyond one digit, several KV heads; the answer belongs to another sequence."""
    table = BlockTable(first_block=5000, placement="reversed")
    case = Case(seq_lens=(3, 9), num_kv_heads=3, block_size=3, data="tagged", table=table, seed=1)
    problem = build_problem(case, "cpu")
    exact = expect(problem, target_from_function("sample", sample_targets.honest))
    swapped = KernelRun(exact.out.flip(0, 1).float(), None, exact, {})
    (finding,) = reads_what_it_should(problem, swapped)
    assert finding.where[:2] == (0, 0)
    assert abs(finding.got - finding.expected) > finding.allowed  # type: ignore[operator]  # all three are there
    assert finding.reads.splitlines()[0] == finding.message
    assert len(finding.reads.splitlines()) == finding.wrong
    assert " head 2, expected " in finding.message
    assert finding.message.endswith(" head 0")
    assert finding.message.count("block 500") == 2
    assert reads_what_it_should(problem, dataclasses.replace(swapped, out=exact.out.float())) == []


def test_provenance_says_when_no_single_token_was_read() -> None:
    problem = build_problem(dataclasses.replace(TAGGED, dtype="float32"), "cpu")
    exact = expect(problem, target_from_function("sample", sample_targets.honest))
    (finding,) = reads_what_it_should(problem, KernelRun(exact.out.float() * 0.5, None, exact, {}))
    assert "read no single token, expected block 0" in finding.message


def test_provenance_has_nothing_to_say_of_other_data_or_empty_sequences() -> None:
    for case in (TWO, Case(seq_lens=(0, 0), data="tagged")):
        problem = build_problem(case, "cpu")
        exact = expect(problem, target_from_function("sample", sample_targets.honest))
        assert reads_what_it_should(problem, KernelRun(exact.out.float() + 1, None, exact, {})) == []


def test_an_exception_is_a_finding_that_names_its_type_and_place() -> None:
    result = outcome(TWO, sample_targets.raises_key_error)
    assert (result.status, result.stage, result.signature) == (Status.FAILED, "run", "exception-KeyError:call")
    message = result.findings[0].message
    assert message.startswith("KeyError: ")
    assert " at sample_targets.py:" in message
    assert "\n" not in message


def test_not_implemented_is_a_rejection_with_its_reason() -> None:
    result = outcome(TWO, sample_targets.cannot)
    assert (result.status, result.stage, result.findings) == (Status.REJECTED, "run", ())
    assert result.reason == "NotImplementedError: head_dim of 16"


def test_an_unsupported_case_is_rejected_before_anything_is_built() -> None:
    result = outcome(dataclasses.replace(TWO, window=3), sample_targets.only_out)
    assert (result.status, result.stage, result.reason) == (Status.REJECTED, "build", "no window")


@pytest.mark.parametrize(
    ("fn", "what", "words"),
    [
        (sample_targets.returns_none, "shape", "out is NoneType, not a tensor"),
        (sample_targets.returns_three, "shape", "the target returned a tuple of 3, not out or (out, lse)"),
        (sample_targets.returns_double, "dtype", "out is [2, 2, 16] torch.float64 on cpu, not [2, 2, 16] torch.float32 on cpu"),
        (sample_targets.returns_a_flat_out, "shape", "out is [2, 32] torch.float32 on cpu, not [2, 2, 16] torch.float32 on cpu"),
        (sample_targets.returns_a_half_lse, "dtype", "lse is [2, 2] torch.float16 on cpu, not [2, 2] torch.float32 on cpu"),
        (sample_targets.returns_a_list_for_lse, "shape", "lse is a list of 2, not a tensor"),
        (
            sample_targets.returns_out_elsewhere,
            "device",
            "out is [2, 2, 16] torch.float32 on meta, not [2, 2, 16] torch.float32 on cpu",
        ),
    ],
)
def test_a_wrong_shape_dtype_or_device_is_a_finding(fn: Callable[..., Any], what: str, words: str) -> None:
    result = outcome(TWO, fn)
    tensor = "lse" if words.startswith("lse") else "out"
    assert (result.status, result.signature, result.findings[0].message) == (Status.FAILED, f"wrong-{what}:{tensor}", words)


def test_a_transposed_lse_is_a_finding() -> None:
    assert outcome(Case(seq_lens=(3, 2), num_kv_heads=3), sample_targets.returns_a_transposed_lse).signature == "wrong-shape:lse"
    assert outcome(TWO, sample_targets.returns_a_transposed_lse).signature == "wrong-value:lse"


def test_a_target_with_out_may_return_nothing_and_lse_may_be_none() -> None:
    def silent(q: Tensor, *rest: Any, out: Tensor) -> None:
        sample_targets.honest(q, *rest, out=out)

    assert outcome(TWO, silent).status == Status.PASSED
    assert outcome(TWO, sample_targets.returns_no_lse).status == Status.PASSED


def test_only_options_that_the_target_has_are_passed() -> None:
    seen: dict[str, Any] = {}

    def curious(q: Tensor, *rest: Any, window: int | None = 99, **more: Any) -> Tensor:
        seen.update(more, window=window)
        return sample_targets.honest(q, *rest, window=window)[0]

    assert outcome(dataclasses.replace(TWO, window=2), curious).status == Status.PASSED
    assert seen == {"window": 2}


class InterpreterError(Exception):
    """As Triton's interpreter wraps what a kernel raises, once for each jitted function around it."""


@pytest.mark.parametrize(
    ("raised", "status", "signature"),
    [
        (NotImplementedError("inline_asm not supported in interpreter mode"), Status.REJECTED, ""),
        (NameError("name 'offs_d' is not defined"), Status.FAILED, "exception-NameError:call"),
    ],
)
def test_what_a_kernel_raises_in_the_interpreter_is_judged_as_it_is(raised: Exception, status: str, signature: str) -> None:
    def raises(q: Tensor, *rest: Any) -> Tensor:
        try:
            try:
                raise raised
            except Exception as inner:
                raise InterpreterError(repr(inner)) from inner
        except Exception as outer:
            raise InterpreterError(repr(outer)) from outer

    found = outcome(TWO, raises)
    assert (found.status, found.signature) == (status, signature)


def test_scratch_that_the_target_allocates_comes_dirty() -> None:
    def hopes_for_zeros(q: Tensor, *rest: Any) -> Tensor:
        return sample_targets.honest(q, *rest)[0] + torch.empty(q.shape[:2])[..., None]

    assert outcome(TWO, hopes_for_zeros).signature == "wrong-value:out"


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_follows_what_the_target_declares(dtype: str) -> None:
    unit = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}

    def rounding(*, interpreted: bool = True, **declared: str) -> Rounding:
        return rounding_of(Arithmetic(**declared), Case(dtype=dtype), interpreted=interpreted)  # type: ignore[arg-type]  # words only

    assert (rounding().out, rounding().probabilities, rounding().scores) == (unit[dtype], unit[dtype], 0.0)
    assert rounding(probabilities="float32").probabilities == unit["float32"]
    assert rounding(scores="input").scores == 2 * unit[dtype]
    assert rounding().score_sums == unit["float32"]
    assert rounding(score_sums="input").score_sums == unit[dtype]
    assert rounding(dots="float32", interpreted=False) == rounding()


def test_on_a_gpu_plain_dots_make_tf32_of_float32_only() -> None:
    def gpu(dtype: str) -> Rounding:
        return rounding_of(Arithmetic(), Case(dtype=dtype), interpreted=False)

    assert (gpu("float32").scores, gpu("float32").probabilities) == (2 * 2.0**-10, 2.0**-24 + 2 * 2.0**-10)
    assert gpu("float16") == rounding_of(Arithmetic(), Case(dtype="float16"), interpreted=True)


def test_oracles_say_nothing_of_an_exact_answer() -> None:
    assert run_with(TWO, lambda exact, allowed: exact, lambda exact, allowed: exact) == []


def test_poisoned_out_is_all_unwritten() -> None:
    problem = build_problem(dataclasses.replace(TWO, out=PADDED), "cpu")
    expected = expect(problem, target_from_function("sample", sample_targets.honest))
    before = snapshot(problem)
    problem.buffers["out"].storage.zero_()
    run = KernelRun(problem.out, None, expected, before)
    assert len(no_stray_writes(problem, run)) == 1
    poison_out(problem)
    assert no_stray_writes(problem, run) == inputs_intact(problem, run) == within_bound(problem, run) == []
    assert [finding.wrong for finding in written(problem, run)] == [64]


def test_tables_in_any_layout_are_watched() -> None:
    case = dataclasses.replace(TWO, table=BlockTable(layout=Layout(TABLE_AXES[::-1], (3, 2), 5), extra_columns=2))
    assert only_finding(case, sample_targets.clears_the_block_table).signature == "input-modified:block_table"


@pytest.mark.parametrize("shape", [(7,), (2, 3), (4, 1, 5)])
def test_place_is_the_index_of_a_flat_position(shape: tuple[int, ...]) -> None:
    numbers = torch.arange(torch.Size(shape).numel()).view(shape)
    for flat in numbers.flatten().tolist():
        assert int(numbers[index_of(flat, numbers.shape)]) == flat


NARROW_SUMS = Arithmetic(scores="input", score_sums="input")


def nan_in_out(q: Tensor, *rest: Any) -> Tensor:
    out, _ = sample_targets.honest(q, *rest)
    out[0, 0, 0] = torch.nan
    return out


@pytest.mark.parametrize("data", ["gaussian", "large", "tagged"])
def test_nan_is_a_finding_however_wide_the_bound_is(data: str) -> None:
    """float16 sums of these data do not overflow, since q is made small enough for the target."""
    case = Case(seq_lens=(9,), head_dim=256, value_head_dim=256, block_size=16, dtype="float16", data=data)
    finding = only_finding(case, nan_in_out, arithmetic=NARROW_SUMS)
    assert (finding.symptom, finding.oracle) == ("wrong-value", "written")
    assert finding.allowed is not None
    assert finding.allowed < 200


def test_nothing_is_reported_where_the_declared_arithmetic_overflows() -> None:
    """A scale of 1e6 exceeds float16 in q * scale, whatever q is."""
    case = Case(seq_lens=(9,), block_size=16, dtype="float16", scale=1e6)
    narrow = Arithmetic(scores="input")
    assert outcome(case, nan_in_out, arithmetic=narrow).status == Status.PASSED
    assert only_finding(case, nan_in_out).symptom == "wrong-value"
    assert only_finding(dataclasses.replace(case, dtype="bfloat16"), nan_in_out, arithmetic=narrow).symptom == "wrong-value"
