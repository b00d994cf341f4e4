"""Faults of what is visible: over-reads, partial blocks, empty sequences, splits, windows, block sizes, query tokens."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import K_WITHOUT_TAIL, SEEN, START, V_BLOCK, V_MASK, V_WITHOUT_TAIL, looked_up_to

BLOCKS_END = "(num_seen + q_len - 1 + block_size - 1) // block_size * block_size"
TILE_PIVOT = (
    'b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)\n            b_rescale = tl.exp(b_max - b_pivot)\n            b_p ='
)
MERGE_PIVOT = (
    'b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)\n        b_rescale = tl.exp(b_max - b_pivot)\n        b_weight ='
)
STORE_OUT = "tl.store(p_out, b_out.to(out.dtype.element_ty), mask=m_row"
LSE_ROW = "i_packed * (num_kv_heads * group) + i_head, b_max"
STORE_LSE = "b_max + tl.log(b_sum), mask=m_row)"
NUM_PARTS = "num_parts = tl.where(last > first, tl.load(p_parts + 1) - first_share + 1, 0)"
LAST = "last = tl.minimum(seq_first + (end - before) * TILE, seq_last)"
WINDOW = "window = min(window or max_len, max_len)"

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
    "window-one-wider": Mutant(
        "W1",
        "the window holds one token too many",
        "sequences longer than the window",
        ("ModelTC/LightLLM/pull/1311",),
        ((WINDOW, "window = min(window + 1 if window else max_len, max_len)"),),
        diagnosis=("window-one-more",),
    ),
    "window-ignored": Mutant(
        "W1",
        "the kernel is launched without the window",
        "sequences longer than the window",
        ("EricLBuehler/mistral.rs/issues/2094", "vllm-project/vllm/pull/29065", "sgl-project/sglang/pull/31501"),
        ((WINDOW, "window = max_len"),),
        diagnosis=("window-ignored",),
    ),
    "window-of-the-last-query": Mutant(
        "W1",
        "one window start, that of the last query token, for all of them",
        "q_len > 1 with a window",
        ("flashinfer-ai/flashinfer/pull/4137",),
        (("row_first = row_last - window", "row_first = row_last * 0 + num_seen + q_len - 1 - window"),),
        diagnosis=("query-window-start-of-last",),
    ),
    "newest-dropped-by-window": Mutant(
        "W1",
        "as many parts of 16 tokens as an aligned window needs: the newest tokens of an unaligned one are left out",
        "a window that starts at no multiple of 16",
        ("openvinotoolkit/openvino/pull/38034",),
        (
            (
                LAST,
                "covered = seq_first // 16 * 16 + (window + 15) // 16 * 16\n"
                "        last = tl.minimum(seq_first + (end - before) * TILE, tl.minimum(seq_last, covered))",
            ),
        ),
        diagnosis=("tokens-dropped",),
    ),
    "block-size-power-of-two": Mutant(
        "P1",
        "block_size is rounded up to a power of two",
        "block sizes such as 544",
        ("ROCm/aiter/pull/2393", "ROCm/aiter/pull/2190"),
        (
            (
                "num_kv_heads, group, head_dim, value_head_dim, block_size, num_seqs",
                "num_kv_heads, group, head_dim, value_head_dim, triton.next_power_of_2(block_size), num_seqs",
            ),
        ),
        diagnosis=("block-size-power-of-two",),
    ),
    "tile-straddles-block": Mutant(
        "P1",
        "one block id serves a whole tile",
        "tiles that do not divide a block",
        ("ai-bond/flash-attention-v100/issues/41",),
        (("(o_t // block_size) * s_tc", "(o_t * 0 + tl.min(o_t, axis=0) // block_size) * s_tc"),),
        diagnosis=("tile-32-straddles-block",),
    ),
    "v-block-once-a-tile": Mutant(
        "P1",
        "V's block id is advanced once a tile of K",
        "tiles that do not divide a block",
        ("flashinfer-ai/flashinfer/pull/3022", "NVIDIA/TensorRT-LLM/pull/18244"),
        ((V_BLOCK, "(tl.load(p_table + (i_t // block_size) * s_tc) * s_vb + o_s * s_vs)"),),
        diagnosis=("v-tile-32-straddles-block",),
    ),
    "v-slots-beyond-128-dropped": Mutant(
        "P1",
        "V beyond a block's 128th slot is left out",
        "block_size of 256 or more",
        ("vllm-project/vllm/pull/438",),
        ((V_MASK, "mask=(o_s < 128)[:, None] & m_v, other=0.0)"),),
        diagnosis=("v-slots-from-128-dropped",),
    ),
    "slots-modulo-16": Mutant(
        "P1",
        "a block is taken to have 16 slots",
        "block_size of 32 or more, 17 tokens or more",
        ("vllm-project/vllm/issues/57614",),
        (("o_t % block_size", "o_t % block_size % 16"),),
        diagnosis=("slots-modulo-16",),
    ),
    "middle-of-long-sequences-dropped": Mutant(
        "P1",
        "of pages of 256 and more, the first 512 tokens and the last page count",
        "block_size of 256 or more, long sequences",
        ("flashinfer-ai/flashinfer/issues/4347",),
        (
            (
                "m_s = (o_t",
                "m_end = (o_t < 512) | (o_t // block_size == (num_seen + q_len - 2) // block_size)\n"
                "            m_s = (m_end | (block_size < 256))[None, :] & (o_t",
            ),
        ),
    ),
    "causal-mask-ignored": Mutant(
        "Q2",
        "every query token sees up to the last one",
        "q_len > 1",
        ("flashinfer-ai/flashinfer/pull/4382",),
        (("row_last = num_seen + i_query", "row_last = num_seen + q_len - 1 + i_query * 0"),),
        diagnosis=("query-window-of-last",),
    ),
    "q-padded-to-four": Mutant(
        "Q2",
        "q is indexed as if q_len were padded to a multiple of 4",
        "q_len 2, 3, 5 and two sequences or more",
        ("flashinfer-ai/flashinfer/pull/4382", "flashinfer-ai/flashinfer/pull/4059"),
        (("i_packed.to(tl.int64) * s_qb", "(i_seq * ((q_len + 3) // 4 * 4) + i_query).to(tl.int64) * s_qb"),),
        diagnosis=("q-padded-to-4",),
    ),
    "query-tokens-beside-seq-len": Mutant(
        "Q2",
        "seq_lens is taken not to count the query tokens",
        "q_len > 1",
        ("sgl-project/sgl-kernel-xpu/issues/196",),
        ((START, "    seq_lens = seq_lens + (q_len if q_len > 1 else 0)\n" + START),),
        diagnosis=("query-tokens-beside-seq-len",),
    ),
}
