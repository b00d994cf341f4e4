"""Faults at the end of a sequence: over-read, masks of a partial block or tile, empty sequences."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import K_WITHOUT_TAIL, LAST, SEEN, START, V_BLOCK, V_WITHOUT_TAIL, looked_up_to

BLOCKS_END = "(num_seen + q_len - 1 + block_size - 1) // block_size * block_size"
MERGE_PIVOT = (
    'b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)\n        b_rescale = tl.exp(b_max - b_pivot)\n        b_weight ='
)
STORE_OUT = "tl.store(p_out, b_out.to(out.dtype.element_ty), mask=m_row"
LSE_ROW = "i_packed * (num_kv_heads * group) + i_head, b_max"

MUTANTS: dict[str, Mutant] = {
    "tail-v-unmasked": Mutant(
        "T1",
        "V of the last block's unused slots is loaded and multiplied by weight 0",
        "NaN in unused slots",
        ("vllm-project/vllm/pull/936", "vllm-project/vllm/pull/53856", "Dao-AILab/flash-attention/issues/1745"),
        (*looked_up_to(BLOCKS_END), K_WITHOUT_TAIL),
        diagnosis=("tail-v-unmasked",),
    ),
    "before-window-v-unmasked": Mutant(
        "T1",
        "V before the window is loaded and multiplied by weight 0",
        "freed blocks that hold NaN",
        ("vllm-project/vllm/pull/30887", "vllm-project/vllm/pull/53628"),
        (("first = tl.maximum(num_seen + first_query - window, 0)", "first = num_seen * 0"),),
        diagnosis=("window-v-unmasked",),
    ),
    "tail-k-masked-by-adding": Mutant(
        "T1",
        "K of unused slots is loaded, and -inf added to its scores",
        "NaN in unused slots: NaN - inf is NaN",
        ("deepbeepmeep/Wan2GP/pull/1628", "vllm-project/vllm/pull/47305"),
        (
            *looked_up_to(BLOCKS_END),
            V_WITHOUT_TAIL,
            (SEEN, 'b_s = b_s + tl.where(m_s, 0.0, float("-inf"))'),
        ),
        diagnosis=("tail-k-unmasked",),
    ),
    "tail-reads-block-0": Mutant(
        "T1",
        "tokens past the end fold to block 0, whose V is multiplied by weight 0",
        "NaN in block 0",
        ("ROCm/aiter/pull/4245", "vllm-project/vllm/issues/57156"),
        ((V_BLOCK, "(tl.where(o_t < last, i_block, 0) * s_vb + o_s * s_vs)"),),
        diagnosis=("block-0-read",),
    ),
    "tail-off-by-one": Mutant(
        "T2",
        "one token past the end of the sequence is visible",
        "always",
        ("vllm-project/vllm-xpu-kernels/pull/181",),
        ((START, "    seq_lens = seq_lens + 1\n" + START),),
        diagnosis=("tail-one-more",),
    ),
    "tail-weighs-in": Mutant(
        "T2",
        "lanes past the end score 0 instead of -inf, so that the denominator holds them",
        "lengths that are no multiple of the tile",
        ("flashinfer-ai/flashinfer/issues/3716",),
        ((SEEN, "b_s = tl.where(m_s, b_s, 0.0)"), V_WITHOUT_TAIL),
        diagnosis=("tail-weighs-in",),
    ),
    "visible-to-the-block-s-end": Mutant(
        "T2",
        "the last block counts as filled",
        "lengths that are no multiple of block_size",
        ("pytorch/pytorch/pull/160861", "vllm-project/vllm/pull/2231"),
        ((START, "    seq_lens = (seq_lens + block_size - 1) // block_size * block_size\n" + START),),
        diagnosis=("tail-to-block-end",),
    ),
    "partial-block-dropped": Mutant(
        "T2",
        "tokens of the last, partly filled block are left out",
        "sequences of a block and a part",
        ("vllm-project/vllm/pull/438",),
        ((LAST, "last = tl.minimum(seq_first + (end - before) * TILE, seq_last // block_size * block_size)"),),
        diagnosis=("partial-block-dropped",),
    ),
    "two-empty-states-merge-to-nan": Mutant(
        "Z1",
        "the merge computes -inf - -inf",
        "a row without tokens",
        ("vllm-project/vllm/pull/28181", "flashinfer-ai/flashinfer/issues/4051", "Dao-AILab/flash-attention/commit/26d7d92f"),
        (
            (MERGE_PIVOT, "b_pivot = b_new\n        b_rescale = tl.exp(b_max - b_pivot)\n        b_weight ="),
            ("in range(0, num_parts, BLOCK_S):", "in range(0, tl.maximum(num_parts, 1), BLOCK_S):"),
        ),
        diagnosis=("empty-rows-and-lse-nan",),
    ),
    "empty-row-unwritten": Mutant(
        "Z1",
        "rows of empty sequences are skipped",
        "padded batches",
        ("vllm-project/vllm/pull/37442",),
        ((STORE_OUT, "tl.store(p_out, b_out.to(out.dtype.element_ty), mask=(m_row & (b_sum > 0.0))"),),
        diagnosis=("empty-rows-unwritten",),
    ),
    "empty-row-divided-by-zero": Mutant(
        "Z1",
        "the output of an empty sequence is 0 / 0",
        "padded batches",
        ("flashinfer-ai/flashinfer/issues/2883", "sgl-project/sglang/pull/1779"),
        (("b_out = b_out / tl.where(b_sum > 0.0, b_sum, 1.0)[:, None]", "b_out = b_out / b_sum[:, None]"),),
        diagnosis=("empty-rows-nan",),
    ),
    "empty-row-lse-elsewhere": Mutant(
        "Z1",
        "an empty row writes its LSE into another row",
        "an empty sequence in front of others",
        ("Dao-AILab/flash-attention/pull/2573",),
        (
            (
                LSE_ROW,
                "tl.minimum(i_packed * (num_kv_heads * group) + i_head + tl.where(b_sum > 0.0, 0, 1),"
                " num_seqs * q_len * num_kv_heads * group - 1), b_max",
            ),
        ),
        diagnosis=("uninitialised-scratch",),
    ),
}
