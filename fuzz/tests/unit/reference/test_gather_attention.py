"""The reference is the definition: equal to formulations that share no code with it, and blind to what a sequence cannot see."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fuzz_decode.cases.case import Case
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Problem
from fuzz_decode_reference import gather_attention
from fuzz_decode_reference.gather_attention import batches_of_like_length

SMALL = decode_cases(
    head_dims=(16, 40, 72),
    block_sizes=(1, 2, 3, 16),
    groups=(1, 2, 3),
    num_kv_heads=(1, 2),
    max_seq_len=40,
    huge_spans=False,
)
TOLERANCE: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-11}


def reference(problem: Problem) -> tuple[Tensor, Tensor]:
    return gather_attention(*problem.arguments(), **problem.options())


def seen_by(case: Case) -> Iterator[tuple[int, int, range]]:
    """Row, sequence and visible tokens of each query token that sees some."""
    for row in range(case.num_seqs * case.q_len):
        seq, query = divmod(row, case.q_len)
        end = case.seq_lens[seq] - case.q_len + 1 + query
        if end > 0:
            yield row, seq, range(max(0, end - (case.window or end)), end)


def contiguous_copy(cache: Tensor, table_row: list[int], length: int) -> Tensor:
    """The tokens of one sequence [num_kv_heads, length, dim], picked one by one."""
    size = cache.shape[1]
    rows = [cache[table_row[token // size], token % size].double() for token in range(length)]
    return torch.stack(rows, dim=1).contiguous()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(SMALL)
def test_it_equals_scaled_dot_product_attention_on_contiguous_copies(case: Case) -> None:
    """With an additive mask for ALiBi; it has neither sinks nor softcap. Scores of 1e5 leave float64 with as many digits less."""
    case = dataclasses.replace(case, softcap=None, sinks=False)
    problem = build_problem(case, "cpu")
    out, _ = reference(problem)
    for row, seq, tokens in seen_by(case):
        table_row = problem.block_table[seq].tolist()
        k, v = (contiguous_copy(cache, table_row, tokens.stop)[:, tokens.start :] for cache in (problem.k_cache, problem.v_cache))
        k, v = k * (case.k_scale or 1.0), v * (case.v_scale or 1.0)
        slopes = torch.zeros(case.num_q_heads) if problem.alibi_slopes is None else problem.alibi_slopes
        mask = slopes.double()[:, None, None] * (torch.tensor(tokens) - tokens[-1])
        q = problem.q[row, :, None].double()
        expected = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=problem.scale, enable_gqa=True)
        largest = float(q.abs().amax() * k.abs().amax() * case.head_dim * problem.scale)
        error = 2.0**-50 * largest * float(v.abs().amax())
        torch.testing.assert_close(out[row], expected[:, 0], rtol=1e-11, atol=max(1e-11, error))


@settings(deadline=None, derandomize=True, max_examples=25)
@given(SMALL)
def test_it_equals_one_sum_after_another_with_every_option(case: Case) -> None:
    problem = build_problem(case, "cpu")
    out, lse = reference(problem)
    for index, seq, tokens in seen_by(case):
        for head in {0, case.num_q_heads - 1}:
            weights, rows = [], []
            for token in tokens:
                block = int(problem.block_table[seq, token // case.block_size])
                place = (block, token % case.block_size, head // case.group)
                pairs = zip(problem.q[index, head].tolist(), problem.k_cache[place].tolist(), strict=True)
                score = math.fsum(a * b for a, b in pairs) * problem.scale * (case.k_scale or 1.0)
                score = score if case.softcap is None else case.softcap * math.tanh(score / case.softcap)
                slope = 0.0 if problem.alibi_slopes is None else float(problem.alibi_slopes[head])
                weights.append(score - slope * (tokens[-1] - token))
                rows.append([number * (case.v_scale or 1.0) for number in problem.v_cache[place].tolist()])
            logits = weights if problem.sinks is None else [*weights, float(problem.sinks[head])]
            top = max(logits)
            total = math.fsum(math.exp(score - top) for score in logits)
            assert float(lse[index, head]) == pytest.approx(top + math.log(total), rel=1e-11, abs=1e-11)
            for dim in (0, case.value_head_dim - 1):
                mean = math.fsum(math.exp(score - top) / total * row[dim] for score, row in zip(weights, rows, strict=True))
                assert float(out[index, head, dim]) == pytest.approx(mean, rel=1e-9, abs=1e-11)


def test_a_tiny_example_computed_by_hand() -> None:
    q = torch.tensor([[[2.0, 0.0]]])
    k_cache = torch.tensor([[[[9.0, 9.0]]], [[[0.0, 5.0]]], [[[math.log(3.0), 7.0]]]])
    v_cache = torch.tensor([[[[9.0]]], [[[4.0]]], [[[8.0]]]])
    block_table = torch.tensor([[2, 1, 0]])  # token 0 is in block 2, token 1 in block 1
    # scores 0.5 * 2 * log 3 = log 3 and 0; weights 3/4 and 1/4; 3/4 * 8 + 1/4 * 4 = 7; log(3 + 1)
    out, lse = gather_attention(q, k_cache, v_cache, block_table, torch.tensor([2]), 0.5)
    assert float(out) == pytest.approx(7.0, rel=1e-7)
    assert float(lse) == pytest.approx(math.log(4.0), rel=1e-7)


def test_query_heads_are_grouped_by_kv_head_in_order() -> None:
    v_cache = torch.tensor([10.0, 20.0]).view(1, 1, 2, 1)
    out, _ = gather_attention(
        torch.zeros(1, 6, 4), torch.zeros(1, 1, 2, 4), v_cache, torch.zeros(1, 1, dtype=torch.int32), torch.tensor([1]), 1.0
    )
    assert out.flatten().tolist() == [10.0, 10.0, 10.0, 20.0, 20.0, 20.0]


def test_an_empty_sequence_gives_zero_and_minus_infinity_beside_a_full_one() -> None:
    problem = build_problem(Case(seq_lens=(0, 3, 0), num_kv_heads=2), "cpu")
    out, lse = reference(problem)
    assert not out[[0, 2]].any()
    assert bool((lse[[0, 2]] == -torch.inf).all())
    assert bool(torch.isfinite(lse[1]).all() and out[1].any())


@pytest.mark.parametrize("window", [1, 2, 5, 6, 7, 2**31 - 1])
def test_a_window_sees_the_last_tokens_only(window: int) -> None:
    problem = build_problem(Case(seq_lens=(6,), block_size=4, data="uniform"), "cpu")
    out, lse = gather_attention(*problem.arguments(), window=window)
    seen = contiguous_copy(problem.v_cache, problem.block_table[0].tolist(), 6)[0, -window:] if window < 6 else None
    expected = contiguous_copy(problem.v_cache, problem.block_table[0].tolist(), 6)[0] if seen is None else seen
    torch.testing.assert_close(out[0, 0], expected.mean(dim=0), **TOLERANCE)
    assert float(lse) == pytest.approx(math.log(min(window, 6)))


@settings(deadline=None, derandomize=True, max_examples=25)
@given(SMALL)
def test_nothing_but_the_visible_tokens_matters(case: Case) -> None:
    """NaN and wild table entries everywhere else, also before the window, change no bit."""
    problem = build_problem(case, "cpu")
    before = reference(problem)
    table = torch.full_like(problem.block_table, -(2**31))
    caches = [torch.full(cache.shape, torch.nan, dtype=cache.dtype) for cache in (problem.k_cache, problem.v_cache)]
    for _, seq, tokens in seen_by(case):
        for token in tokens:
            column = token // case.block_size
            block = int(problem.block_table[seq, column])
            table[seq, column] = block
            for blank, cache in zip(caches, (problem.k_cache, problem.v_cache), strict=True):
                blank[block, token % case.block_size] = cache[block, token % case.block_size]
    k, v = caches
    after = gather_attention(problem.q, k, v, table, problem.seq_lens, problem.scale, **problem.options())
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert not before[0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.uint8])
def test_the_table_may_have_any_integer_type_and_strides(dtype: torch.dtype) -> None:
    problem = build_problem(Case(seq_lens=(5, 7), block_size=2), "cpu")
    expected = reference(problem)[0]
    entries = problem.block_table
    wide = torch.full((2 * entries.shape[1], 3 * entries.shape[0]), 99, dtype=dtype)
    table = wide.T[::3, ::2]
    table.copy_(entries)
    assert not table.is_contiguous()
    out, _ = gather_attention(problem.q, problem.k_cache, problem.v_cache, table, problem.seq_lens.to(dtype), problem.scale)
    assert torch.equal(out, expected)


def test_it_answers_in_float64_whatever_it_is_given() -> None:
    for dtype in ("float32", "float16", "bfloat16"):
        out, lse = reference(build_problem(Case(dtype=dtype), "cpu"))
        assert out.dtype == lse.dtype == torch.float64


H, D, DV = 4, 16, 8  # query heads on two KV heads


def one_block(length: int, q_len: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
    """Arguments for one sequence in one block: q [q_len, H, D], caches [1, length, 2, ...]."""
    rng = torch.Generator().manual_seed(seed)
    q = torch.randn(q_len, H, D, generator=rng, dtype=torch.float64)
    k, v = (torch.randn(1, max(1, length), 2, dim, generator=rng, dtype=torch.float64) for dim in (D, DV))
    return q, k, v, torch.zeros(1, 1, dtype=torch.int32), torch.tensor([length]), 0.3


def plain_scores(q: Tensor, k_cache: Tensor, scale: float) -> Tensor:
    """[q_len, H, length]"""
    return torch.einsum("qhd,thd->qht", q, k_cache[0].repeat_interleave(2, dim=1)) * scale


def plain_out(weights: Tensor, v_cache: Tensor) -> Tensor:
    return torch.einsum("qht,thd->qhd", weights, v_cache[0].repeat_interleave(2, dim=1))


def test_sinks_are_one_more_column_of_the_softmax_that_has_no_value() -> None:
    arguments = q, k, v, *_ = one_block(7)
    sinks = torch.tensor([-1.0, 0.0, 3.0, 40.0])
    out, lse = gather_attention(*arguments, sinks=sinks)
    scores = torch.cat([plain_scores(q, k, 0.3), sinks.double().view(1, H, 1)], dim=-1)
    torch.testing.assert_close(out, plain_out(scores.softmax(dim=-1)[..., :-1], v), **TOLERANCE)
    torch.testing.assert_close(lse, scores.logsumexp(dim=-1), **TOLERANCE)
    assert not torch.allclose(out, gather_attention(*arguments)[0])


def test_a_sink_of_minus_infinity_is_none() -> None:
    arguments = one_block(3)
    for got, plain in zip(
        gather_attention(*arguments, sinks=torch.full((H,), -torch.inf)), gather_attention(*arguments), strict=True
    ):
        assert torch.equal(got, plain)


@pytest.mark.parametrize("softcap", [None, 0.5])
@pytest.mark.parametrize("q_len", [1, 3])
def test_alibi_adds_slope_times_distance_after_the_softcap(q_len: int, softcap: float | None) -> None:
    arguments = q, k, v, *_ = one_block(6, q_len)
    slopes = torch.tensor([0.5, 0.25, 0.125, 2.0])
    out, lse = gather_attention(*arguments, alibi_slopes=slopes, softcap=softcap, q_len=q_len)
    scores = plain_scores(q, k, 0.3)
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    distance = torch.arange(6)[None, :] - (6 - q_len + torch.arange(q_len))[:, None]
    scores = scores + slopes.double().view(1, H, 1) * distance[:, None]
    scores = scores.masked_fill(distance[:, None] > 0, -torch.inf)
    torch.testing.assert_close(out, plain_out(scores.softmax(dim=-1), v), **TOLERANCE)
    torch.testing.assert_close(lse, scores.logsumexp(dim=-1), **TOLERANCE)


def test_scales_multiply_what_is_stored() -> None:
    arguments = q, k, v, table, lengths, scale = one_block(5)
    out, lse = gather_attention(*arguments, k_scale=0.3, v_scale=1.7)
    expected, expected_lse = gather_attention(q, k * 0.3, v * 1.7, table, lengths, scale)
    torch.testing.assert_close(out, expected, **TOLERANCE)
    torch.testing.assert_close(lse, expected_lse, **TOLERANCE)
    assert not torch.allclose(out, gather_attention(*arguments, k_scale=0.3)[0])
    assert not torch.allclose(out, gather_attention(*arguments, v_scale=1.7)[0])


@pytest.mark.parametrize("cache_dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_caches_are_read_as_torch_widens_them(cache_dtype: torch.dtype) -> None:
    q, k, v, *rest = one_block(5)
    narrow = k.to(cache_dtype), v.to(cache_dtype)
    wide = narrow[0].double(), narrow[1].double()
    for got, expected in zip(gather_attention(q, *narrow, *rest), gather_attention(q, *wide, *rest), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("window", [None, 1, 2, 3, 8])
@pytest.mark.parametrize("q_len", [1, 2, 5, 7])
def test_a_query_token_sees_the_window_that_ends_with_itself(q_len: int, window: int | None) -> None:
    """Windows narrower than q_len, too."""
    arguments = q, k, v, *_ = one_block(7, q_len)
    out, lse = gather_attention(*arguments, q_len=q_len, window=window)
    key, query = torch.arange(7)[None, :], (7 - q_len + torch.arange(q_len))[:, None]
    hidden = (key > query) | (key <= query - (window or 99))
    scores = plain_scores(q, k, 0.3).masked_fill(hidden[:, None], -torch.inf)
    torch.testing.assert_close(out, plain_out(scores.softmax(dim=-1), v), **TOLERANCE)
    torch.testing.assert_close(lse, scores.logsumexp(dim=-1), **TOLERANCE)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_query_tokens_before_the_sequence_see_nothing(length: int) -> None:
    """More query tokens than tokens: the first ones give 0 and -inf, sinks or not, and the last are those of a shorter q."""
    q, k, v, table, lengths, scale = one_block(length, 3)
    sinks, slopes = torch.tensor([-1.0, 0.0, 3.0, 9.0]), torch.ones(H)
    out, lse = gather_attention(q, k, v, table, lengths, scale, q_len=3, sinks=sinks, alibi_slopes=slopes, window=2)
    assert not out[: 3 - length].any()
    assert bool((lse[: 3 - length] == -torch.inf).all())
    if length:
        seen = gather_attention(
            q[-length:], k, v, table, lengths, scale, q_len=length, sinks=sinks, alibi_slopes=slopes, window=2
        )
        assert torch.equal(out[-length:], seen[0])
        assert torch.equal(lse[-length:], seen[1])


def test_the_query_tokens_of_a_sequence_stand_together() -> None:
    """Row 2 * seq + query, each with its own sequence's tokens."""
    problem = build_problem(Case(seq_lens=(3, 5), q_len=2, block_size=2, num_kv_heads=2, group=2), "cpu")
    q, k, v, table, lengths, scale = problem.arguments()
    both = gather_attention(q, k, v, table, lengths, scale, q_len=2)
    for seq in range(2):
        rows = slice(2 * seq, 2 * seq + 2)
        alone = gather_attention(q[rows], k, v, table[seq : seq + 1], lengths[seq : seq + 1], scale, q_len=2)
        assert torch.equal(both[0][rows], alone[0])
        assert torch.equal(both[1][rows], alone[1])


@given(st.lists(st.integers(-3, 70)), st.integers(1, 100))
def test_batches_hold_every_row_that_sees_something_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = list(batches_of_like_length(lengths, budget))
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == [row for row, length in enumerate(lengths) if length > 0]
    assert [lengths[row] for row in rows] == sorted((length for length in lengths if length > 0), reverse=True)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= budget for batch in batches)


def test_infinite_values_stay_in_the_rows_that_see_them() -> None:
    """Short rows are padded to the length of long ones: neither what stands there nor 0 * inf may reach a result."""
    problem = build_problem(Case(seq_lens=(9, 1, 4), num_kv_heads=2, block_size=16), "cpu")
    before = reference(problem)[0]
    for seq in range(3):
        problem.v_cache[problem.block_table[seq, 0], 0, 0, 0] = math.inf  # seen by one sequence each
        out = reference(problem)[0]
        assert out[seq, 0, 0] == math.inf
        out[seq, 0, 0] = before[seq, 0, 0]
        assert torch.equal(out, before)
        problem.v_cache[problem.block_table[seq, 0], 0, 0, 0] = float(
            problem.values.v[int(problem.values.tokens.of_seq[seq][0]), 0, 0]
        )
