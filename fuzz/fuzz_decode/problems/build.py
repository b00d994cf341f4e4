"""Case -> Problem: real tensors in guarded, poisoned storage.

Every byte that the case does not reference is NaN: gaps between strides, foreign blocks and layers, tails of blocks, and
GUARD bytes before and after every allocation. Spans too large to fill are committed lazily on the CPU (only touched pages
exist) and poisoned around what is live. Live inputs are never poisoned.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.cases.validity import UNUSED_ENTRIES
from fuzz_decode.problems.values import Values, make_values

GUARD = 64 * 1024  # bytes; a multiple of every alignment that a kernel may assume
FILL_LIMIT = 2**24  # bytes; larger CPU buffers are poisoned around their live rows only
LARGE = 2**30  # bytes; one process at a time builds cases larger than this on a GPU
CHUNK = 64 * 1024
POISON = 0xFF  # all ones is a NaN in every float format, and -1 as an integer
MEMORY = ("poisoned", "random")  # what fills all that a case does not reference
UNWRITTEN = {torch.float32: 0x7FDA5A5A, torch.float16: 0x7E5A, torch.bfloat16: 0x7FDA}  # NaNs that no arithmetic makes
_BITS = {2: torch.int16, 4: torch.int32}
_HEAD = dense(("head",))


@dataclass(frozen=True, slots=True)
class Buffer:
    """One allocation: all its elements, guards included, and how many of them precede the layout's element 0."""

    storage: Tensor
    guard: int

    def view(self, layout: Layout, sizes: dict[str, int], axes: tuple[str, ...], **at: int) -> Tensor:
        """The tensor with these axes, at fixed positions of the others."""
        strides = layout.strides(sizes)
        offset = self.guard + layout.offset + sum(strides[axis] * place for axis, place in at.items() if axis in strides)
        return self.storage.as_strided([sizes[axis] for axis in axes], [strides[axis] for axis in axes], offset)


@dataclass(frozen=True, slots=True)
class Problem:
    """A case made real. `q`, `k_cache`, `v_cache`, `block_table`, `seq_lens` and `scale` are what a target gets, `out` what it
    may be asked to write into, `alibi_slopes` and `sinks` are None where they are not used; `buffers` are the allocations behind
    all of them, by name, and `memory` says what fills the rest of those."""

    case: Case
    values: Values
    q: Tensor
    k_cache: Tensor
    v_cache: Tensor
    block_table: Tensor
    seq_lens: Tensor
    scale: float
    out: Tensor
    alibi_slopes: Tensor | None
    sinks: Tensor | None
    buffers: dict[str, Buffer]
    memory: str = "poisoned"

    def arguments(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
        """The six positional arguments of a target."""
        return self.q, self.k_cache, self.v_cache, self.block_table, self.seq_lens, self.scale

    def options(self) -> dict[str, Any]:
        """The options that change the answer, by the names of a target's parameters and the reference's."""
        case = self.case
        return {
            "window": case.window,
            "softcap": case.softcap,
            "alibi_slopes": self.alibi_slopes,
            "sinks": self.sinks,
            "k_scale": case.k_scale,
            "v_scale": case.v_scale,
            "q_len": case.q_len,
        }


def build(case: Case, device: str, values: Values | None = None, memory: str = "poisoned") -> Problem:
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
    return all(layout.extent(sizes) * itemsize + 2 * GUARD <= FILL_LIMIT for layout, sizes in case.layouts().values())


def poison_out(problem: Problem) -> None:
    """Mark the whole buffer of `out` as unwritten, between two runs on one problem."""
    _fill_unwritten(problem.buffers["out"].storage)


def is_unwritten(tensor: Tensor) -> Tensor:
    """Where `tensor` still holds the mark of `poison_out`, bit for bit."""
    return tensor.contiguous().view(_BITS[tensor.element_size()]) == UNWRITTEN[tensor.dtype]


@contextlib.contextmanager
def dirty_allocations(dirt: int = POISON) -> Iterator[None]:
    """While active, memory that torch.empty and its relatives hand out is filled with the byte `dirt`: fresh processes get
    zeros, which hide uninitialised scratch."""
    with _DirtyEmpty(dirt):
        yield


@contextlib.contextmanager
def alone_if_large(case: Case, device: str) -> Iterator[None]:
    """Wait until no other worker holds a large case on this worker's GPU, and give the memory back afterwards."""
    itemsize = getattr(torch, case.dtype).itemsize
    if device == "cpu" or sum(layout.extent(sizes) for layout, sizes in case.layouts().values()) * itemsize < LARGE:
        yield
        return
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace("/", "_")
    with open(Path(tempfile.gettempdir()) / f"fuzz-decode-{os.getuid()}-{gpu}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            torch.cuda.empty_cache()


_EMPTY = {torch.empty, torch.empty_like, torch.empty_strided, torch.empty_permuted, Tensor.new_empty, Tensor.new_empty_strided}


class _DirtyEmpty(TorchFunctionMode):
    def __init__(self, dirt: int) -> None:
        super().__init__()
        self.dirt = dirt

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _EMPTY and result.dtype != torch.bool:
            whole = torch.as_strided(result, (result.untyped_storage().nbytes() // result.element_size(),), (1,), 0)
            whole.view(torch.uint8).fill_(self.dirt)
        return result


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


def _poison(storage: Tensor) -> None:
    storage.view(torch.uint8).fill_(POISON)


def _fill_unused(storage: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Poison, or with `rng` finite noise: normal numbers, and ids of blocks that exist."""
    if rng is None or storage.numel() == 0:
        _poison(storage)
    elif storage.dtype.is_floating_point:
        storage.copy_(torch.randn(storage.shape, generator=rng))
    else:
        storage.copy_(torch.randint(0, case.num_blocks, storage.shape, generator=rng))


def _fill_unwritten(storage: Tensor) -> None:
    storage.view(_BITS[storage.element_size()]).fill_(UNWRITTEN[storage.dtype])


def _fill_around(buffer: Buffer, cache: Tensor, block: Tensor, slot: Tensor, case: Case, rng: torch.Generator | None) -> None:
    """Fill the chunks of a huge buffer that hold live rows, and both guards."""
    itemsize = buffer.storage.element_size()
    strides, start = cache.stride(), int(cache.storage_offset())
    rows = block * strides[0] + slot * strides[1] + start
    heads, dims = torch.arange(cache.shape[2]) * strides[2], torch.arange(cache.shape[3]) * strides[3]
    places = (rows[:, None, None] + heads[:, None] + dims).flatten() * itemsize // CHUNK
    for chunk in torch.unique(places).tolist():
        _fill_unused(buffer.storage[chunk * CHUNK // itemsize : (chunk + 1) * CHUNK // itemsize], case, rng)
    _fill_unused(buffer.storage[: buffer.guard], case, rng)
    _fill_unused(buffer.storage[-buffer.guard :], case, rng)
