"""Faults of the block table and of integer width."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import K_SLOT, K_TOKEN, K_WITHOUT_TAIL, V_SLOT, V_TOKEN, looked_up_to

BLOCK_ID = "tl.sum(tl.load(p_block[:, None] + o_lane[None, :], mask=m_lane, other=0), axis=1)"

MUTANTS: dict[str, Mutant] = {
    "table-row-stride-needed-width": Mutant(
        "B1",
        "row stride of the block table taken to be the blocks that the longest sequence needs",
        "a table wider than needed, or a slice",
        ("NVIDIA/TensorRT-LLM/pull/17285",),
        (("*block_table.stride(),", "triton.cdiv(int(seq_lens.max()), block_size), block_table.stride(1),"),),
        diagnosis=("table-row-stride-needed-width",),
    ),
    "table-column-stride-one": Mutant(
        "B1",
        "entries of a table row taken to be contiguous",
        "the table is a column slice or transposed",
        ("NVIDIA/TensorRT-LLM/pull/17285",),
        (("(o_t // block_size) * s_tc", "(o_t // block_size)"),),
        diagnosis=("table-column-stride-one",),
    ),
    "table-row-for-each-query": Mutant(
        "B1",
        "table row of query token, not of sequence",
        "q_len > 1 and two sequences or more",
        ("vllm-project/vllm/issues/51848",),
        (("p_table = block_table + i_seq * s_tb", "p_table = block_table + i_seq * q_len * s_tb"),),
        diagnosis=("table-row-for-each-query",),
    ),
    "table-by-token": Mutant(
        "B1",
        "the table is indexed by token instead of by token // block_size",
        "block_size > 1",
        ("ROCm/aiter/pull/4440",),
        (("(o_t // block_size) * s_tc", "o_t * s_tc"),),
        diagnosis=("table-by-token",),
    ),
    "table-beyond-four-pages": Mutant(
        "B1",
        "pages after the fourth use the fourth's block id",
        "more than four pages",
        ("mirage-project/mirage/pull/575",),
        (("(o_t // block_size) * s_tc", "tl.minimum(o_t // block_size, 3) * s_tc"),),
        diagnosis=("table-beyond-4",),
    ),
    "table-half-filled": Mutant(
        "B1",
        "a fixed number of indices is filled, that of large pages: entries from the 32nd on stay 0",
        "more than 32 pages",
        ("sgl-project/sglang/pull/11985",),
        (("m_lane = (o_t >= 0)[:, None]", "m_lane = ((o_t >= 0) & (o_t // block_size < 32))[:, None]"),),
        diagnosis=("table-entries-from-32-are-0",),
    ),
    "blocks-consecutive": Mutant(
        "B1",
        "only the first entry of a table row is read, the blocks taken to follow it",
        "scattered pages",
        ("flashinfer-ai/flashinfer/issues/3219",),
        (("(o_t // block_size) * s_tc", "o_t * 0"), (BLOCK_ID, BLOCK_ID + " + o_t // block_size")),
        diagnosis=("blocks-consecutive",),
    ),
    "table-unmasked": Mutant(
        "B1",
        "the table is read past the sequence's pages, and V of whatever it names is loaded",
        "garbage in unused entries",
        ("vllm-project/vllm/issues/53658", "Dao-AILab/flash-attention/pull/2711"),
        (
            *looked_up_to("max_len"),
            K_WITHOUT_TAIL,
            (
                "    scale, v_scale, softcap, window: tl.int32,",
                "    max_len: tl.int32, scale, v_scale, softcap, window: tl.int32,",
            ),
            ("        float(scale) * float(k_scale", "        max_len, float(scale) * float(k_scale"),
        ),
        diagnosis=("tail-v-unmasked",),
    ),
    "k-block-offset-int32": Mutant(
        "I1",
        "block id * block stride of K in 32 bits",
        "K beyond 2**31 elements",
        ("vllm-project/vllm/pull/47671", "flashinfer-ai/flashinfer/pull/3136"),
        ((K_TOKEN, "(i_block.to(tl.int32) * (s_kb * UNIT).to(tl.int32)).to(tl.int64) + " + K_SLOT),),
        diagnosis=("k-block-offset-int32",),
    ),
    "v-block-offset-int32": Mutant(
        "I1",
        "block id * block stride of V in 32 bits",
        "V beyond 2**31 elements",
        ("ROCm/aiter/pull/4474",),
        ((V_TOKEN, "(i_block.to(tl.int32) * (s_vb * UNIT).to(tl.int32)).to(tl.int64) + " + V_SLOT),),
        diagnosis=("v-block-offset-int32",),
    ),
    "k-byte-offset-int32": Mutant(
        "I1",
        "offset of a block of K in bytes in 32 bits",
        "K beyond 2 GiB",
        ("ROCm/aiter/pull/4774", "local-inference-lab/b12x/pull/45"),
        ((K_TOKEN, "(i_block.to(tl.int64) * s_kb * UNIT * 4).to(tl.int32).to(tl.int64) // 4 + " + K_SLOT),),
        diagnosis=("k-block-offset-int32-floats",),
    ),
    "block-id-16-bit": Mutant(
        "I1",
        "block ids keep their low 16 bits only",
        "block ids from 65536",
        ("ROCm/aiter/issues/3062",),
        ((BLOCK_ID, BLOCK_ID + " & 0xFFFF"),),
        diagnosis=("block-id-16-bits",),
    ),
}
