"""The largest error of a correct kernel, for each element of the output, computed from the inputs.

A single tolerance misses faults where the bound is small, and raises false alarms where it is large. This bound follows the
rounding through the kernel (notation of Higham, Accuracy and Stability, ch. 2-3: u is a unit roundoff, gamma(n) =
n u / (1 - n u)):

1. A score is s = scale * sum_i q_i k_i. Summed in any order in the accumulate format it errs by at most
   gamma(D) * scale * sum_i |q_i k_i|. The sum is exact if every partial sum is an integer multiple of the operands' grid
   below 1 / u (as in the `large` and `tagged` data of fuzz-decode), so that even huge scores have a small bound; but only where q
   is not scaled before the sum, or the scale is a power of two. If q * scale or the operands are rounded to a narrower format
   first, add `rounding.scores` * scale * sum_i |q_i k_i|. A sum in a narrower format than float32 (`tl.sum` of bfloat16) is a
   tree, not a chain: a lane of 32 adds its own terms, in vectors of 8 at least, then the lanes are added: D / 32 + 16 steps.
2. Scaling, the change of base to 2, the subtraction of the running maximum and the split's LSE each round once: together at
   most 8 u_acc * max_j |s_j|. softcap adds the rounding of tanh, 16 u_acc * softcap, and does not amplify (slope <= 1);
   a hardware tanh adds its relative error, `rounding.tanh` * max_j |s_j|. An ALiBi bias adds 8 u_acc * |slope| * position,
   since a kernel may add slope * key position and rely on the shift cancelling; a sink 8 u_acc * |sink|. K * k_scale rounded
   to the dtype of q adds `rounding.dequantised` to each product, and leaves the grid of step 1 unless k_scale is a power of two.
   E is the largest error of any visible score.
3. An exponent that errs by E changes a weight by a factor within exp(+-E); normalising doubles that: expm1(2 E). Rounding P
   adds u_p and, below P's smallest normal number, an absolute p_tiny, with P <= 1 relative to the largest weight. Summing n
   products and rescaling them from tile to tile and split to split adds (n + 2) u_acc, exp itself a few ulp. A kernel that
   sums the rounded P divides by a sum that is wrong by a share r of up to u_p and half a spacing for each token; SLACK takes
   that for 16-bit formats, whose output rounds as much, but not for a P in float8 (`rounding.denominator`).
4. So |out_d - o_d| <= u_out |o_d| + (1 + u_out) * sum_j p_j |v_jd| * (expm1(2 E) + u_p + u_v + (n + 32) u_acc)
                     + p_tiny * sum_j |v_jd| + out_tiny,
   with u_v = `rounding.dequantised`. The share of E is at most |o_d| + max_j |v_jd|, whatever E is: weights that are all wrong
   still average V. So the bound is finite, and NaN is never within it,
   and |lse - exact| <= E + (n + 32) u_acc + 4 u_acc |exact| (+ u_p if the kernel sums the rounded P). With a `denominator` the
   terms of P grow by 1 / (1 - r), |o_d| (1 / (1 - r) - 1) is added, and lse errs by log(1 / (1 - r)) instead of u_p.

Second-order terms are covered by SLACK. Where the declared formats of a score may overflow (`rounding.largest_sum`,
`rounding.largest_term`) a kernel may give NaN, and the bound is infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fuzz_decode_reference.gather_attention import Options, QueryRow, gather_rows, scaled_products, unseen, weighted_sum

SLACK = 1.25  # factor for terms of second order
# tf32 has 10 bits after the point, and tensor cores truncate to them
UNIT_ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-10,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
}
FLUSHED = 2.0**-125  # float32 below its normal numbers becomes 0 on a GPU (ex2.approx.ftz), in a split and in the merge
TINY = {  # spacing of subnormals
    "float64": 0.0,
    "float32": FLUSHED,
    "float16": 2.0**-24,
    "bfloat16": FLUSHED,
    "float8_e4m3fn": 2.0**-9,
    "float8_e5m2": 2.0**-16,
}


@dataclass(frozen=True, slots=True)
class Rounding:
    """Unit roundoffs of one kernel at one input dtype; 0: the step is exact, or as good as the accumulator."""

    out: float
    """Of the stored output."""
    out_tiny: float
    """Spacing of its subnormals."""
    probabilities: float
    """Of P before it is multiplied by V."""
    probabilities_tiny: float
    """Spacing of its subnormals."""
    scores: float = 0.0
    """Of operands or results of a score that are narrower than the accumulator."""
    score_sums: float = UNIT_ROUNDOFF["float32"]
    """Of the sum q.k."""
    accumulate: float = UNIT_ROUNDOFF["float32"]
    """Of the other sums."""
    tanh: float = 0.0
    """Relative error of the softcap's tanh beyond that of float32."""
    scaled_after_sum: bool = False
    """Whether q.k is summed unscaled and scaled afterwards."""
    dequantised: float = 0.0
    """Of K * k_scale and V * v_scale."""
    dequantised_tiny: float = 0.0
    """Spacing of their subnormals."""
    denominator: float = 0.0
    """Of P in float8 where it is summed; for wider formats SLACK covers it."""
    largest_term: float = math.inf
    """The largest number of the format of q * scale, and of a product q_i * k_i."""
    largest_sum: float = math.inf
    """The same for the sum q.k."""


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """Largest allowed |error|: `out` [num_seqs, num_q_heads, value_head_dim], `lse` [num_seqs, num_q_heads], float64. Infinite
    where the declared arithmetic may overflow, and nowhere else."""

    out: Tensor
    lse: Tensor


def error_bound(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    rounding: Rounding,
    **options: Any,
) -> ErrorBound:
    """The bound for every element of out and lse. Arguments as in `gather_attention`."""
    return attention_and_bound(q, k_cache, v_cache, block_table, seq_lens, scale, rounding, **options)[2]


def attention_and_bound(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    rounding: Rounding,
    **options: Any,
) -> tuple[Tensor, Tensor, ErrorBound]:
    """out and lse of `gather_attention`, and the bound on both, from one gathering and scoring of the tokens."""
    out, lse = unseen(q, v_cache.shape[3])
    out_bound, lse_bound = torch.full_like(out, rounding.out_tiny), torch.zeros_like(lse)
    for rows, batch in gather_rows(q, k_cache, v_cache, block_table, seq_lens, scale, Options(**options)):
        out[rows], lse[rows] = exact = batch.attend()
        out_error, lse_bound[rows] = row_bound(batch, rounding, exact)
        out_bound[rows] += out_error
    return out, lse, ErrorBound(SLACK * out_bound, SLACK * lse_bound)


def row_bound(row: QueryRow, rounding: Rounding, answer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The bound on the `answer` to one query token, or a batch of them, without slack and out_tiny: out [..., num_q_heads,
    value_head_dim], lse [..., num_q_heads]."""
    u, (exact, exact_lse) = rounding, answer
    sizes, group = row.v.abs(), row.q.shape[-2] // row.v.shape[-2]
    score_error, growth = _score_error(row, rounding), _growth(row, rounding)[..., None]
    summing = (row.num_seen + 32) * u.accumulate
    weighted = weighted_sum(row.weights, sizes) * row.v_scale
    largest, total = (of_heads.repeat_interleave(group, dim=-2) * row.v_scale for of_heads in (sizes.amax(-3), sizes.sum(-3)))
    shifted = torch.minimum(torch.expm1(2 * score_error)[..., None] * weighted, exact.abs() + growth * largest)
    relative = growth * u.probabilities + summing[..., None]
    out = (u.out + growth - 1) * exact.abs() + (1 + u.out) * (shifted + weighted * relative)
    if rounding.dequantised:
        out += weighted_sum(row.weights, _dequantisation_error(row.v, row.v_scale, rounding))
    out += growth * u.probabilities_tiny * total
    lse = score_error + summing + 4 * u.accumulate * exact_lse.abs()
    lse += growth[..., 0].log().clamp(min=u.probabilities)
    if rounding.largest_term == rounding.largest_sum == math.inf:
        return out, lse
    overflows = _may_overflow(row, rounding)
    return out.masked_fill(overflows[..., None], math.inf), lse.masked_fill(overflows, math.inf)


def _may_overflow(row: QueryRow, rounding: Rounding) -> Tensor:
    """Whether q * scale, K * k_scale, a product q_i * k_i or their sum may exceed its format [..., num_q_heads]."""
    q, k, factor = row.q.abs(), row.k.abs(), max(1.0, row.scale, row.k_scale)
    terms = scaled_products(q.amax(dim=-1, keepdim=True), k.amax(dim=-1, keepdim=True).clamp(min=1.0), factor)
    sums = row.magnitudes * factor
    return ((terms > rounding.largest_term) | (sums > rounding.largest_sum)).any(dim=-1)


def _growth(row: QueryRow, rounding: Rounding) -> Tensor:
    """1 / (1 - r) of step 3 [..., num_q_heads]. The subnormal weights together are at most the rest beside the largest one."""
    if not rounding.denominator:
        return torch.ones_like(row.lse)
    top = row.weights.amax(dim=-1)
    top = top if row.sinks is None else torch.maximum(top, (row.sinks.double() - row.lse).exp())
    subnormal = (row.num_seen * rounding.probabilities_tiny / 2 * top).minimum(1 - top)
    return 1 / (1 - rounding.denominator - subnormal).clamp(min=2.0**-10)


def _dequantisation_error(stored: Tensor, scale: float, rounding: Rounding) -> Tensor:
    """The largest rounding error of stored numbers * scale."""
    sizes = stored.abs() * scale
    subnormal = (sizes > 0) & (sizes < rounding.dequantised_tiny / rounding.dequantised / 2)
    return rounding.dequantised * sizes + rounding.dequantised_tiny * subnormal


def _score_error(row: QueryRow, rounding: Rounding) -> Tensor:
    """E of step 2 for each q head [..., num_q_heads]. Tokens that are not visible have products of 0."""
    u = rounding.accumulate
    errors = row.magnitudes * row.scale * (_summing_error(row, rounding) + rounding.scores)
    if rounding.dequantised:
        dequantised = _dequantisation_error(row.k, row.k_scale, rounding)
        errors = errors + scaled_products(row.q.abs(), dequantised, row.scale / row.k_scale)
    error = (errors + 8 * u * row.products.abs()).amax(dim=-1)
    if row.softcap is not None:
        error = error + 16 * u * row.softcap + rounding.tanh * row.capped.abs().amax(dim=-1)
    if row.alibi_slopes is not None:
        error = error + 8 * u * row.alibi_slopes.double().abs() * row.position
    if row.sinks is not None:
        error = error + 8 * u * row.sinks.double().abs()
    return error


def _summing_error(row: QueryRow, rounding: Rounding) -> float | Tensor:
    """The relative error of the sums q.k [..., 1, 1]: step 1."""
    error = _sum_error(row.q.shape[-1], rounding.score_sums)
    if not _on_grid(row, rounding):
        return error
    inexact = ~_sums_exactly(row, 1 / rounding.score_sums)
    return error * inexact.double()[..., None, None]


def _on_grid(row: QueryRow, rounding: Rounding) -> bool:
    """Whether a kernel sums multiples of the grid of q and K: nothing is scaled before the sum, or only by powers of two."""
    same_digits = math.frexp(row.k_scale)[0] == 0.5
    if rounding.scaled_after_sum:
        return same_digits or not rounding.dequantised
    return same_digits and math.frexp(row.scale)[0] == 0.5


def _sum_error(terms: int, u: float) -> float:
    """gamma of a sum in any order, or of a tree if the format is narrow."""
    steps = terms if u <= UNIT_ROUNDOFF["float32"] else terms / 32 + 16
    return steps * u / (1 - steps * u)


def _sums_exactly(row: QueryRow, exact_integers: float) -> Tensor:
    """Whether q.k is the same in any order of summation [...]: all terms are small multiples of one power of two."""
    largest, grid = row.magnitudes.amax(dim=(-2, -1)), _grid(row.q, dims=(-2, -1))
    if bool((largest * grid).any()):
        grid = grid * _grid(row.k, dims=(-3, -2, -1))
    return largest < exact_integers * grid


def _grid(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The largest power of two, up to 128, that divides every value along `dims`; 0 where there is no useful one."""
    eighths = values * 8
    bits = eighths.long()
    useful = (bits == eighths).all(dim=dims) & (eighths.abs().amax(dim=dims) < 2**40)
    if not bool(useful.any()):
        return useful.double()
    bits |= 1024  # eighths of 128
    return useful * (bits & -bits).amin(dim=dims).double() / 8
