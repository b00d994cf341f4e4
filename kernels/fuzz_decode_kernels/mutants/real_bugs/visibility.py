"""Faults of which tokens are visible: sliding window, block size, several query tokens."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import LAST, START, V_BLOCK, V_MASK

WINDOW = "window = min(window or max_len, max_len)"

MUTANTS: dict[str, Mutant] = {
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
        diagnosis=("tokens-dropped",),
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
