"""Faults of options: sinks, softcap, ALiBi, the mask sentinel and the range of exp, float8 scales."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs.lines import SEEN, V_WITHOUT_TAIL

SOFTCAP = "b_s = softcap * (2.0 / (1.0 + tl.exp(-2.0 * b_s / softcap)) - 1.0)"
ALIBI = "b_s += b_slope[:, None] * (o_t[None, :] - row_last[:, None] + 1).to(tl.float32)"
STAGE_1_MAX = 'b_max = tl.full([BLOCK_H], float("-inf"), tl.float32)'
RUNNING_MAX = "b_new = tl.maximum(b_max, tl.max(b_s, axis=1))"
SINK_TERM = "tl.exp(b_sink - b_pivot)"
SCALES = "float(scale) * float(k_scale or 1.0), float(v_scale or 1.0),"
WIDENED_K = "b_k = b_k.to(b_q.dtype)\n            b_v = b_v.to(b_q.dtype)"
UNBIASED = "(0.5 if k_cache.dtype.element_ty == tl.float8e4nv else 1.0)"

MUTANTS: dict[str, Mutant] = {
    "sink-for-each-split": Mutant(
        "A1",
        "the sink enters the denominator once for every part",
        "sinks and a sequence of several parts",
        ("ROCm/rocm-libraries/issues/12227",),
        ((SINK_TERM, "num_parts * tl.exp(b_sink - b_pivot)"),),
        diagnosis=("sink-for-each-split",),
    ),
    "sink-lost-in-splits": Mutant(
        "A1",
        "the path of divided sequences knows no sinks",
        "sinks and a sequence of several parts",
        ("kekzl/imp/pull/1346",),
        ((SINK_TERM, "tl.where(num_parts > 1, 0.0, tl.exp(b_sink - b_pivot))"),),
        diagnosis=("sinks-ignored",),
    ),
    "sinks-read-past-their-end": Mutant(
        "A1",
        "sinks are indexed by row, not by head",
        "sinks and two rows or more",
        ("flashinfer-ai/flashinfer/pull/4525",),
        (("tl.load(sinks + i_head,", "tl.load(sinks + i_packed * (num_kv_heads * group) + i_head,"),),
        diagnosis=("sink-by-row",),
    ),
    "sink-scaled": Mutant(
        "A1",
        "the sink is multiplied by the softmax scale",
        "sinks",
        ("ROCm/rocm-libraries/issues/12227",),
        (
            (
                "partial_lse, sinks, out, lse,\n        window",
                "partial_lse, None if sinks is None else sinks * scale, out, lse,\n        window",
            ),
        ),
        diagnosis=("sink-scaled",),
    ),
    "softcap-overflows": Mutant(
        "A2",
        "tanh from two exponentials: inf / inf",
        "scores beyond 88 times the cap",
        ("vllm-project/vllm/pull/56579", "vllm-project/vllm/issues/56578"),
        ((SOFTCAP, "b_s = softcap * (tl.exp(2.0 * b_s / softcap) - 1.0) / (tl.exp(2.0 * b_s / softcap) + 1.0)"),),
    ),
    "softcap-after-mask": Mutant(
        "A2",
        "the cap is applied after the mask, so that -inf becomes -softcap",
        "softcap and a tile that is not full",
        ("flashinfer-ai/flashinfer/pull/350",),
        (
            (SOFTCAP, "b_s = b_s * 1.0"),
            (SEEN, SEEN + "\n            if softcap is not None:\n                " + SOFTCAP),
            V_WITHOUT_TAIL,
        ),
    ),
    "softcap-ignored": Mutant(
        "A2",
        "the cap is hardcoded to none",
        "softcap",
        ("sgl-project/sglang/issues/33915",),
        (("float(softcap) if softcap else None", "None"),),
        diagnosis=("softcap-ignored",),
    ),
    "softcap-in-base-2": Mutant(
        "A2",
        "scores are multiplied by log2(e) before the cap, which is not",
        "softcap",
        (),
        (
            (
                SOFTCAP,
                "b_s = softcap * (2.0 / (1.0 + tl.exp(-2.0 * 1.4426950408889634 * b_s / softcap)) - 1.0) * 0.6931471805599453",
            ),
        ),
        diagnosis=("softcap-of-base-2",),
    ),
    "softcap-by-exp2": Mutant(
        "A2",
        "2**score is taken of capped scores instead of exp(score)",
        "softcap",
        (),
        ((SOFTCAP, SOFTCAP + " * 0.6931471805599453"),),
        diagnosis=("softcap-exp2",),
    ),
    "alibi-ignored": Mutant(
        "A3",
        "the path drops ALiBi",
        "ALiBi and two tokens or more",
        ("HabanaAI/vllm-fork/pull/438", "vllm-project/vllm/issues/57614"),
        ((ALIBI, "b_s += b_slope[:, None] * 0.0"),),
        diagnosis=("alibi-ignored",),
    ),
    "alibi-one-off": Mutant(
        "A3",
        "key positions are counted from one too far: a shift of all scores, which shows in LSE only",
        "ALiBi",
        ("vllm-project/vllm/pull/945",),
        ((ALIBI, "b_s += b_slope[:, None] * (o_t[None, :] - row_last[:, None]).to(tl.float32)"),),
        diagnosis=("alibi-off-by-one",),
    ),
    "alibi-slope-of-kv-head": Mutant(
        "A3",
        "slopes are indexed within a group, not by query head",
        "ALiBi and several KV heads",
        ("vllm-project/vllm/issues/57614",),
        (("tl.load(alibi_slopes + i_head,", "tl.load(alibi_slopes + o_row % group,"),),
        diagnosis=("alibi-of-head-in-group",),
    ),
    "finite-sentinel": Mutant(
        "A4",
        "the running maximum starts at -5e4",
        "rows whose scores all lie below",
        ("flashinfer-ai/flashinfer/issues/4267", "flashinfer-ai/flashinfer/issues/4450"),
        ((STAGE_1_MAX, "b_max = tl.full([BLOCK_H], -5e4, tl.float32)"),),
    ),
    "finite-mask-value": Mutant(
        "A4",
        "what is not visible scores -1e4 instead of -inf",
        "rows whose scores all lie below, a tile that is not full",
        ("vllm-project/vllm/pull/4405", "flashinfer-ai/flashinfer/issues/4451"),
        ((SEEN, "b_s = tl.where(m_s, b_s, -1e4)"), V_WITHOUT_TAIL),
    ),
    "exp-without-maximum": Mutant(
        "A4",
        "a fixed offset instead of the running maximum",
        "scores beyond 88",
        ("pytorch/executorch/pull/22133",),
        ((RUNNING_MAX, "b_new = tl.zeros_like(b_max)"),),
    ),
    "k-scale-ignored": Mutant(
        "Q1",
        "k_scale is ignored",
        "float8 caches with k_scale other than 1",
        ("sgl-project/sglang/pull/18882",),
        ((SCALES, "float(scale), float(v_scale or 1.0),"),),
        diagnosis=("k-scale-ignored",),
    ),
    "v-scale-ignored": Mutant(
        "Q1",
        "v_scale is ignored",
        "float8 caches with v_scale other than 1",
        ("vllm-project/vllm/pull/42580", "vllm-project/vllm/pull/36914"),
        ((SCALES, "float(scale) * float(k_scale or 1.0), 1.0,"),),
        diagnosis=("v-scale-ignored",),
    ),
    "scales-applied-twice": Mutant(
        "Q1",
        "k_scale and v_scale are applied twice",
        "float8 caches with scales other than 1",
        ("vllm-project/vllm/pull/48016",),
        ((SCALES, "float(scale) * float(k_scale or 1.0) ** 2, float(v_scale or 1.0) ** 2,"),),
        diagnosis=("k-and-v-scale-twice",),
    ),
    "float8-of-another-bias": Mutant(
        "Q1",
        "the bytes are viewed as FNUZ, whose exponent is biased by one more",
        "float8_e4m3fn caches",
        ("vllm-project/vllm/pull/45720", "vllm-project/vllm/issues/45562"),
        (
            (WIDENED_K, f"b_k = b_k.to(b_q.dtype) * {UNBIASED}\n            b_v = b_v.to(b_q.dtype) * {UNBIASED}"),
            ("tl.trans(b_e.to(b_q.dtype))", f"tl.trans(b_e.to(b_q.dtype) * {UNBIASED})"),
        ),
    ),
    "p-rounded-to-float8": Mutant(
        "Q1",
        "normalised weights are cast to e4m3, where small ones vanish",
        "float8 caches, many tokens of equal weight",
        ("ROCm/aiter/pull/5642",),
        (
            (
                "tl.dot(b_p.to(b_v.dtype), b_v,",
                "tl.dot((b_p.to(tl.float8e4nv) if v_cache.dtype.element_ty == tl.float8e4nv else b_p).to(b_v.dtype), b_v,",
            ),
        ),
    ),
}
