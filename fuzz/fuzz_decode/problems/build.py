"""Case -> Problem: real tensors in guarded, poisoned storage.

Every byte that the case does not reference is NaN: gaps between strides, foreign blocks and layers, tails of blocks, and
GUARD bytes before and after every allocation. Spans too large to fill are committed lazily on the CPU (only touched pages
exist) and poisoned around what is live. Live inputs are never poisoned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import UNUSED_ENTRIES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.problems.poison import _fill_around, _fill_unused, _fill_unwritten
from fuzz_decode.problems.problem import GUARD, Buffer, Problem
from fuzz_decode.problems.values import Values, make_values

FILL_LIMIT = 2**24  # bytes; larger CPU buffers are poisoned around their live rows only
MEMORY = ("poisoned", "random")  # what fills all that a case does not reference
_HEAD = dense(("head",))


def build_problem(case: Case, device: str, values: Values | None = None, memory: str = "poisoned") -> Problem:
    """Lay the case's values out on `device` ("cpu" or "cuda"). `values` overrides them, to lay the same values out elsewhere.

    `memory` is one of MEMORY. "random" puts finite numbers where NaN would be, another one in every place, so that an output
    tells which of them it was made of: what diagnosis looks at, and how other projects' tests fill their caches.
    """
    values = make_values(case) if values is None else values
    dtype, cache_dtype = getattr(torch, case.dtype), getattr(torch, case.cache_dtype or case.dtype)
    heads = {"head": case.num_q_heads}
    buffers = {
        "k": _allocate(case.k, case.cache_sizes(case.k_row), cache_dtype, device),
        "q": _allocate(case.q, case.query_sizes(case.head_dim), dtype, device),
        "out": _allocate(case.out, case.query_sizes(case.value_head_dim), dtype, device),
        "block_table": _allocate(case.table.layout, case.table_sizes(), torch.int32, device),
        "seq_lens": _allocate(dense(("seq",)), {"seq": case.num_seqs}, torch.int32, device),
    }
    if case.v is not None:
        buffers["v"] = _allocate(case.v, case.cache_sizes(case.value_head_dim), cache_dtype, device)
    for name, used in (("alibi_slopes", case.alibi), ("sinks", case.sinks)):
        if used:
            buffers[name] = _allocate(_HEAD, heads, torch.float32, device)
    problem = Problem(
        case=case,
        values=values,
        q=buffers["q"].view(case.q, case.query_sizes(case.head_dim), QUERY_AXES),
        k_cache=_cache_view(buffers["k"], case.k, case, case.k_row, 0)[..., : case.head_dim],
        v_cache=_value_view(buffers, case),
        block_table=buffers["block_table"].view(case.table.layout, case.table_sizes(), TABLE_AXES),
        seq_lens=buffers["seq_lens"].view(dense(("seq",)), {"seq": case.num_seqs}, ("seq",)),
        scale=case.softmax_scale,
        out=buffers["out"].view(case.out, case.query_sizes(case.value_head_dim), QUERY_AXES),
        alibi_slopes=buffers["alibi_slopes"].view(_HEAD, heads, ("head",)) if case.alibi else None,
        sinks=buffers["sinks"].view(_HEAD, heads, ("head",)) if case.sinks else None,
        buffers=buffers,
        memory=memory,
    )
    _fill(problem)
    return problem


def is_small(case: Case) -> bool:
    """Whether every buffer is filled on the CPU, too."""
    itemsize = getattr(torch, case.dtype).itemsize
    return bool(case.span * itemsize + 2 * GUARD <= FILL_LIMIT)


def _allocate(layout: Layout, sizes: dict[str, int], dtype: torch.dtype, device: str) -> Buffer:
    guard = GUARD // dtype.itemsize
    storage = torch.empty(2 * guard + layout.extent(sizes), dtype=dtype, device=device)
    return Buffer(storage, guard)


def _cache_view(buffer: Buffer, layout: Layout, case: Case, row: int, plane: int) -> Tensor:
    return buffer.view(layout, case.cache_sizes(row), CACHE_AXES, layer=case.layer, kv=plane)


def _value_view(buffers: dict[str, Buffer], case: Case) -> Tensor:
    if case.v is not None:
        return _cache_view(buffers["v"], case.v, case, case.value_head_dim, 0)
    return _cache_view(buffers["k"], case.k, case, case.k_row, 1)[..., : case.value_head_dim]


def _fill(problem: Problem) -> None:
    case, values = problem.case, problem.values
    rng = torch.Generator().manual_seed(case.seed + 1) if problem.memory == "random" else None
    device, dtype = problem.q.device, problem.k_cache.dtype
    block = torch.tensor(case.blocks(), dtype=torch.long)[values.tokens.page].to(device)
    slot = values.tokens.slot.to(device)
    for name, buffer in problem.buffers.items():
        if name == "out":
            _fill_unwritten(buffer.storage)
        elif name not in ("k", "v") or _fits(buffer):
            _fill_unused(buffer.storage, case, rng)
    for name, cache in (("k", problem.k_cache), ("v", problem.v_cache)):
        buffer = problem.buffers.get(name, problem.buffers["k"])
        if not _fits(buffer):
            _fill_around(buffer, cache, block, slot, case, rng)
    problem.k_cache[block, slot] = values.k.to(device, dtype)
    if not case.v_prefix_of_k:
        problem.v_cache[block, slot] = values.v.to(device, dtype)
    problem.q.copy_(values.q)
    for given, drawn in ((problem.alibi_slopes, values.alibi_slopes), (problem.sinks, values.sinks)):
        if given is not None:
            given.copy_(drawn)
    problem.seq_lens.copy_(torch.tensor(case.seq_lens, dtype=torch.int32))
    problem.block_table.copy_(_table_entries(case))


def _table_entries(case: Case) -> Tensor:
    """[num_seqs, width] int32: block ids, and what unused entries hold."""
    blocks = case.blocks() or [0]
    unused = UNUSED_ENTRIES[case.table.unused]
    rows = []
    for number, pages in enumerate(case.pages()):
        spare = range(case.table_width - len(pages))
        stale = [blocks[(number + place) % len(blocks)] if unused is None else unused for place in spare]
        rows.append([blocks[page] for page in pages] + stale)
    return torch.tensor(rows, dtype=torch.int32)


def _fits(buffer: Buffer) -> bool:
    return buffer.storage.device.type != "cpu" or buffer.storage.nbytes <= FILL_LIMIT
