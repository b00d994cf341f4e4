"""Faults of splits, of their merge and of the LSE."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import LAST

TILE_PIVOT = (
    'b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)\n            b_rescale = tl.exp(b_max - b_pivot)\n            b_p ='
)
STORE_LSE = "b_max + tl.log(b_sum), mask=m_row)"
PLACE = "i_place = tl.where(i_first + o_part == 0, i_seq, num_seqs + first_share + i_first + o_part)"
NUM_PARTS = "num_parts = tl.where(last > first, tl.load(p_parts + 1) - first_share + 1, 0)"

MUTANTS: dict[str, Mutant] = {
    "empty-split-not-neutral": Mutant(
        "K1",
        "the merge takes as many parts as it looks at at once, and one that does not exist has lse = 0 instead of -inf",
        "fewer parts than that",
        ("sgl-project/sglang/pull/2479",),
        (('mask=m_part, other=float("-inf"))', "mask=m_part, other=0.0)"),),
        diagnosis=("empty-split-not-neutral",),
    ),
    "empty-split-unwritten": Mutant(
        "K1",
        "a sequence without tokens leaves its scratch as it was, and the merge reads it",
        "an empty sequence",
        ("vllm-project/vllm/pull/47188",),
        ((NUM_PARTS, "num_parts = tl.where(last > first, tl.load(p_parts + 1) - first_share + 1, 1)"),),
        diagnosis=("uninitialised-scratch",),
    ),
    "masked-split-is-nan": Mutant(
        "K1",
        "a tile that a query row cannot see makes -inf - -inf",
        "q_len > 1 with a window, or a tile that only later query tokens see",
        ("ROCm/aiter/pull/4711", "ROCm/aiter/pull/3641", "vllm-project/vllm/pull/4405"),
        ((TILE_PIVOT, "b_pivot = b_new\n            b_rescale = tl.exp(b_max - b_pivot)\n            b_p ="),),
    ),
    "last-split-dropped": Mutant(
        "K1",
        "the merge leaves out the last of several parts",
        "a sequence that is divided",
        ("openvinotoolkit/openvino/pull/38034",),
        ((NUM_PARTS, "num_parts = tl.where(last > first, tl.maximum(tl.load(p_parts + 1) - first_share, 1), 0)"),),
        diagnosis=("tokens-dropped",),
    ),
    "splits-sized-by-the-first-sequence": Mutant(
        "K1",
        "what the programs cover of each sequence is as long as the first one",
        "a longer sequence after a shorter one",
        ("pie-project/pie/pull/410", "sgl-project/sglang/pull/22688"),
        ((LAST, "last = tl.minimum(seq_first + (end - before) * TILE, tl.minimum(seq_last, tl.load(seq_lens)))"),),
        diagnosis=("tokens-dropped",),
    ),
    "split-size-of-smaller-tiles": Mutant(
        "K1",
        "the size of a split counts its tiles as if they had half as many tokens, and nobody has the rest",
        "more than 16 tokens",
        (),
        ((LAST, "last = tl.minimum(first + (end - i_tile) * (TILE // 2), seq_last)"),),
        diagnosis=("tokens-dropped",),
    ),
    "last-split-for-every-split": Mutant(
        "K1",
        "the merge takes the last split's part for every split",
        "a sequence that is divided",
        (),
        ((PLACE, "i_place = tl.where(num_parts == 1, i_seq, num_seqs + first_share + num_parts - 1) + o_part * 0"),),
        diagnosis=("tokens-miscounted",),
    ),
    "merge-without-rescaling": Mutant(
        "K1",
        "the merge goes from part to part, and does not rescale earlier ones to the new maximum",
        "a sequence of several parts, scores of unlike size",
        ("sgl-project/sglang/pull/6101",),
        (
            ("b_out = b_out * b_rescale[:, None] + tl.sum(b_part", "b_out = b_out + tl.sum(b_part"),
            ("BLOCK_S=block_s", "BLOCK_S=1"),
        ),
    ),
    "partials-rounded": Mutant(
        "N1",
        "partials are rounded to bfloat16 before the merge",
        "float32 or float16",
        ("vllm-project/vllm-xpu-kernels/pull/204",),
        (("[None, :], b_out, mask=m_row", "[None, :], b_out.to(tl.bfloat16).to(tl.float32), mask=m_row"),),
        diagnosis=("sums-in-bfloat16",),
    ),
    "scores-rounded": Mutant(
        "N1",
        "scores are rounded to the dtype of q before the softmax",
        "float16 or bfloat16",
        (),
        (("b_s *= b_scale[:, None]", "b_s = (b_s * b_scale[:, None]).to(q.dtype.element_ty).to(tl.float32)"),),
        diagnosis=("scores-in-input-dtype",),
    ),
    "lse-base-2": Mutant(
        "K2",
        "LSE returned in base 2",
        "always",
        ("vllm-project/vllm/pull/52796", "sgl-project/sglang/issues/40903"),
        ((STORE_LSE, "(b_max + tl.log(b_sum)) * 1.4426950408889634, mask=m_row)"),),
        diagnosis=("lse-base-2",),
    ),
    "lse-base-2-by-layout": Mutant(
        "K2",
        "the layout of q decides the base of LSE",
        "q is not contiguous",
        ("flashinfer-ai/flashinfer/issues/4485",),
        (("    return out, lse\n", "    return out, lse if q.is_contiguous() else lse * 1.4426950408889634\n"),),
        diagnosis=("lse-base-2",),
    ),
    "lse-of-nothing-is-plus-infinity": Mutant(
        "K2",
        "LSE of a row without keys is +inf",
        "an empty sequence",
        ("Dao-AILab/flash-attention/pull/978",),
        ((STORE_LSE, 'tl.where(b_sum > 0.0, b_max + tl.log(b_sum), float("inf")), mask=m_row)'),),
        diagnosis=("empty-lse-inf",),
    ),
}
