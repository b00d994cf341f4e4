"""Tensors of a bench, created on the device: copies of the cache with normal random numbers everywhere, distinct blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.bench.shapes import cache_bytes
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import CACHE_AXES
from fuzz_decode.problems.problem import Buffer

DRAWN_AT_ONCE = 2**26  # elements
COPIES_PER_L2 = 4  # all copies of the cache together are at least this many times as large as the L2 cache
MAX_COPIES = 16


@dataclass(frozen=True, slots=True)
class Inputs:
    """The arguments of a target."""

    case: Case
    q: Tensor
    """[num_rows, num_q_heads, head_dim]"""
    caches: tuple[tuple[Tensor, Tensor], ...]
    """Copies of (K, V). Calls take them in turn, so that no call finds its cache in L2."""
    block_table: Tensor
    """[num_seqs, width] int32"""
    seq_lens: Tensor
    """[num_seqs] int32"""
    out: Tensor
    """[num_rows, num_q_heads, value_head_dim]"""

    def arguments(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        """The six positional arguments of a target."""
        return self.q, k, v, self.block_table, self.seq_lens, self.case.softmax_scale

    def options(self) -> dict[str, Any]:
        """The options that change the answer."""
        case = self.case
        return {"window": case.window, "k_scale": case.k_scale, "v_scale": case.v_scale, "q_len": case.q_len}


def build_inputs(case: Case, device: str) -> Inputs:
    """With as many copies of the cache as keep L2 cold; one on the CPU."""
    # not the default generator: that one is unusable after a graph capture that failed
    rng = torch.Generator(device).manual_seed(case.seed)
    dtype, rows = getattr(torch, case.dtype), (case.num_rows, case.num_q_heads)
    return Inputs(
        case=case,
        q=torch.randn(*rows, case.head_dim, dtype=dtype, device=device, generator=rng),
        caches=tuple(_caches(case, device, rng) for _ in range(copies(case, _l2_bytes(device)))),
        block_table=_block_table(case, device, rng),
        seq_lens=torch.tensor(case.seq_lens, dtype=torch.int32, device=device),
        out=torch.empty(*rows, case.value_head_dim, dtype=dtype, device=device),
    )


def copies(case: Case, l2_bytes: int) -> int:
    """The number of copies of the cache."""
    return min(MAX_COPIES, max(1, -(-COPIES_PER_L2 * l2_bytes // max(1, cache_bytes(case)))))


def _l2_bytes(device: str) -> int:
    return int(torch.cuda.get_device_properties(device).L2_cache_size) if device != "cpu" else 0


def _caches(case: Case, device: str, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    dtype = getattr(torch, case.cache_dtype or case.dtype)
    sizes = case.cache_sizes(case.k_row)
    shared = Buffer(_normal(case.k.extent(sizes), dtype, device, rng), 0)
    k = shared.view(case.k, sizes, CACHE_AXES, kv=0)[..., : case.head_dim]
    if case.v is None:
        return k, shared.view(case.k, sizes, CACHE_AXES, kv=1)[..., : case.value_head_dim]
    sizes = case.cache_sizes(case.value_head_dim)
    return k, Buffer(_normal(case.v.extent(sizes), dtype, device, rng), 0).view(case.v, sizes, CACHE_AXES)


def _normal(elements: int, dtype: torch.dtype, device: str, rng: torch.Generator) -> Tensor:
    """Normal numbers in chunks: float8, which no generator draws, is drawn as bfloat16 without a second buffer of all."""
    drawn = dtype if dtype.itemsize > 1 else torch.bfloat16
    storage = torch.empty(elements, dtype=dtype, device=device)
    for start in range(0, elements, DRAWN_AT_ONCE):
        chunk = storage[start : start + DRAWN_AT_ONCE]
        chunk.copy_(torch.randn(chunk.shape, dtype=drawn, device=device, generator=rng))
    return storage


def _block_table(case: Case, device: str, rng: torch.Generator) -> Tensor:
    """[num_seqs, width] int32: every block once, in order or shuffled; unused entries are 0."""
    needed = torch.tensor([-(-length // case.block_size) for length in case.seq_lens], device=device)
    used = torch.arange(case.table_width, device=device) < needed[:, None]
    blocks = torch.arange(case.num_blocks, dtype=torch.int32, device=device)
    if case.table.placement == "permuted":
        blocks = blocks[torch.randperm(case.num_blocks, device=device, generator=rng)]
    table = torch.zeros(used.shape, dtype=torch.int32, device=device)
    table[used] = blocks[: case.num_pages]
    return table
