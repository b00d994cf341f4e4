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

from fuzz_decode.build import Problem, build
from fuzz_decode.case import Case
from fuzz_decode_reference import ErrorBound, Rounding, error_bound, gather_attention
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF, _sums_exactly
from fuzz_decode_reference.gather_attention import locate

LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as plain torch: what it rounds, and how it cuts and orders its sums."""

    probabilities: str = "float32"
    round_scores: bool = False  # q * scale is rounded to q's dtype
    sum_rounded: bool = False  # the denominator sums the rounded P
    base2: bool = False
    tanh: float = 0.0  # relative error of softcap's tanh, up on every second token and down on the others
    seed: int = 0
    tile: int = 8
    splits: int = 2

    def rounding(self, dtype: str) -> Rounding:
        scores = 2 * UNIT_ROUNDOFF[dtype] if self.round_scores else 0.0
        weights = self.probabilities
        return Rounding(UNIT_ROUNDOFF[dtype], TINY[dtype], UNIT_ROUNDOFF[weights], TINY[weights], scores, tanh=self.tanh)

    def __call__(self, problem: Problem) -> tuple[Tensor, Tensor]:
        case = problem.case
        out = torch.zeros(case.num_seqs, case.num_q_heads, case.value_head_dim, dtype=problem.q.dtype)
        lse = torch.full((case.num_seqs, case.num_q_heads), -torch.inf)
        for seq, length in enumerate(case.seq_lens):
            if length:
                blocks, slots = locate(
                    problem.block_table[seq], max(0, length - (case.window or length)), length, case.block_size
                )
                k = problem.k_cache[blocks, slots].float().repeat_interleave(case.group, dim=1)
                v = problem.v_cache[blocks, slots].float().repeat_interleave(case.group, dim=1)
                out[seq], lse[seq] = self._row(problem.q[seq], k, v, problem.scale, case.softcap)
        return out, lse

    def _row(self, q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None) -> tuple[Tensor, Tensor]:
        """One sequence: q [heads, dim], k and v [tokens, heads, dim]."""
        scores = self._scores(q, k, scale, softcap) * (LOG2_E if self.base2 else 1.0)
        exp = torch.exp2 if self.base2 else torch.exp
        log = torch.log2 if self.base2 else torch.log
        tokens = random.Random(self.seed + 1).sample(range(len(k)), len(k))
        partial = [self._split(scores[:, part], v[part]) for part in _parts(tokens, -(-len(tokens) // self.splits))]
        top = torch.stack([high for high, _, _ in partial]).amax(dim=0)
        total = torch.zeros(len(q))
        mixed = torch.zeros(len(q), v.shape[2])
        for high, one_total, one_out in partial:
            total = total + one_total * exp(high - top)
            mixed = mixed + one_out * exp(high - top)[:, None]
        lse = top + log(total)
        return mixed / total[:, None], lse / LOG2_E if self.base2 else lse

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
    options: dict[str, Any] = {"window": problem.case.window, "softcap": problem.case.softcap}
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


@settings(deadline=None, derandomize=True, max_examples=100)
@given(CASES, KERNELS, st.sampled_from(("float32", "input")))
def test_no_honest_kernel_is_outside(case: Case, kernel: Kernel, probabilities: str) -> None:
    """Whatever it rounds as declared, and in whatever order it sums."""
    kernel = dataclasses.replace(kernel, probabilities=case.dtype if probabilities == "input" else probabilities)
    out, lse = excess(build(case, "cpu"), kernel, kernel.rounding(case.dtype))
    assert out <= 1
    assert lse <= 1


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from((16, 64, 128)), st.sampled_from(("float32", "bfloat16")))
def test_no_honest_kernel_is_outside_on_tagged_data(seed: int, dim: int, dtype: str) -> None:
    case = Case(seq_lens=(33, 5), group=2, head_dim=dim, value_head_dim=16, block_size=8, dtype=dtype, data="tagged", seed=seed)
    kernel = Kernel(probabilities=dtype, seed=seed)
    assert max(excess(build(case, "cpu"), kernel, kernel.rounding(dtype))) <= 1


@pytest.mark.parametrize("length", [500, 3000])
def test_a_long_sequence_is_no_reason_to_be_outside(length: int) -> None:
    problem = build(Case(seq_lens=(length,), block_size=16, dtype="float16", seed=3), "cpu")
    kernel = Kernel(probabilities="float16", tile=64, splits=5)
    assert max(excess(problem, kernel, kernel.rounding("float16"))) <= 1


SHARP = {
    "out": (Case(seq_lens=(40,), group=3, dtype="bfloat16"), Kernel(), 1 / 16),
    "probabilities": (Case(seq_lens=(40,), group=3), Kernel(probabilities="bfloat16"), 1 / 16),
    "scores": (Case(seq_lens=(40,), group=3, head_dim=72, dtype="bfloat16", data="large"), Kernel(round_scores=True), 1 / 16),
    "tanh": (Case(seq_lens=(40,), group=3, softcap=30.0), Kernel(tanh=2.0**-11), 1 / 16),
    "accumulate score_sums": (Case(seq_lens=(40,), group=3, head_dim=128), Kernel(tile=1, splits=4), 0.0),
}


@pytest.mark.parametrize("term", SHARP)
def test_an_honest_kernel_needs_every_relative_term(term: str) -> None:
    """With a sixteenth of one term (sums: without it), some honest result is outside: the size of the tolerance matters."""
    case, kernel, factor = SHARP[term]
    problem = build(case, "cpu")
    enough = kernel.rounding(case.dtype)
    assert max(excess(problem, kernel, enough)) <= 1
    less = {name: getattr(enough, name) * factor for name in term.split()}
    assert max(excess(problem, kernel, dataclasses.replace(enough, **less))) > 1


def test_subnormal_outputs_need_their_spacing() -> None:
    problem = build(Case(seq_lens=(3,), dtype="float16", data="uniform"), "cpu")
    problem.v_cache.mul_(2.0**-22)  # a few units of the smallest float16
    kernel = Kernel()
    enough = kernel.rounding("float16")
    assert excess(problem, kernel, enough)[0] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, out_tiny=0.0))[0] > 1


def test_subnormal_probabilities_need_their_spacing() -> None:
    """A weight of 1.4 * 2**-23 rounds to 2**-23 in float16, and V may be large enough to show it."""
    case = Case(seq_lens=(2,), block_size=2)
    problem = build(case, "cpu")
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
    problem = build(Case(seq_lens=(7,), group=3), "cpu")
    kernel = Kernel(probabilities="bfloat16", sum_rounded=True)
    enough = kernel.rounding("float32")
    assert excess(problem, kernel, enough)[1] <= 1
    assert excess(problem, kernel, dataclasses.replace(enough, probabilities=0.0))[1] > 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_token_left_out_or_a_wrong_base_is_outside(dtype: str) -> None:
    """What tolerances are for: these are faults."""
    problem = build(Case(seq_lens=(40,), group=3, block_size=4, dtype=dtype), "cpu")
    expected, lse = gather_attention(*problem.arguments())
    rounding = Kernel(probabilities=dtype).rounding(dtype)
    allowed = error_bound(*problem.arguments(), rounding=rounding)
    short, short_lse = gather_attention(*problem.arguments(), window=39)
    assert _worst(short, expected, allowed.out) > 1
    assert _worst(lse * LOG2_E, lse, allowed.lse) > 1
    assert dtype == "bfloat16" or _worst(short_lse, lse, allowed.lse) > 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("data", ["large", "tagged"])
@pytest.mark.parametrize("dim", [16, 72, 576])
def test_large_and_tagged_scores_sum_exactly(data: str, dtype: str, dim: int) -> None:
    problem = build(Case(seq_lens=(30,), group=3, head_dim=dim, data=data, dtype=dtype), "cpu")
    assert _sums_exactly(problem.q[0].double(), problem.k_cache[:, 0].double(), 2.0**24)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gaussian_scores_do_not_sum_exactly(dtype: str) -> None:
    problem = build(Case(seq_lens=(30,), head_dim=64, dtype=dtype), "cpu")
    assert not _sums_exactly(problem.q[0].double(), problem.k_cache[:, 0].double(), 2.0**24)


def test_sums_beyond_24_bits_are_not_exact() -> None:
    k = torch.ones(1, 1, 2, dtype=torch.float64)
    assert _sums_exactly(torch.tensor([[2.0**22 + 1, 1.0]], dtype=torch.float64), k, 2.0**24)
    assert not _sums_exactly(torch.tensor([[2.0**24 + 1, 1.0]], dtype=torch.float64), k, 2.0**24)
    assert not _sums_exactly(torch.tensor([[1 / 3, 1.0]], dtype=torch.float64), k, 2.0**24)


def test_uniform_data_leaves_no_score_error() -> None:
    """q = 0: half or double the rounding of scores, the bound is the same."""
    problem = build(Case(seq_lens=(30,), data="uniform"), "cpu")
    plain = Kernel().rounding("float32")
    assert torch.equal(bound(problem, plain).out, bound(problem, dataclasses.replace(plain, scores=0.1)).out)


def bound(problem: Problem, rounding: Rounding) -> ErrorBound:
    return error_bound(*problem.arguments(), rounding=rounding, window=problem.case.window, softcap=problem.case.softcap)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(CASES, st.sampled_from([f.name for f in dataclasses.fields(Rounding)]), st.floats(1.0, 64.0))
def test_more_rounding_never_allows_less(case: Case, field: str, factor: float) -> None:
    problem = build(case, "cpu")
    less = Rounding(2.0**-11, 2.0**-24, 2.0**-11, 2.0**-24, 2.0**-12)
    more = dataclasses.replace(less, **{field: getattr(less, field) * factor})
    assert bool((bound(problem, less).out <= bound(problem, more).out).all())
    assert bool((bound(problem, less).lse <= bound(problem, more).lse).all())


def test_an_empty_sequence_may_only_be_zero() -> None:
    problem = build(Case(seq_lens=(0, 2)), "cpu")
    allowed = bound(problem, Kernel().rounding("float32"))
    assert float(allowed.out[0].max()) <= 2 * TINY["float32"]
    assert float(allowed.lse[0].max()) == 0
    assert bool((allowed.out[1] > 0).all())


def test_the_bound_scales_with_v() -> None:
    """No absolute floor: values a million times larger may err a million times more."""
    problem = build(Case(seq_lens=(9,), block_size=16), "cpu")
    rounding = dataclasses.replace(Kernel().rounding("float32"), out_tiny=0.0)
    before = bound(problem, rounding).out
    problem.v_cache.mul_(2.0**20)
    torch.testing.assert_close(bound(problem, rounding).out, before * 2.0**20, rtol=1e-12, atol=0.0)
