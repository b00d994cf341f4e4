"""A Triton kernel as a target. `@target` declares what it takes, so that nothing else is drawn or counted against it.

python examples/triton_kernel.py
fuzz-decode --iters 300 --target examples/triton_kernel.py:decode
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode import Arithmetic, Strides, fuzz, target


@triton.jit
def attend(q, k, v, table, lens, out, scale, group, qs, qh, kb, kt, kh, vb, vt, vh, ts, SIZE: tl.constexpr, D: tl.constexpr):
    """One program per sequence and query head; one block of the cache at a time."""
    seq, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    n, kv, o_d, o_t = tl.load(lens + seq), head // group, tl.arange(0, D), tl.arange(0, SIZE).to(tl.int64)
    b_q = tl.load(q + seq * qs + head * qh + o_d).to(tl.float32)
    top, total, acc = float("-inf"), 0.0, tl.zeros([D], tl.float32)
    for page in range(tl.cdiv(n, SIZE)):
        block = tl.load(table + seq * ts + page).to(tl.int64)
        m_t = page * SIZE + o_t < n
        b_k = tl.load(k + block * kb + o_t[:, None] * kt + kv * kh + o_d, mask=m_t[:, None], other=0.0).to(tl.float32)
        b_v = tl.load(v + block * vb + o_t[:, None] * vt + kv * vh + o_d, mask=m_t[:, None], other=0.0).to(tl.float32)
        s = tl.where(m_t, tl.sum(b_q * b_k, 1) * scale, float("-inf"))
        new = tl.maximum(top, tl.max(s, 0))
        p, old, top = tl.exp(s - new), tl.exp(top - new), new
        total, acc = total * old + tl.sum(p, 0), acc * old + tl.sum(p[:, None] * b_v, 0)
    tl.store(out + (seq * tl.num_programs(1) + head) * D + o_d, acc / total)


@target(
    dtypes=("float16", "bfloat16"),
    head_dims=(64, 128),  # tl.arange takes powers of two
    value_head_dims="head_dim",
    block_sizes=(16, 32),
    min_seq_len=1,  # acc / total
    strides=Strides(contiguous=("q", "k", "v", "table")),  # no stride of the last axis is passed
    arithmetic=Arithmetic(probabilities="float32", scaled_after_sum=True),  # sharper bounds than the defaults
)
def decode(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    """The launcher: what fuzz-decode calls."""
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    rows = (*q.stride()[:2], *k_cache.stride()[:3], *v_cache.stride()[:3], block_table.stride(0))
    sizes = q.shape[1] // k_cache.shape[2], *rows, k_cache.shape[1], q.shape[2]
    attend[q.shape[:2]](q, k_cache, v_cache, block_table, seq_lens, out, scale, *sizes)
    return out


if __name__ == "__main__":
    findings = fuzz(f"{__file__}:decode", iters=25, device="cpu")  # in Triton's interpreter; device="cuda" compiles it
    print(*findings, f"{len(findings)} findings in 25 cases", sep="\n")
