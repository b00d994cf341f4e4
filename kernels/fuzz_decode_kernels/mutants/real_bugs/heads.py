"""Faults of head dims and of groups of query heads."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import START

ROWS = "m_row = o_row < q_len * group"
EXISTING = "m_row = (o_row < q_len * group) & (i_kv * group + o_row % group < HEADS)"
K_HEAD, E_HEAD, V_HEAD = (
    "p_k_head = k_cache + i_kv * s_kh",
    "p_e_head = k_cache + i_kv * s_kh",
    "p_v_head = v_cache + i_kv * s_vh",
)
# programs that take 16 query heads, whatever their KV heads are, in groups beyond 16
TILES_OF_HEADS = (
    (
        START,
        "    kv_group = group\n    if group > 16:\n        num_kv_heads, group = -(-num_q_heads // 16), 16\n" + START,
    ),
    (
        "LANES: tl.constexpr,\n):  # fmt: skip\n    # one grid",
        "LANES: tl.constexpr, HEADS: tl.constexpr, KV_GROUP: tl.constexpr,\n):  # fmt: skip\n    # one grid",
    ),
    ("LANES=max(", "HEADS=num_q_heads,\n        KV_GROUP=kv_group,\n        LANES=max("),
    (
        "BLOCK_DV: tl.constexpr,\n):  # fmt: skip\n    pid",
        "BLOCK_DV: tl.constexpr, HEADS: tl.constexpr,\n):  # fmt: skip\n    pid",
    ),
    ("BLOCK_S=block_s,", "BLOCK_S=block_s,\n        HEADS=num_q_heads,"),
    (ROWS + "\n    i_query", EXISTING + "\n    i_query"),
    (ROWS + "\n    m_dv", EXISTING + "\n    m_dv"),
    ("i_packed * (num_kv_heads * group) + i_head, b_max", "i_packed * HEADS + i_head, b_max"),
)
I_HEAD, WRONG_HEAD = "i_head = i_kv * group + o_row % group", "i_head = o_row % group * num_kv_heads + i_kv"

MUTANTS: dict[str, Mutant] = {
    "k-dim-padding-unmasked": Mutant(
        "H1",
        "K's row is loaded up to the next power of two, and multiplied by zeros of q",
        "head dims such as 40, 80, 96 with NaN behind the row",
        ("foundation-model-stack/vllm-triton-backend/pull/12",),
        (("tl.load(p_k, mask=m_k, other=0.0)", "tl.load(p_k)"),),
        diagnosis=("foreign-read",),
    ),
    "v-dims-floor-16": Mutant(
        "H1",
        "dims beyond the last multiple of 16 are never written",
        "value_head_dim such as 40 or 72",
        ("vllm-project/vllm/pull/34570",),
        (("m_dv = o_dv < value_head_dim", "m_dv = o_dv < value_head_dim // 16 * 16"),),
        diagnosis=("out-multiple-of-16",),
    ),
    "k-dims-floor-32": Mutant(
        "H1",
        "dims of K beyond the last multiple of 32 are left out of the scores",
        "head_dim such as 40, 72, 80 or 16",
        ("vllm-project/vllm/pull/34570", "pytorch/pytorch/pull/164931"),
        (("m_d = o_d < head_dim", "m_d = o_d < tl.maximum(head_dim // 32 * 32, 16)"),),
        diagnosis=("head-dim-multiple-of-32",),
    ),
    "gqa-modulo": Mutant(
        "G1",
        "query head h reads KV head h % num_kv_heads instead of h // group",
        "groups and several KV heads",
        ("apache/tvm/pull/17074",),
        (
            (I_HEAD + "\n    if alibi", WRONG_HEAD + "\n    if alibi"),
            (I_HEAD + "\n    i_packed", WRONG_HEAD + "\n    i_packed"),
        ),
        diagnosis=("gqa-modulo",),
    ),
    "kv-head-from-tiles": Mutant(
        "G1",
        "query heads are taken in tiles of 16, and a KV head has a whole number of tiles",
        "groups larger than 16, no multiple of 16, and two KV heads or more",
        ("vllm-project/vllm/pull/40792",),
        (
            (START, "    group = -(-group // 16) * 16 if group > 16 else group\n" + START),
            (
                "LANES: tl.constexpr,\n):  # fmt: skip\n    # one grid",
                "LANES: tl.constexpr, HEADS: tl.constexpr,\n):  # fmt: skip\n    # one grid",
            ),
            ("LANES=max(", "HEADS=num_q_heads,\n        LANES=max("),
            (
                "BLOCK_DV: tl.constexpr,\n):  # fmt: skip\n    pid",
                "BLOCK_DV: tl.constexpr, HEADS: tl.constexpr,\n):  # fmt: skip\n    pid",
            ),
            ("BLOCK_S=block_s,", "BLOCK_S=block_s,\n        HEADS=num_q_heads,"),
            (ROWS + "\n    i_query", EXISTING + "\n    i_query"),
            (ROWS + "\n    m_dv", EXISTING + "\n    m_dv"),
            ("i_packed * (num_kv_heads * group) + i_head, b_max", "i_packed * HEADS + i_head, b_max"),
        ),
        diagnosis=("kv-head-tiles-of-16",),
    ),
    "kv-head-of-first-in-tile": Mutant(
        "G1",
        "query heads are taken in tiles of 16, and the first one's KV head serves all of a tile",
        "groups larger than 16, no multiple of 16, and two KV heads or more",
        ("InternLM/lmdeploy/pull/2688",),
        (*TILES_OF_HEADS, *((line, line.replace("i_kv", "i_kv * group // KV_GROUP")) for line in (K_HEAD, E_HEAD, V_HEAD))),
        diagnosis=("kv-head-of-tile-of-16",),
    ),
    "kv-head-is-tile": Mutant(
        "G1",
        "query heads are taken in tiles of 16, and the number of a tile is taken for its KV head",
        "groups larger than 16",
        ("InternLM/lmdeploy/pull/2688",),
        TILES_OF_HEADS,
        diagnosis=("kv-head-is-tile-of-16",),
    ),
    "group-beyond-eight": Mutant(
        "G1",
        "query heads of a group after the eighth repeat the first ones",
        "groups larger than 8",
        ("NVIDIA/TensorRT-LLM/pull/6573",),
        (("i_head * s_qh", "(i_kv * group + o_row % group % 8) * s_qh"),),
        diagnosis=("q-head-beyond-8",),
    ),
    "batch-offset-missing-in-large-groups": Mutant(
        "G1",
        "K and V of sequence 0 are read for every sequence",
        "groups of 8 or more, two sequences or more",
        ("ml-explore/mlx/pull/4431",),
        (("p_table = block_table + i_seq * s_tb", "p_table = block_table + tl.where(group >= 8, 0, i_seq) * s_tb"),),
        diagnosis=("table-row-stride-ignored",),
    ),
    "last-tile-of-heads-dropped": Mutant(
        "G1",
        "query rows that do not fill a tile of 16 are dropped",
        "more than 16 query rows of a KV head, no multiple of 16",
        ("flashinfer-ai/flashinfer/pull/1614", "flashinfer-ai/flashinfer/pull/2380"),
        (
            (
                "m_row = o_row < q_len * group\n    i_query",
                "m_row = (o_row < q_len * group) & (o_row < tl.maximum(q_len * group // BLOCK_H, 1) * BLOCK_H)\n    i_query",
            ),
        ),
        diagnosis=("uninitialised-scratch",),
    ),
    "long-keys-in-groups": Mutant(
        "G1",
        "from 1024 keys on, groups take a second path that drops the first tile of a part",
        "groups, 1024 tokens or more",
        ("ml-explore/mlx/issues/4022",),
        (
            (
                "first = seq_first + (i_tile - before) * TILE",
                "first = seq_first + (i_tile - before + tl.where((group > 1) & (num_seen >= 1024), 1, 0)) * TILE",
            ),
        ),
        diagnosis=("tokens-dropped",),
    ),
}
