"""The error bound is sound (no honest kernel is outside) and sharp (leave a term out and an honest kernel is)."""

from __future__ import annotations

import dataclasses
import math
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import CACHE_DTYPES
from fuzz_decode.cases.validity import validate
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets import Arithmetic
from fuzz_decode_reference import ErrorBound, Rounding, error_bound, gather_attention
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF, _sums_exactly
from fuzz_decode_reference.gather_attention import QueryRow, locate

LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as plain torch: what it rounds, and how it cuts and orders its sums."""

    probabilities: str = "float32"
    round_scores: bool = False  # q * scale is rounded to q's dtype
    sum_rounded: bool = False  # the denominator sums the rounded P
    base2: bool = False
    tanh: float = 0.0  # relative error of softcap's tanh, up on every second token and down on the others
    dequantises: bool = False  # K * k_scale and V * v_scale are rounded to q's dtype
    absolute_positions: bool = False  # ALiBi adds slope * key position: a constant more than the definition
    seed: int = 0
    tile: int = 8
    splits: int = 2

    def rounding(self, dtype: str) -> Rounding:
        scores = 2 * UNIT_ROUNDOFF[dtype] if self.round_scores else 0.0
        unit, weights = UNIT_ROUNDOFF[dtype], self.probabilities
        dequantised = (unit, TINY[dtype]) if self.dequantises else (0.0, 0.0)
        return Rounding(
            out=unit,
            out_tiny=TINY[dtype],
            probabilities=UNIT_ROUNDOFF[weights],
            probabilities_tiny=TINY[weights],
            scores=scores,
            tanh=self.tanh,
            scaled_after_sum=self.dequantises,
            dequantised=dequantised[0],
            dequantised_tiny=dequantised[1],
            denominator=UNIT_ROUNDOFF[weights] if weights in CACHE_DTYPES else 0.0,
        )

    def __call__(self, problem: Problem) -> tuple[Tensor, Tensor]:
        case = problem.case
        out = torch.zeros(case.num_rows, case.num_q_heads, case.value_head_dim, dtype=problem.q.dtype)
        lse = torch.full((case.num_rows, case.num_q_heads), -torch.inf)
        for row in range(case.num_rows):
            seq, query = divmod(row, case.q_len)
            end = case.seq_lens[seq] - case.q_len + 1 + query
            first = max(0, end - (case.window or end))
            if end > 0:
                blocks, slots = locate(problem.block_table, seq, torch.arange(first, end), case.block_size)
                k = self._stored(problem.k_cache[blocks, slots], problem, case.k_scale)
                v = self._stored(problem.v_cache[blocks, slots], problem, case.v_scale)
                scores = self._scores(problem.q[row], k, problem.scale * self._left(case.k_scale), case.softcap)
                shift = self._shift(problem.alibi_slopes, end)
                scores = self._with_alibi(scores, problem.alibi_slopes, first, end)
                sinks = None if problem.sinks is None else problem.sinks + shift
                out[row], lse[row] = self._row(scores, v, sinks, self._left(case.v_scale))
                lse[row] -= shift
        return out, lse

    def _stored(self, rows: Tensor, problem: Problem, scale: float | None) -> Tensor:
        """What is multiplied with [tokens, q heads, dim]."""
        wide = rows.float().repeat_interleave(problem.case.group, dim=1)
        return (wide * (scale or 1.0)).to(problem.q.dtype).float() if self.dequantises else wide

    def _left(self, scale: float | None) -> float:
        """The factor that is not yet in what is stored."""
        return 1.0 if self.dequantises or scale is None else scale

    def _shift(self, slopes: Tensor | None, end: int) -> Tensor:
        """What all logits of a row have in common where slope * key position is added as it is."""
        return slopes * (end - 1) if slopes is not None and self.absolute_positions else torch.zeros(1)

    def _with_alibi(self, scores: Tensor, slopes: Tensor | None, first: int, end: int) -> Tensor:
        origin = 0 if self.absolute_positions else end - 1
        return scores if slopes is None else scores + slopes[:, None] * (torch.arange(first, end) - origin)

    def _row(self, scores: Tensor, v: Tensor, sinks: Tensor | None, v_scale: float) -> tuple[Tensor, Tensor]:
        """One query token: scores [heads, tokens], v [tokens, heads, dim]."""
        base = LOG2_E if self.base2 else 1.0
        scores = scores * base
        exp = torch.exp2 if self.base2 else torch.exp
        log = torch.log2 if self.base2 else torch.log
        tokens = random.Random(self.seed + 1).sample(range(len(v)), len(v))
        partial = [self._split(scores[:, part], v[part]) for part in _parts(tokens, -(-len(tokens) // self.splits))]
        top = torch.stack([high for high, _, _ in partial]).amax(dim=0)
        total = torch.zeros(len(scores))
        mixed = torch.zeros(len(scores), v.shape[2])
        for high, one_total, one_out in partial:
            total = total + one_total * exp(high - top)
            mixed = mixed + one_out * exp(high - top)[:, None]
        if sinks is not None:
            high = torch.maximum(top, sinks * base)
            total = total * exp(top - high) + exp(sinks * base - high)
            mixed, top = mixed * exp(top - high)[:, None], high
        lse = top + log(total)
        return mixed * v_scale / total[:, None], lse / LOG2_E if self.base2 else lse

    def _scores(self, q: Tensor, k: Tensor, scale: float, softcap: float | None) -> Tensor:
        """[heads, tokens], summed in float32 over the dims in some order."""
        rows = (q.float() * scale).to(q.dtype).float() if self.round_scores else q.float()
        dims = random.Random(self.seed).sample(range(q.shape[1]), q.shape[1])
        scores = torch.zeros(len(q), len(k))
        for dim in dims:
            scores = scores + rows[:, None, dim] * k[:, :, dim].T
        scores = scores if self.round_scores else scores * scale
        error = 1 + self.tanh * (-1.0) ** torch.arange(len(k))
        return scores if softcap is None else softcap * torch.tanh(scores / softcap) * error

    def _split(self, scores: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maximum, sum and unnormalised output of a run of tokens, by online softmax over tiles."""
        exp = torch.exp2 if self.base2 else torch.exp
        high, total, out = torch.full((len(scores),), -torch.inf), torch.zeros(len(scores)), torch.zeros(len(scores), v.shape[2])
        for part in _parts(list(range(len(v))), self.tile):
            new = torch.maximum(high, scores[:, part].amax(dim=1))
            weights = exp(scores[:, part] - new[:, None])
            rounded = weights.to(getattr(torch, self.probabilities)).float()
            fade = exp(high - new)
            total = total * fade + (rounded if self.sum_rounded else weights).sum(dim=1)
            out = out * fade[:, None] + torch.einsum("ht,thd->hd", rounded, v[part])
            high = new
        return high, total, out


def _parts(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def excess(problem: Problem, kernel: Kernel, rounding: Rounding) -> tuple[float, float]:
    """By how many times its allowance the worst element of out and lse is wrong."""
    options = problem.options()
    expected = gather_attention(*problem.arguments(), **options)
    allowed = error_bound(*problem.arguments(), rounding=rounding, **options)
    got = kernel(problem)
    return _worst(got[0], expected[0], allowed.out), _worst(got[1], expected[1], allowed.lse)


def _worst(got: Tensor, expected: Tensor, allowed: Tensor) -> float:
    error = torch.where(got.double() == expected, 0.0, (got.double() - expected).abs())
    return float(torch.where(error > 0, error / allowed, 0.0).max())


KERNELS = st.builds(
    Kernel,
    probabilities=st.just("input"),
    round_scores=st.booleans(),
    sum_rounded=st.booleans(),
    base2=st.booleans(),
    dequantises=st.booleans(),
    seed=st.integers(0, 99),
    tile=st.sampled_from((1, 4, 7, 16)),
    splits=st.integers(1, 4),
)
CASES = st.builds(
    Case,
    seq_lens=st.lists(st.integers(0, 40), min_size=1, max_size=2).map(tuple),
    num_kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    head_dim=st.sampled_from((16, 40, 72, 128)),
    block_size=st.sampled_from((1, 4, 16)),
    dtype=st.sampled_from(("float32", "float16", "bfloat16")),
    window=st.none() | st.integers(1, 40),
    softcap=st.none() | st.sampled_from((1.0, 30.0)),
    scale=st.none() | st.sampled_from((0.3, 1.0)),
    data=st.sampled_from(("gaussian", "large", "uniform")),
    seed=st.integers(0, 2**16),
)


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=100)
@given(CASES, KERNELS, st.sampled_from(("float32", "input")))
def test_no_honest_kernel_is_outside(case: Case, kernel: Kernel, probabilities: str) -> None:
    """Whatever it rounds as declared, and in whatever order it sums."""
    kernel = dataclasses.replace(kernel, probabilities=case.dtype if probabilities == "input" else probabilities)
    out, lse = excess(build_problem(case, "cpu"), kernel, kernel.rounding(case.dtype))
    assert out <= 1
    assert lse <= 1


OPTIONED = st.builds(
    dict,
    q_len=st.sampled_from((1, 1, 2, 3)),
    alibi=st.booleans(),
    sinks=st.booleans(),
    cache_dtype=st.sampled_from((None, *CACHE_DTYPES)),
    k_scale=st.sampled_from((0.3, 0.5, 1.7, 2.0)),
    v_scale=st.sampled_from((0.3, 0.5, 1.7, 2.0)),
)


def with_options(case: Case, options: dict[str, Any]) -> Case:
    narrow = options["cache_dtype"] is not None
    scales = {name: options[name] if narrow else None for name in ("k_scale", "v_scale")}
    lengths = tuple(max(length, options["q_len"]) if length else 0 for length in case.seq_lens)
    return validate(dataclasses.replace(case, **{**options, **scales}, seq_lens=lengths))


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=150)
@given(CASES, OPTIONED, KERNELS, st.booleans(), st.sampled_from(("float32", "input", *CACHE_DTYPES)))
def test_no_honest_kernel_with_options_is_outside(
    case: Case, options: dict[str, Any], kernel: Kernel, absolute_positions: bool, probabilities: str
) -> None:
    """Sinks and ALiBi in float32, slope * key position taken absolutely; scaled K and V rounded or not; P in float8, too."""
    case = with_options(case, options)
    weights = case.dtype if probabilities == "input" else probabilities
    kernel = dataclasses.replace(kernel, probabilities=weights, absolute_positions=absolute_positions)
    out, lse = excess(build_problem(case, "cpu"), kernel, kernel.rounding(case.dtype))
    assert out <= 1
    assert lse <= 1


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from((16, 64, 128)), st.sampled_from(("float32", "bfloat16")))
def test_no_honest_kernel_is_outside_on_tagged_data(seed: int, dim: int, dtype: str) -> None:
    case = Case(seq_lens=(33, 5), group=2, head_dim=dim, value_head_dim=16, block_size=8, dtype=dtype, data="tagged", seed=seed)
    kernel = Kernel(probabilities=dtype, seed=seed)
    assert max(excess(build_problem(case, "cpu"), kernel, kernel.rounding(dtype))) <= 1


@pytest.mark.parametrize("length", [500, 3000])
def test_a_long_sequence_is_no_reason_to_be_outside(length: int) -> None:
    problem = build_problem(Case(seq_lens=(length,), block_size=16, dtype="float16", seed=3), "cpu")
    kernel = Kernel(probabilities="float16", tile=64, splits=5)
    assert max(excess(problem, kernel, kernel.rounding("float16"))) <= 1


SHARP = {
    "out": (Case(seq_lens=(40,), group=3, dtype="bfloat16"), Kernel(), 1 / 16),
    "probabilities": (Case(seq_lens=(40,), group=3), Kernel(probabilities="bfloat16"), 1 / 16),
    "scores": (Case(seq_lens=(40,), group=3, head_dim=72, dtype="bfloat16", data="large"), Kernel(round_scores=True), 1 / 16),
    "tanh": (Case(seq_lens=(40,), group=3, softcap=30.0), Kernel(tanh=2.0**-11), 1 / 16),
    "accumulate score_sums": (Case(seq_lens=(40,), group=3, head_dim=128), Kernel(tile=1, splits=4), 0.0),
}


FLOAT8: dict[str, Any] = {"cache_dtype": "float8_e4m3fn", "k_scale": 0.3, "v_scale": 1.7}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("data", ["gaussian", "uniform"])
def test_dequantised_values_need_their_rounding(data: str, dtype: str) -> None:
    """K * k_scale and V * v_scale in q's dtype; with q = 0 it is V alone. Some honest result is outside without it."""
    problem = build_problem(Case(seq_lens=(2,), group=3, dtype=dtype, data=data, head_dim=128, seed=5, **FLOAT8), "cpu")
    kernel = Kernel(dequantises=True)
    enough = kernel.rounding(dtype)
    assert max(excess(problem, kernel, enough)) <= 1
    without = dataclasses.replace(enough, dequantised=0.0, out=UNIT_ROUNDOFF[dtype] / 2)
    assert max(excess(problem, kernel, without)) > 1


def test_keys_scaled_before_the_sum_leave_the_grid() -> None:
    """0.3 is no power of two: huge scores of float32 do not sum exactly although scale comes after the sum."""
    case = Case(seq_lens=(40,), group=3, head_dim=72, data="large", **(FLOAT8 | {"k_scale": 1.7}))
    kernel = Kernel(dequantises=True, tile=1)
    problem = build_problem(case, "cpu")
    on_grid = build_problem(dataclasses.replace(case, k_scale=2.0), "cpu")
    rounding = dataclasses.replace(kernel.rounding("float32"), scaled_after_sum=True)
    assert excess(problem, kernel, rounding)[1] <= 1
    assert bound(problem, rounding).lse.max() > 5 * bound(on_grid, rounding).lse.max()


def test_subnormal_keys_and_values_need_their_spacing() -> None:
    """2**-16 is a float8_e5m2; 0.3 of it is no float16, and off by far more than 2**-11."""
    problem = build_problem(Case(seq_lens=(1,), dtype="float16", cache_dtype="float8_e5m2", k_scale=0.3, v_scale=0.3), "cpu")
    problem.q.fill_(60_000.0)
    problem.k_cache.fill_(2.0**-16)
    kernel = Kernel(dequantises=True)
    enough = kernel.rounding("float16")
    assert excess(problem, kernel, enough)[1] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, dequantised_tiny=0.0))[1] > 1


def test_summed_float8_probabilities_need_a_denominator() -> None:
    """300 weights a little above half the spacing of float8_e4m3fn beside the largest: each is rounded up to twice itself."""
    problem = build_problem(Case(seq_lens=(301,), block_size=512), "cpu")
    problem.q.fill_(1.0)
    problem.k_cache[0, :301] = math.log(1.01 * 2.0**-10) / 4
    problem.k_cache[0, 0] = 0.0
    problem.v_cache[0, :301] = 0.0
    problem.v_cache[0, 0] = 1.0
    kernel = Kernel(probabilities="float8_e4m3fn", sum_rounded=True, splits=1, tile=512)
    enough = kernel.rounding("float32")
    assert max(excess(problem, kernel, enough)) <= 1
    out, lse = excess(problem, kernel, dataclasses.replace(enough, denominator=0.0))
    assert min(out, lse) > 1


@pytest.mark.parametrize("option", ["sinks", "alibi"])
def test_large_sinks_and_far_positions_round_too(option: str) -> None:
    """Sinks of 1e4, and slopes of 100 with absolute positions: the bound has room for both, and not for much more."""
    problem = build_problem(Case(seq_lens=(40,), block_size=64, sinks=option == "sinks", alibi=option == "alibi"), "cpu")
    if problem.sinks is not None:
        problem.sinks.fill_(1e4 / 3)
    if problem.alibi_slopes is not None:
        problem.alibi_slopes.fill_(100 / 3)
    kernel = Kernel(absolute_positions=True, base2=True)
    assert max(excess(problem, kernel, kernel.rounding("float32"))) <= 1
    assert bound(problem, kernel.rounding("float32")).lse.max() < 0.01


@pytest.mark.parametrize("option", ["sinks", "alibi_slopes", "k_scale", "v_scale"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_an_option_that_is_a_few_bounds_off_is_outside(option: str, dtype: str) -> None:
    """2 % of a scale, a sink or a slope are a fault that no rounding explains."""
    wrong = 1.02 if dtype != "bfloat16" else 1.2
    problem = build_problem(
        Case(seq_lens=(40,), group=3, block_size=64, dtype=dtype, alibi=True, sinks=True, seed=2, **FLOAT8), "cpu"
    )
    kernel = Kernel(probabilities=dtype)
    options = problem.options()
    expected = gather_attention(*problem.arguments(), **options)
    allowed = bound(problem, kernel.rounding(dtype))
    got = gather_attention(*problem.arguments(), **{**options, option: options[option] * wrong})
    assert max(_worst(got[0], expected[0], allowed.out), _worst(got[1], expected[1], allowed.lse)) > 3


def test_tf32_is_what_it_was_without_the_new_options() -> None:
    """The rounding of float32 dots on a GPU: no term of an option that is not used."""
    tf32 = rounding_of(Arithmetic(), Case(), interpreted=False)
    assert (tf32.dequantised, tf32.dequantised_tiny, tf32.denominator) == (0.0, 0.0, 0.0)
    narrow = rounding_of(Arithmetic(), Case(**FLOAT8), interpreted=False)
    unit = UNIT_ROUNDOFF["float32"]
    assert narrow == dataclasses.replace(tf32, dequantised=unit, dequantised_tiny=TINY["float32"])
    assert rounding_of(Arithmetic(dequantised="float32"), Case(**FLOAT8), interpreted=False) == tf32


@pytest.mark.parametrize("term", SHARP)
def test_an_honest_kernel_needs_every_relative_term(term: str) -> None:
    """With a sixteenth of one term (sums: without it), some honest result is outside: the size of the tolerance matters."""
    case, kernel, factor = SHARP[term]
    problem = build_problem(case, "cpu")
    enough = kernel.rounding(case.dtype)
    assert max(excess(problem, kernel, enough)) <= 1
    less = {name: getattr(enough, name) * factor for name in term.split()}
    assert max(excess(problem, kernel, dataclasses.replace(enough, **less))) > 1


def test_subnormal_outputs_need_their_spacing() -> None:
    problem = build_problem(Case(seq_lens=(3,), dtype="float16", data="uniform"), "cpu")
    problem.v_cache.mul_(2.0**-22)  # a few units of the smallest float16
    kernel = Kernel()
    enough = kernel.rounding("float16")
    assert excess(problem, kernel, enough)[0] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, out_tiny=0.0))[0] > 1


def test_subnormal_probabilities_need_their_spacing() -> None:
    """A weight of 1.4 * 2**-23 rounds to 2**-23 in float16, and V may be large enough to show it."""
    case = Case(seq_lens=(2,), block_size=2)
    problem = build_problem(case, "cpu")
    problem.q.fill_(1.0)
    problem.k_cache[0, 0] = 0.0
    problem.k_cache[0, 1] = math.log(1.4 * 2.0**-23) / 4  # scale 1/4, 16 dims
    problem.v_cache[0, 0] = 0.0
    problem.v_cache[0, 1] = 60_000.0
    kernel = Kernel(probabilities="float16", splits=1)
    enough = kernel.rounding("float32")
    assert excess(problem, kernel, enough)[0] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, probabilities_tiny=0.0))[0] > 1


def test_rounded_denominators_need_the_rounding_of_p_in_lse() -> None:
    problem = build_problem(Case(seq_lens=(7,), group=3), "cpu")
    kernel = Kernel(probabilities="bfloat16", sum_rounded=True)
    enough = kernel.rounding("float32")
    assert excess(problem, kernel, enough)[1] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, probabilities=0.0))[1] > 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_token_left_out_or_a_wrong_base_is_outside(dtype: str) -> None:
    """What tolerances are for: these are faults."""
    problem = build_problem(Case(seq_lens=(40,), group=3, block_size=4, dtype=dtype), "cpu")
    expected, lse = gather_attention(*problem.arguments())
    rounding = Kernel(probabilities=dtype).rounding(dtype)
    allowed = error_bound(*problem.arguments(), rounding=rounding)
    short, short_lse = gather_attention(*problem.arguments(), window=39)
    assert _worst(short, expected, allowed.out) > 1
    assert _worst(lse * LOG2_E, lse, allowed.lse) > 1
    assert dtype == "bfloat16" or _worst(short_lse, lse, allowed.lse) > 1


def _row(q: torch.Tensor, k: torch.Tensor) -> QueryRow:
    return QueryRow(q.double(), k.double(), v=k.double(), distance=torch.zeros(len(k)), position=0, scale=1.0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("data", ["large", "tagged"])
@pytest.mark.parametrize("dim", [16, 72, 576])
def test_large_and_tagged_scores_sum_exactly(data: str, dtype: str, dim: int) -> None:
    problem = build_problem(Case(seq_lens=(30,), group=3, head_dim=dim, data=data, dtype=dtype), "cpu")
    assert _sums_exactly(_row(problem.q[0], problem.k_cache[:, 0]), 2.0**24)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gaussian_scores_do_not_sum_exactly(dtype: str) -> None:
    problem = build_problem(Case(seq_lens=(30,), head_dim=64, dtype=dtype), "cpu")
    assert not _sums_exactly(_row(problem.q[0], problem.k_cache[:, 0]), 2.0**24)


def test_sums_beyond_24_bits_are_not_exact() -> None:
    k = torch.ones(1, 1, 2, dtype=torch.float64)
    assert _sums_exactly(_row(torch.tensor([[2.0**22 + 1, 1.0]], dtype=torch.float64), k), 2.0**24)
    assert not _sums_exactly(_row(torch.tensor([[2.0**24 + 1, 1.0]], dtype=torch.float64), k), 2.0**24)
    assert not _sums_exactly(_row(torch.tensor([[1 / 3, 1.0]], dtype=torch.float64), k), 2.0**24)


def test_uniform_data_leaves_no_score_error() -> None:
    """q = 0: half or double the rounding of scores, the bound is the same."""
    problem = build_problem(Case(seq_lens=(30,), data="uniform"), "cpu")
    plain = Kernel().rounding("float32")
    assert torch.equal(bound(problem, plain).out, bound(problem, dataclasses.replace(plain, scores=0.1)).out)


def bound(problem: Problem, rounding: Rounding) -> ErrorBound:
    return error_bound(*problem.arguments(), rounding=rounding, **problem.options())


@settings(deadline=None, derandomize=True, max_examples=30)
@given(CASES, st.sampled_from([f.name for f in dataclasses.fields(Rounding)]), st.floats(1.0, 64.0))
def test_more_rounding_never_allows_less(case: Case, field: str, factor: float) -> None:
    problem = build_problem(case, "cpu")
    less = Rounding(2.0**-11, 2.0**-24, 2.0**-11, 2.0**-24, 2.0**-12)
    more = dataclasses.replace(less, **{field: getattr(less, field) * factor})
    assert bool((bound(problem, less).out <= bound(problem, more).out).all())
    assert bool((bound(problem, less).lse <= bound(problem, more).lse).all())


def test_an_empty_sequence_may_only_be_zero() -> None:
    problem = build_problem(Case(seq_lens=(0, 2)), "cpu")
    allowed = bound(problem, Kernel().rounding("float32"))
    assert float(allowed.out[0].max()) <= 2 * TINY["float32"]
    assert float(allowed.lse[0].max()) == 0
    assert bool((allowed.out[1] > 0).all())


def test_the_bound_scales_with_v() -> None:
    """No absolute floor: values a million times larger may err a million times more."""
    problem = build_problem(Case(seq_lens=(9,), block_size=16), "cpu")
    rounding = dataclasses.replace(Kernel().rounding("float32"), out_tiny=0.0)
    before = bound(problem, rounding).out
    problem.v_cache.mul_(2.0**20)
    torch.testing.assert_close(bound(problem, rounding).out, before * 2.0**20, rtol=1e-12, atol=0.0)


def test_weights_that_a_gpu_flushes_to_zero_are_allowed_for() -> None:
    """Found on a GPU: the token that wins has a 0 in V, so that out is made of what exp(-97) leaves of another one."""
    case = Case(seq_lens=(2,), data="large")
    problem = build_problem(case, "cpu")
    problem.q.fill_(1.0)
    problem.k_cache.copy_(torch.tensor([0.0, -24.25]).view(2, 1, 1, 1).expand_as(problem.k_cache))
    problem.v_cache.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand_as(problem.v_cache))
    out, _ = gather_attention(*problem.arguments())
    allowed = error_bound(*problem.arguments(), Rounding(UNIT_ROUNDOFF["float32"], TINY["float32"], 0.0, TINY["float32"]))
    assert 0.0 < float(out.max()) < 2.0**-126
    assert bool((out <= allowed.out).all())
    assert float(allowed.out.max()) < 1e-36


def test_scores_that_are_all_wrong_still_average_v() -> None:
    """E exceeds 700 here, where expm1(2 E) is infinite: whatever the weights are, out is no farther away than V reaches."""
    problem = build_problem(Case(seq_lens=(9,), head_dim=128, block_size=16, dtype="bfloat16", data="large"), "cpu")
    problem.q.mul_(64.0)
    narrow = Rounding(2.0**-8, 2.0**-125, 0.0, 2.0**-125, scores=2.0**-7, score_sums=2.0**-8)
    allowed = bound(problem, narrow)
    reach = 2 * float(problem.v_cache[0, :9].abs().max())
    assert float(allowed.lse.max()) > 700
    assert float(allowed.out.max()) <= 1.25 * 1.02 * reach
    got = problem.v_cache[0, 5, 0].double().expand_as(allowed.out[0])  # another token has all the weight
    assert bool(((got - gather_attention(*problem.arguments())[0][0]).abs() <= allowed.out[0]).all())


def test_the_bound_is_infinite_where_a_declared_format_may_overflow() -> None:
    problem = build_problem(Case(seq_lens=(9,), group=2, head_dim=128, block_size=16, dtype="float16"), "cpu")
    problem.q[:, 1] = 600.0
    plain = Kernel().rounding("float16")
    for narrow in (dataclasses.replace(plain, largest_sum=2000.0), dataclasses.replace(plain, largest_term=500.0)):
        allowed = bound(problem, narrow)
        assert allowed.lse.isinf().tolist() == [[False, True]]
        assert torch.equal(allowed.out[0].isinf().any(dim=-1), torch.tensor([False, True]))
    assert bool(bound(problem, plain).out.isfinite().all())
