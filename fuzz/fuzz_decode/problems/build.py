"""Case -> Problem: tensors in guarded, poisoned storage.

Every byte that the case does not reference is NaN: gaps between strides, foreign blocks and layers, tails of blocks, and
GUARD bytes before and after every allocation; at the places that the case names in `finite` it is finite garbage. Buffers too
large to fill are committed lazily on the CPU (only touched pages exist) and poisoned around the live rows. Live inputs are never
poisoned.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import UNUSED_ENTRIES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.problems.garbage import LARGE, CacheGarbage, cache_garbage, garbage_like, largest_garbage
from fuzz_decode.problems.poison import FILL_LIMIT, Fill, background, fill_around_rows, fill_unwritten, is_filled_whole, noise
from fuzz_decode.problems.problem import GUARD, Buffer, Problem
from fuzz_decode.problems.values import Values, make_values

MEMORY = ("poisoned", "random")  # what fills the memory that a case does not reference
_HEAD = dense(("head",))


def build_problem(case: Case, device: str, values: Values | None = None, memory: str = "poisoned") -> Problem:
    """Lay the case's values out on `device` ("cpu" or "cuda"). `values` overrides them, to lay the same values out differently.

    `memory` is one of MEMORY. "random" puts finite numbers where NaN would be, a distinct one at every address, so that an output
    shows which of them it was computed from: diagnosis needs that, and other projects' tests fill their caches so.
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
    """Whether every buffer is filled whole on the CPU, too."""
    itemsize = getattr(torch, case.dtype).itemsize
    return bool(case.span * itemsize + 2 * GUARD <= FILL_LIMIT)


def _allocate(layout: Layout, sizes: dict[str, int], dtype: torch.dtype, device: str) -> Buffer:
    """The span of a layout between two guards. torch.empty touches no page, so that a huge span costs nothing yet."""
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
    """First all memory, then the values over it: what no value overwrites stays poison."""
    case, values = problem.case, problem.values
    device, dtype = problem.q.device, problem.k_cache.dtype
    block = torch.tensor(case.blocks(), dtype=torch.long)[values.tokens.page].to(device)
    slot = values.tokens.slot.to(device)
    fills = _fills(problem)
    for name, buffer in problem.buffers.items():
        if name == "out":
            fill_unwritten(buffer.storage)
        elif name not in ("k", "v") or is_filled_whole(buffer):
            fills[name](buffer.storage)
    for name, cache in (("k", problem.k_cache), ("v", problem.v_cache)):
        owner = name if name in problem.buffers else "k"
        if not is_filled_whole(problem.buffers[owner]):
            fill_around_rows(problem.buffers[owner], cache, block, slot, fills[owner])
    if case.finite and problem.memory == "poisoned":
        _write_garbage(problem)
    problem.k_cache[block, slot] = values.k.to(device, dtype)
    if not case.v_prefix_of_k:
        problem.v_cache[block, slot] = values.v.to(device, dtype)
    problem.q.copy_(values.q)
    for tensor, drawn in ((problem.alibi_slopes, values.alibi_slopes), (problem.sinks, values.sinks)):
        if tensor is not None:
            tensor.copy_(drawn)
    problem.seq_lens.copy_(torch.tensor(case.seq_lens, dtype=torch.int32))
    problem.block_table.copy_(_table_entries(case))


def _fills(problem: Problem) -> dict[str, Fill]:
    """What fills each buffer but `out`, before anything is written there."""
    case = problem.case
    if problem.memory == "random":
        return dict.fromkeys(problem.buffers, noise(case, torch.Generator().manual_seed(case.seed + 1)))
    largest = largest_garbage(case, problem.values) if case.finite else {}
    return {name: background(case, name, buffer, largest.get(name, LARGE)) for name, buffer in problem.buffers.items()}


def _write_garbage(problem: Problem) -> None:
    """Garbage in the caches' unused token slots, where the case says so."""
    for cache, parts in zip((problem.k_cache, problem.v_cache), garbage_of(problem), strict=True):
        if parts.pool is not None:
            cache.copy_(garbage_like(cache[0], parts.largest) if parts.pool else torch.full_like(cache[0], torch.nan))
        cache[parts.used.to(cache.device)] = torch.nan
        at = parts.block.to(cache.device), parts.slot.to(cache.device)
        cache[at] = garbage_like(cache[at], parts.largest)


def garbage_of(problem: Problem) -> tuple[CacheGarbage, CacheGarbage]:
    """That of K's and V's caches."""
    largest, buffers = largest_garbage(problem.case, problem.values), problem.buffers
    k, v = buffers["k"], buffers.get("v", buffers["k"])
    return (
        cache_garbage(problem.case, largest["k"], filled_whole=is_filled_whole(k)),
        cache_garbage(problem.case, largest["v"], filled_whole=is_filled_whole(v)),
    )


def _table_entries(case: Case) -> Tensor:
    """[num_seqs, width] int32: block ids; unused entries hold what the case says (a bad id, or stale ones of other pages)."""
    blocks = case.blocks() or [0]
    unused = UNUSED_ENTRIES[case.table.unused]
    rows = []
    for seq, pages in enumerate(case.pages()):
        spare = range(case.table_width - len(pages))
        stale = [blocks[(seq + column) % len(blocks)] if unused is None else unused for column in spare]
        rows.append([blocks[page] for page in pages] + stale)
    return torch.tensor(rows, dtype=torch.int32)
