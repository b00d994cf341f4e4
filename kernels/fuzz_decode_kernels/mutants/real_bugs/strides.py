"""Faults of strides: of K and V, of q, of out and scratch, of axes of size 1."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import IN_ELEMENTS, K_BLOCK, K_SLOT, K_TOKEN, START, V_BLOCK, V_SLOT, V_TOKEN

K_PAGE, V_PAGE = "(i_block * s_kb).to(tl.int64) * UNIT", "(i_block * s_vb).to(tl.int64) * UNIT"
V_HEAD = "v_cache + i_kv * s_vh"
K_SHAPE = ("*k_cache.stride(),", "block_size * num_kv_heads * head_dim, num_kv_heads * head_dim, head_dim, 1,")
V_SHAPE = ("*v_cache.stride(),", "block_size * num_kv_heads * value_head_dim, num_kv_heads * value_head_dim, value_head_dim, 1,")
Q_ROW = "i_packed.to(tl.int64) * s_qb"
OUT_ROW = "i_packed * s_ob"
PARTIAL_LSE = "tl.store(partial_lse + i_part + o_part, b_lse"

MUTANTS: dict[str, Mutant] = {
    "k-block-stride-dense": Mutant(
        "S1",
        "block base of K rebuilt as block_size * slot stride",
        "K's pages have gaps between them: interleaved with V, padded, several layers",
        ("ROCm/aiter/pull/3498",),
        (IN_ELEMENTS, (K_BLOCK, "(i_block * (block_size * s_ks) + o_s * s_ks)")),
        diagnosis=("k-block-stride-dense",),
    ),
    "v-block-stride-dense": Mutant(
        "S1",
        "block base of V rebuilt as block_size * slot stride",
        "V's pages have gaps between them",
        ("vllm-project/vllm/pull/45111",),
        (IN_ELEMENTS, (V_BLOCK, "(i_block * (block_size * s_vs) + o_s * s_vs)")),
        diagnosis=("v-block-stride-dense",),
    ),
    "block-strides-dense": Mutant(
        "S1",
        "page stride of both caches taken to be block_size * slot stride, stride(0) is never read",
        "the cache is a slice of a larger pool",
        ("flashinfer-ai/flashinfer/issues/3856", "vllm-project/vllm-xpu-kernels/pull/258"),
        (
            IN_ELEMENTS,
            (K_BLOCK, "(i_block * (block_size * s_ks) + o_s * s_ks)"),
            (V_BLOCK, "(i_block * (block_size * s_vs) + o_s * s_vs)"),
        ),
        diagnosis=("kv-block-stride-dense",),
    ),
    "k-block-stride-truncated": Mutant(
        "S1",
        "page stride of K rebuilt from the quotient stride(0) // stride(1)",
        "pages padded by no multiple of the slot stride",
        ("vllm-project/vllm-xpu-kernels/pull/335", "vllm-project/vllm-xpu-kernels/pull/303"),
        (("*k_cache.stride(),", "k_cache.stride(0) // k_cache.stride(1) * k_cache.stride(1), *k_cache.stride()[1:],"),),
        diagnosis=("k-block-stride-truncated",),
    ),
    "k-block-stride-from-shape": Mutant(
        "S1",
        "page stride of K taken to be block_size * num_kv_heads * head_dim",
        "K's pages have gaps between them",
        ("local-inference-lab/b12x/pull/17", "ROCm/aiter/pull/3492"),
        ((K_TOKEN, "i_block.to(tl.int64) * (block_size * num_kv_heads * head_dim) + " + K_SLOT),),
        diagnosis=("k-block-stride-of-shape",),
    ),
    "v-block-stride-from-shape": Mutant(
        "S1",
        "V taken to lie in a plane of its own: page stride block_size * num_kv_heads * value_head_dim",
        "V's pages have gaps between them",
        ("vllm-project/vllm/pull/37228",),
        ((V_TOKEN, "i_block.to(tl.int64) * (block_size * num_kv_heads * value_head_dim) + " + V_SLOT),),
        diagnosis=("v-block-stride-of-shape",),
    ),
    "k-strides-from-shape": Mutant(
        "S1",
        "K's address is the slot formula of a contiguous NHD cache",
        "any other layout of K",
        ("vllm-project/vllm/pull/42420", "vllm-project/vllm/pull/36867"),
        (K_SHAPE,),
        diagnosis=("k-strides-dense",),
    ),
    "head-stride-dense": Mutant(
        "S1",
        "head stride of K taken to be head_dim, as in a dense NHD cache",
        "heads outside slots (HND), or padded rows",
        ("NVIDIA/TensorRT-LLM/issues/6507",),
        (
            ("p_k_head = k_cache + i_kv * s_kh", "p_k_head = k_cache + i_kv * head_dim"),
            ("p_e_head = k_cache + i_kv * s_kh", "p_e_head = k_cache + i_kv * head_dim"),
        ),
        diagnosis=("k-head-stride-dense",),
    ),
    "v-head-stride-hnd": Mutant(
        "S1",
        "head stride of V taken to be block_size * value_head_dim, as in a dense HND cache",
        "slots outside heads (NHD), or padding",
        ("NVIDIA/TensorRT-LLM/issues/6507",),
        ((V_HEAD, "v_cache + i_kv * block_size * value_head_dim"),),
        diagnosis=("v-head-stride-dense-HND",),
    ),
    "q-row-stride-dense": Mutant(
        "S2",
        "row stride of q taken to be num_q_heads * head_dim",
        "q is a slice of packed QKV",
        ("flashinfer-ai/flashinfer/pull/4625",),
        ((Q_ROW, "i_packed.to(tl.int64) * (num_kv_heads * group * head_dim)"),),
        diagnosis=("q-row-stride-dense",),
    ),
    "q-head-stride-dense": Mutant(
        "S2",
        "head stride of q taken to be head_dim",
        "q is a transposed view",
        ("Dao-AILab/flash-attention/pull/2670",),
        (("i_head * s_qh", "i_head * head_dim"),),
        diagnosis=("q-head-stride-dense",),
    ),
    "q-strides-cached": Mutant(
        "S2",
        "strides of q are remembered under a key of shapes",
        "a second call of the same shapes with other strides",
        ("flashinfer-ai/flashinfer/pull/4625",),
        (
            ("\nPOINTERS = (", "\n_SEEN = {}\nPOINTERS = ("),
            ("*q.stride(),", "*_SEEN.setdefault((num_q_heads, head_dim, q.dtype), q.stride()),"),
        ),
    ),
    "k-dim-stride-one": Mutant(
        "S2",
        "rows of K taken to be contiguous",
        "head_dim is not the innermost axis",
        ("flashinfer-ai/flashinfer/issues/1341",),
        (("o_d[None, :] * s_kd", "o_d[None, :]"), ("o_e[None, :] * s_kd", "o_e[None, :]")),
        diagnosis=("k-dim-stride-one",),
    ),
    "v-strides-from-shape": Mutant(
        "S2",
        "V is read as if it were contiguous",
        "V is a transposed or padded view",
        ("flagos-ai/FlagGems/issues/5896",),
        (V_SHAPE,),
        diagnosis=("v-strides-dense",),
    ),
    "k-packed-by-another-x": Mutant(
        "S4",
        "K is packed as [blocks, heads, dim / 8, slots, 8] and read as [blocks, heads, dim / 4, slots, 4]",
        "block_size > 1, head_dim a multiple of 8",
        (),
        (
            (
                "p_k = p_k_head + o_k[:, None]\n",
                "p_k = p_k_head + o_k[:, None]\n"
                "            if not V_IN_K:\n"
                "                o_x = (o_d // 4 * block_size * 4)[None, :] + (o_s * 4)[:, None] + (o_d % 4)[None, :]\n"
                "                o_x_slot = (o_x // 8 % block_size - o_s[:, None]) * s_ks * UNIT\n"
                "                o_x_dim = (o_x // (block_size * 8) * 8 + o_x % 8 - o_d[None, :]) * s_kd\n"
                "                p_k += tl.where(m_k & (head_dim % 8 == 0), o_x_slot + o_x_dim, 0)\n",
            ),
        ),
        diagnosis=("k-packed-by-8-read-by-4",),
    ),
    "v-uses-k-strides": Mutant(
        "S3",
        "V is read with K's strides",
        "V lies otherwise than K, or has rows of another length",
        ("Dao-AILab/flash-attention/commit/e3b2400a",),
        (("*v_cache.stride(),", "*k_cache.stride(),"),),
        diagnosis=("v-uses-k-strides",),
    ),
    "v-slots-step-like-k": Mutant(
        "S3",
        "V's slots are stepped through with K's row length",
        "head_dim is not value_head_dim",
        ("ikawrakow/ik_llama.cpp/pull/2031",),
        ((V_TOKEN, V_PAGE + " + o_s * (num_kv_heads * head_dim)"),),
        diagnosis=("v-slot-stride-of-other-rows",),
    ),
    "v-from-k-rows": Mutant(
        "S3",
        "K's rows are used as V wherever they are longer, as in MLA",
        "head_dim larger than value_head_dim, V not a prefix of K",
        ("vllm-project/vllm/pull/40705", "vllm-project/vllm/issues/45031"),
        ((START, "    if head_dim > value_head_dim:\n        v_cache = k_cache[..., :value_head_dim]\n" + START),),
        diagnosis=("v-from-k-rows",),
    ),
    "one-head-size-mask": Mutant(
        "S3",
        "one mask for the rows of K, V and out: head_dim",
        "head_dim is not value_head_dim",
        ("ROCm/aiter/pull/3698",),
        (
            ("(o_dv < value_head_dim)[None, :]", "(o_dv < head_dim)[None, :]"),
            ("window, q_len, num_kv_heads, group, value_head_dim,", "window, q_len, num_kv_heads, group, head_dim,"),
            ("block_dv = max(16, triton.next_power_of_2(value_head_dim))", "block_dv = block_d"),
        ),
        diagnosis=("out-store-head-dim",),
    ),
    "v-adjacent-to-k": Mutant(
        "S4",
        "where K and V share a storage, V is taken to follow K within a block",
        "K and V in one buffer, not interleaved by block",
        ("ovg-project/kvcached/pull/435", "vllm-project/vllm/issues/49716"),
        (
            (
                START,
                "    if k_cache.untyped_storage().data_ptr() == v_cache.untyped_storage().data_ptr():\n"
                "        after = k_cache.storage_offset() + block_size * num_kv_heads * head_dim\n"
                "        v_cache = v_cache.as_strided(v_cache.shape, v_cache.stride(), after)\n" + START,
            ),
        ),
        diagnosis=("v-start-after-k",),
    ),
    "k-slot-stride-dense": Mutant(
        "S4",
        "slot stride of K counts the data only, not what is packed behind it",
        "rows hold more than K: scales, V, padding",
        ("deepseek-ai/DeepGEMM/pull/311", "flashinfer-ai/flashinfer/issues/4044"),
        ((K_TOKEN, K_PAGE + " + o_s * (num_kv_heads * head_dim)"),),
        diagnosis=("k-slot-stride-dense",),
    ),
    "out-row-stride-dense": Mutant(
        "S5",
        "rows of out are advanced by num_q_heads * value_head_dim",
        "out has strides of its own",
        ("flagos-ai/FlagGems/issues/5235",),
        ((OUT_ROW, "i_packed * (num_kv_heads * group * value_head_dim)"),),
        diagnosis=("out-row-stride-dense",),
    ),
    "out-uses-q-strides": Mutant(
        "S5",
        "out is stored with q's strides",
        "out lies otherwise than q, or has rows of another length",
        ("XPU-Forces/mojo_opset/pull/371",),
        (("*out.stride(),", "*q.stride(),"),),
        diagnosis=("out-uses-q-strides",),
    ),
    "out-batch-stride-zero": Mutant(
        "S5",
        "row stride of out stays 0, so that rows after the first are never written",
        "two sequences or more",
        ("pytorch/pytorch/issues/194167", "Dao-AILab/flash-attention/pull/2550"),
        ((OUT_ROW, "i_packed * 0"),),
        diagnosis=("out-row-stride-ignored",),
    ),
    "out-store-too-wide": Mutant(
        "S5",
        "one element past value_head_dim is stored in every output row",
        "always",
        ("ROCm/aiter/pull/3698",),
        (
            (
                "    tl.store(p_out, b_out",
                "    m_end = m_row[:, None] & (o_dv == value_head_dim - 1)[None, :]\n"
                "    tl.store(p_out + s_od, (b_out * 0.0).to(out.dtype.element_ty), mask=m_end)\n"
                "    tl.store(p_out, b_out",
            ),
        ),
        diagnosis=("out-store-too-wide",),
    ),
    "lse-scratch-without-heads": Mutant(
        "S5",
        "the LSE of a part is stored without the KV head's stride",
        "two KV heads or more",
        ("Tencent/hpc-ops/pull/6",),
        ((PARTIAL_LSE, "tl.store(partial_lse + i_part - i_kv * num_row_blocks * BLOCK_H + o_part, b_lse"),),
        diagnosis=("uninitialised-scratch",),
    ),
    "lse-scratch-transposed": Mutant(
        "S5",
        "the LSE of a part is stored with hardcoded strides, parts innermost",
        "several KV heads, or more query rows than a program has",
        ("Dao-AILab/flash-attention/pull/2388",),
        (
            (
                PARTIAL_LSE,
                "tl.store(partial_lse + (i_column * (num_seqs + tl.num_programs(0) // num_columns) + i_place) * BLOCK_H"
                " + o_part, b_lse",
            ),
        ),
        diagnosis=("uninitialised-scratch",),
    ),
    "lse-gqa-order": Mutant(
        "S5",
        "LSE is returned in the order of swapped group and KV head where sequences are divided",
        "groups, several KV heads, more shares than sequences; out is right",
        ("vllm-project/flash-attention/pull/87",),
        (
            (
                "    return out, lse\n",
                "    if num_shares > num_seqs:\n"
                "        lse = lse.view(num_rows, num_kv_heads, group).transpose(1, 2).reshape(num_rows, num_q_heads)\n"
                "    return out, lse\n",
            ),
        ),
        diagnosis=("lse-gqa-order",),
    ),
    "k-slot-stride-from-head-stride": Mutant(
        "S6",
        "slot stride of K computed as num_kv_heads * head stride",
        "one KV head, whose stride may be anything",
        ("vllm-project/vllm/pull/40737",),
        ((K_TOKEN, K_PAGE + " + o_s * (num_kv_heads * s_kh)"),),
        diagnosis=("k-slot-stride-of-heads",),
    ),
    "v-slot-stride-from-head-stride": Mutant(
        "S6",
        "slot stride of V computed as num_kv_heads * head stride",
        "one KV head, whose stride may be anything",
        ("vllm-project/vllm/pull/40737",),
        ((V_TOKEN, V_PAGE + " + o_s * (num_kv_heads * s_vh)"),),
        diagnosis=("v-slot-stride-of-heads",),
    ),
}
