"""The paged-decode grids of five projects: parameter values and tolerances of their tests, as facts; none of their code.

Wherever a choice is needed, it favours the peer. The reference is the one in float64, even where the test compares a kernel with
itself. Blocks are distinct even where the test draws ids with repetition (aiter, vLLM): a Case has no repeated ids, and distinct
blocks detect more. Values are normal even where the test clamps them (aiter). Memory is laid out as in the test: one tensor of K
and V (FlashInfer) or heads outside slots (aiter's pa_decode) detects faults of a kernel that assumes slots outside heads, which
the peer's own kernels for that memory would not have. A parameter that only selects one of the peer's kernels (number of splits,
2D or 3D) gives no further case. Left out of every grid: q in fp8, caches in int8 and fp4, float8 of AMD (e4m3fn is used instead),
rotary embedding, and batches whose sequences have different numbers of query tokens.
"""

from __future__ import annotations

import dataclasses
import itertools

from fuzz_decode.evaluate.peer_grids.grid import DRAWN_WINDOW, Grid, GridShape, shapes
from fuzz_decode.oracles.tolerance import Tolerance

AITER_DECODE = (
    "https://github.com/ROCm/aiter/blob/4f355516a801f2f0bb52cd09f45f4963dd149f34"
    "/op_tests/triton_tests/attention/test_pa_decode.py"
)
AITER_UNIFIED = (
    "https://github.com/ROCm/aiter/blob/02c5025f1cb8382403cc085e3ddb27403665bdcc"
    "/op_tests/triton_tests/attention/test_unified_attention.py"
)
VLLM_DECODE = (
    "https://github.com/vllm-project/vllm/blob/16ef2eba522f6c9453f01b5450a1bb388be6c966"
    "/tests/kernels/attention/test_triton_decode_attention.py"
)
VLLM_UNIFIED = (
    "https://github.com/vllm-project/vllm/blob/003ee61625d33ae27df77f97748cb5867d0747b6"
    "/tests/kernels/attention/test_triton_unified_attention.py"
)
FLASHINFER = (
    "https://github.com/flashinfer-ai/flashinfer/blob/003c125d684376725fd9360e79b5c81025a3d6b1"
    "/tests/attention/test_batch_decode_kernels.py"
)
SGLANG = (
    "https://github.com/sgl-project/sglang/blob/0c0c7e760ec01b88c7408c9913ccbf4ff79ffe1b"
    "/test/registered/attention/test_triton_attention_kernels.py"
)
FLASH_ATTN = "https://github.com/Dao-AILab/flash-attention/blob/0251105a2fb19d2957484b7f023cd8c115286ced/tests/test_flash_attn.py"

UNIFIED_BATCH = ((523, 37, 2011),)  # the decode batch of vLLM's and aiter's unified tests
FLASHINFER_BATCHES = tuple((length,) * batch for batch in (12, 17, 128) for length in (54, 97, 512, 2048, 16384))
SGLANG_GROUPED = ((16, 16, 64, 64), (16, 1, 64, 64), (64, 1, 13, 13), (128, 1, 80, 80), (128, 2, 512, 512), (128, 1, 576, 512))

# (query tokens, length): one token, or several that are causal
FLASH_ATTN_DECODE = ((1, 128), (1, 339), (1, 131_072))
FLASH_ATTN_SEVERAL = ((3, 1024), (64, 800), (64, 256), (3, 799), (64, 2048), (16, 20_000), (16, 131_072), (128, 128))


def _flash_attn() -> dict[str, Grid]:
    """One test with four tolerances and meanings of causal."""
    grid = Grid(
        peer="flash-attn",
        source=FLASH_ATTN,
        published=304_128,
        left_out="cases that are not paged, append keys, have rotary embedding or several query tokens without causal; the "
        "number of splits, and causal where it changes nothing; in the test, slopes differ between sequences",
        shapes=_flash_attn_shapes(FLASH_ATTN_DECODE),
        block_sizes=(256,),
        windows=(None, DRAWN_WINDOW),
        dtypes=("float16",),
        tolerance=Tolerance(atol=1e-5, times=3.0),
        ragged=True,
        columns=3,
    )
    several = dataclasses.replace(grid, shapes=_flash_attn_shapes(FLASH_ATTN_SEVERAL))
    biased = Tolerance(atol=1e-5, times=5.0)
    return {
        "one token": grid,
        "one token, ALiBi": dataclasses.replace(grid, alibi=True, tolerance=biased),
        "several tokens": several,
        "several tokens, ALiBi": dataclasses.replace(several, alibi=True, tolerance=biased),
    }


def _flash_attn_shapes(tokens: tuple[tuple[int, int], ...]) -> tuple[GridShape, ...]:
    heads, dims = [(6, 6), (6, 1), (6, 3)], [(dim, dim) for dim in (32, 59, 64, 80, 128, 256)]
    return tuple(shape for q_len, length in tokens for shape in shapes([(length,) * 2], heads, dims, q_len))


GRIDS: dict[str, Grid] = {
    "aiter pa_decode": Grid(
        peer="aiter",
        source=AITER_DECODE,
        published=240,
        left_out="three of five dtype combinations (q in fp8, int8)",
        caches=(None, "float8_e4m3fn"),
        shapes=shapes([(length,) * batch for batch in (1, 4) for length in (1, 57, 1024)], [(1, 1), (8, 1)], [(128, 128)]),
        block_sizes=(1, 16),
        pools=(4, 16),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-2, atol=1e-2),
        family="HND",
    ),
    "aiter pa_decode, several partitions": Grid(
        peer="aiter",
        source=AITER_DECODE,
        published=12,
        left_out="nothing",
        shapes=tuple(
            GridShape((length,) * batch, heads, kv_heads, 128, 128)
            for (batch, heads, kv_heads), length in itertools.product([(1, 8, 1), (4, 16, 16), (64, 16, 16)], (2048, 8192))
        ),
        block_sizes=(16,),
        dtypes=("bfloat16", "float16"),
        tolerance=Tolerance(rtol=1e-2, atol=1e-2),
        family="HND",
    ),
    "aiter unified": Grid(
        peer="aiter",
        source=AITER_UNIFIED,
        published=1440,
        left_out="the batch with prefill; four of five dtype combinations, one of which is the next grid",
        sinks=True,
        shapes=shapes(UNIFIED_BATCH, [(4, 4), (8, 2), (16, 2)], [(128, 128), (256, 256)]),
        block_sizes=(16, 64, 48),
        pools=(32768, 2048),
        windows=(None, 256),
        softcaps=(None, 50.0),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-2, atol=1.5e-2),
    ),
    "aiter unified, float8 cache": Grid(
        peer="aiter",
        source=AITER_UNIFIED,
        published=1440,
        left_out="as in the previous grid; the test draws the scales",
        shapes=shapes(UNIFIED_BATCH, [(4, 4), (8, 2), (16, 2)], [(128, 128), (256, 256)]),
        block_sizes=(16, 64, 48),
        pools=(32768, 2048),
        windows=(None, 256),
        softcaps=(None, 50.0),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1.5e-1, atol=1.5e-1),
        sinks=True,
        caches=("float8_e4m3fn",),
        scales=(0.5, 0.25),
    ),
    "vllm decode": Grid(
        peer="vllm",
        source=VLLM_DECODE,
        published=96,
        left_out="nothing; the test compares the kernel with itself at block size 1, to rtol 1e-5: here it is compared with the "
        "reference, to the tolerance of vLLM's unified test",
        shapes=shapes(
            [(length,) * batch for batch in (3, 5) for length in (1027, 1025)],
            [(32, 32), (32, 8)],
            list(itertools.product((128, 192, 576), (128, 512))),
        ),
        block_sizes=(1, 16),
        slots=16384,
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-2, atol=1.5e-2),
    ),
    "vllm unified": Grid(
        peer="vllm",
        source=VLLM_UNIFIED,
        published=768,
        left_out="the batch with prefill; fp8; the choice between two of its kernels",
        shapes=shapes(UNIFIED_BATCH, [(4, 4), (8, 2), (5, 1)], [(128, 128), (256, 256)]),
        block_sizes=(16,),
        pools=(32768, 2048),
        windows=(None, 64, 128, 256),
        softcaps=(None, 50.0),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-2, atol=1.5e-2),
    ),
    "vllm unified, float8 cache": Grid(
        peer="vllm",
        source=VLLM_UNIFIED,
        published=48,
        left_out="the batch with prefill; the choice between two of its kernels",
        shapes=shapes(UNIFIED_BATCH, [(4, 4), (8, 2), (5, 1)], [(128, 128), (256, 256)]),
        block_sizes=(16,),
        pools=(32768, 2048),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1.5e-1, atol=1.5e-1),
        caches=("float8_e4m3fn",),
        scales=(0.5, 0.25),
    ),
    "flashinfer, K and V in one tensor": Grid(
        peer="flashinfer",
        source=FLASHINFER,
        published=1080,
        left_out="rotary embedding (half of the cases); the same tensors again with a fast plan (720) and in a graph (432)",
        caches=(None, "float8_e4m3fn"),
        shapes=shapes(FLASHINFER_BATCHES, [(4, 4), (32, 4)], [(128, 128), (256, 256), (512, 512)]),
        block_sizes=(1, 8, 16),
        dtypes=("float16",),
        tolerance=Tolerance(rtol=1e-3, atol=1e-3),
        family="interleaved",
        placement="identity",
    ),
    "flashinfer, K and V apart": Grid(
        peer="flashinfer",
        source=FLASHINFER,
        published=720,
        left_out="rotary embedding (half of the cases)",
        caches=(None, "float8_e4m3fn"),
        shapes=shapes(FLASHINFER_BATCHES, [(4, 4), (32, 4)], [(128, 128), (256, 256)]),
        block_sizes=(1, 8, 16),
        dtypes=("float16",),
        tolerance=Tolerance(rtol=1e-3, atol=1e-3),
        placement="identity",
    ),
    "sglang decode": Grid(
        peer="sglang",
        source=SGLANG,
        published=4,
        left_out="nothing",
        shapes=tuple(GridShape((10, 10), 4, kv_heads, dim, dim) for kv_heads, dim in ((4, 64), (2, 64), (4, 80), (4, 13))),
        block_sizes=(1,),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-2, atol=1e-2),
        placement="identity",
    ),
    "sglang grouped": Grid(
        peer="sglang",
        source=SGLANG,
        published=24,
        left_out="nothing; the test compares two kernels with each other: here each is compared with the reference",
        shapes=tuple(GridShape((length,) * 2, *shape) for length in (5, 100, 128, 500) for shape in SGLANG_GROUPED),
        block_sizes=(1,),
        dtypes=("bfloat16",),
        tolerance=Tolerance(rtol=1e-5, atol=3e-2),
        placement="identity",
    ),
    **{f"flash-attn kvcache, {words}": grid for words, grid in _flash_attn().items()},
}


def peers() -> tuple[str, ...]:
    """Names of the projects."""
    return tuple(dict.fromkeys(grid.peer for grid in GRIDS.values()))
