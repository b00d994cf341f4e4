"""PyTorch's own attention as decode kernels: scaled_dot_product_attention on gathered tokens, FlexAttention on the pool."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention
from torch.nn.functional import scaled_dot_product_attention

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.errors import TargetError
from fuzz_decode.targets.adapters.views import first_visible, token_pool
from fuzz_decode.targets.target import Arithmetic, target

BATCH = 4  # FlexAttention compiles for each number of sequences; engines, too, fill batches up
Q_BLOCK = 128  # rows of q that share a list of blocks; the kernel's tile divides it
VECTOR = 16  # bytes
MAX_FLASH_DIM = 256
MAX_POOL = 2**22  # elements
COMPILATIONS = 1000  # Dynamo's own limit is 8


def load(function: str) -> None:
    """Raises TargetError if this torch's FlexAttention returns no LSE."""
    if function == "flex" and not hasattr(flex_attention, "AuxRequest"):
        raise TargetError(f"target torch-flex needs torch 2.9 or later; this is {torch.__version__}")


def _aligned_queries(case: Case) -> str | None:
    """On a GPU the fused kernels load 16 bytes of q at a time. PyTorch selects them without a look at the address of q (issue
    183484: misaligned address), or finds none that takes its strides ("cutlassF: no kernel found to launch!"). K and V are
    gathered copies, which are aligned.
    """
    queries = case.layouts()["q"]
    strides, itemsize = queries.strides, getattr(torch, case.dtype).itemsize
    unfused = case.group > 1 and (case.dtype == "float32" or max(case.head_dim, case.value_head_dim) > MAX_FLASH_DIM)
    if unfused or strides["dim"] != 1 or not torch.cuda.is_available():
        return None
    starts = queries.layout.offset, strides["head"], strides["seq"] * (queries.sizes["seq"] > 1)
    aligned = all(start * itemsize % VECTOR == 0 for start in starts)
    return None if aligned else f"rows of q do not start at multiples of {VECTOR} bytes, which PyTorch needs on CUDA"


# cuBLAS, behind the unfused form, does not promise the same bits twice ("Results reproducibility" in its documentation)
@target(supports=_aligned_queries, arithmetic=Arithmetic(deterministic=False))
def sdpa(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float, *, window: int | None = None
) -> Tensor:
    """One call for each sequence that has tokens: softmax over no token is not defined."""
    out = q.new_zeros((*q.shape[:2], v_cache.shape[3]))
    block_size = k_cache.shape[1]
    for seq, length in enumerate(seq_lens.tolist()):
        tokens = torch.arange(first_visible(length, window), length, device=q.device)
        if len(tokens) == 0:
            continue
        blocks, slots = block_table[seq, tokens // block_size].long(), tokens % block_size
        k, v = (_packed(cache[blocks, slots].transpose(0, 1)) for cache in (k_cache, v_cache))
        found = scaled_dot_product_attention(q[seq, None, :, None], k[None], v[None], scale=scale, enable_gqa=True)
        out[seq] = found[0, :, 0]
    return out


def _packed(tensor: Tensor) -> Tensor:
    """A copy whose strides are those of a new tensor, also on axes of size 1: a gather keeps the order of the cache's axes, and
    the fused kernels want multiples of 16 bytes there, too."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _small_pool(case: Case) -> str | None:
    return "pool too large to copy" if case.span > MAX_POOL else None


@target(
    head_dims=(64,),
    value_head_dims="head_dim",
    block_sizes=(16,),
    groups=(4,),
    num_kv_heads=(2,),
    strides=StrideRules(contiguous=("q", "k", "v"), one_slot_stride=True),
    supports=_small_pool,
    arithmetic=Arithmetic(dots="float32", scaled_after_sum=True),
)
def flex(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The pool is one row of physical positions, hence one slot stride, and the block mask says which of them a sequence sees, as
    in torch.nn.attention.experimental._paged_attention; compiled on a GPU, eager on the CPU. torch 2.9 or later.

    FlexAttention multiplies what the mask hides by 0, so that its cache must be finite: it gets copies of K and V with their
    strides, NaN still in the gaps between them, and 0 in slots that nobody references.

    On a GPU it is compiled for each number of heads and head_dim, dtype, softcap or none, and for a dozen relations between
    strides; one size of each keeps 2,000 cases to about 100 compilations. The kernel itself takes any head_dim, and pages
    of a power of two from 16 on.
    """
    pools = _finite(pool(k_cache)), _finite(pool(v_cache))
    run = plan_flex(q, *pools, block_table, seq_lens, scale, block_size=k_cache.shape[1], window=window, softcap=softcap)
    out, aux = run()
    return out[: len(q), :, 0], aux.lse[: len(q), :, 0]


def plan_flex(
    q: Tensor,
    k_pool: Tensor,
    v_pool: Tensor,
    block_table: Tensor,
    seq_lens: Tensor,
    scale: float,
    *,
    block_size: int,
    window: int | None = None,
    softcap: float | None = None,
) -> Callable[[], Any]:
    """The call of FlexAttention on pools as they are, made once for a batch. Its out and lse have rows to spare."""
    rows = q.new_zeros((-(-len(q) // BATCH) * BATCH, q.shape[1], 1, q.shape[2]))
    rows[: len(q), :, 0] = q
    torch._dynamo.mark_static(rows)  # only for a batch size known to the compiler it takes its decoding kernel
    return functools.partial(
        _flex(q.is_cuda),
        rows,
        k_pool,
        v_pool,
        score_mod=None if softcap is None else _capped(torch.tensor(softcap, device=q.device)),
        block_mask=_paged_mask(block_table, seq_lens, len(rows), k_pool.shape[2] // block_size, block_size, window),
        scale=scale,
        enable_gqa=True,
        return_aux=flex_attention.AuxRequest(lse=True),
    )


def _paged_mask(
    block_table: Tensor, seq_lens: Tensor, batch: int, num_blocks: int, block_size: int, window: int | None
) -> flex_attention.BlockMask:
    """For each sequence the physical blocks that it sees, and a mask_mod that maps physical positions back to logical ones."""
    first, last, counts = seq_lens.new_zeros((3, batch)).unbind()
    indices, logical = block_table.new_zeros((batch, num_blocks)), block_table.new_full((batch, num_blocks), -1)
    for seq, length in enumerate(seq_lens.tolist()):
        first[seq], last[seq] = first_visible(length, window), length
        columns = torch.arange(first_visible(length, window) // block_size, -(-length // block_size), device=block_table.device)
        counts[seq] = len(columns)
        indices[seq, : len(columns)] = block_table[seq, columns]
        logical[seq, block_table[seq, columns].long()] = columns.int()

    def visible(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        token = logical[b, kv_idx // block_size] * block_size + kv_idx % block_size  # negative in foreign blocks
        return (token >= first[b]) & (token < last[b])

    return flex_attention.BlockMask.from_kv_blocks(
        counts[:, None, None],
        indices[:, None, None],
        BLOCK_SIZE=(Q_BLOCK, block_size),
        mask_mod=visible,
        seq_lengths=(1, num_blocks * block_size),
        compute_q_blocks=False,
    )


def _capped(softcap: Tensor) -> Callable[..., Tensor]:
    """A tensor, since a number would be compiled in."""

    def cap(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return cap


def pool(cache: Tensor) -> Tensor:
    """The pool as one row of a batch: [1, heads, num_slots, dim]."""
    slots = token_pool(cache)
    num_slots, heads, dim = slots.shape
    return slots.as_strided((1, heads, num_slots, dim), (0, slots.stride(1), slots.stride(0), slots.stride(2)))


def _finite(pool: Tensor) -> Tensor:
    return torch.empty_strided(pool.shape, pool.stride(), dtype=pool.dtype, device=pool.device).copy_(pool.nan_to_num())


@functools.cache
def _flex(compiled: bool) -> Callable[..., Any]:
    if compiled:
        torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = COMPILATIONS
        torch._dynamo.config.specialize_float = True  # else `scale` becomes a symbol, which the kernel cannot take
        torch._inductor.config.compile_threads = 1  # workers are processes already
        return torch.compile(flex_attention.flex_attention, fullgraph=True)  # an error, not eager code, if it cannot compile
    flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True  # else each shape is traced to run the same eager code
    return flex_attention.flex_attention
