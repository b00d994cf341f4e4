"""The memory of a problem as a kernel reads it: any address of any allocation, and the addresses that an access model gives.

A faulty kernel reads what it was never given, so that everything is read from the raw storages, by flat address, and each number
comes with whether it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel, TensorView
from fuzz_decode.problems.problem import Problem

# (ids read from the table, the row they are in, their columns, the table's width) -> block ids
BLOCK_IDS: dict[str, Callable[[Tensor, Tensor, Tensor, int], Tensor]] = {
    "as it is": lambda ids, row, columns, width: ids,
    "& 0xFFFF": lambda ids, row, columns, width: ids & 0xFFFF,
    "int16": lambda ids, row, columns, width: (ids + 2**15) % 2**16 - 2**15,
    "& 0xFF": lambda ids, row, columns, width: ids & 0xFF,
    "next block": lambda ids, row, columns, width: ids + 1,
    "previous block": lambda ids, row, columns, width: ids - 1,
    "consecutive": lambda ids, row, columns, width: ids + columns,
    "column": lambda ids, row, columns, width: columns,
    "row and column": lambda ids, row, columns, width: row * width + columns,
}


@dataclass(frozen=True, slots=True)
class Memory:
    """The allocations of a problem."""

    problem: Problem
    fenced: bool = False
    """Whether kernels run inside a memory fence: what they read outside of an allocation is 0, what they store there is dropped.
    Otherwise neither is known."""

    def read(self, view: TensorView, offsets: Tensor, sound: Tensor | bool = True) -> tuple[Tensor, Tensor]:
        """The numbers at these offsets from element 0 of a view, float64 on the CPU, and which of them are known.

        Unknown are those outside of the allocation, unless there is a fence and the offset is `sound`, and those that are not
        finite, whose effect on sums is not predicted.
        """
        storage = self.problem.buffers[view.buffer].storage
        addresses = view.offset + offsets
        inside = (addresses >= 0) & (addresses < storage.numel())
        bits = storage.view(torch.uint8) if storage.element_size() == 1 else storage  # float8 cannot be indexed everywhere
        found = bits[torch.where(inside, addresses, 0).to(storage.device)].view(storage.dtype).cpu().double()
        known = inside & torch.isfinite(found)
        values = torch.where(known, found, 0.0)
        return values, known | (~inside & sound) if self.fenced else known

    def block_ids(self, model: AccessModel, row: int | Tensor, tokens: Tensor, tile: int = 1) -> tuple[Tensor, Tensor]:
        """The block of each token [n] of a row, or [rows, n] of rows [rows, 1], and which of them are known."""
        lookup, table = model.lookup, model.addresses.table
        columns, table_row = tokens // tile * tile // lookup.column_tokens, torch.tensor(lookup.table_row)[row]
        read = columns if lookup.last_column is None else columns.clamp(max=lookup.last_column)
        ids, known = self.read(table, table_row * table.strides[0] + read * table.strides[1])
        if lookup.filled_columns is not None:
            ids = torch.where(columns < lookup.filled_columns, ids, 0.0)
            known = known | (columns >= lookup.filled_columns)
        return BLOCK_IDS[lookup.block_id](ids.long(), table_row, columns, self.problem.case.table_width), known


def has_blocks(problem: Problem, blocks: Tensor) -> Tensor:
    """[..., 1, 1], bool: which block ids are those of blocks. A kernel's arithmetic need not be wide enough for others."""
    return ((blocks >= 0) & (blocks < problem.k_cache.shape[0]))[..., None, None]


def slots_of(model: AccessModel, tokens: Tensor) -> Tensor:
    """The slot of each token within its block."""
    lookup = model.lookup
    return tokens % lookup.block_size % (lookup.slots_modulo or lookup.block_size)


def cache_offsets(problem: Problem, view: TensorView, blocks: Tensor, slots: Tensor, heads: Tensor, dims: Tensor) -> Tensor:
    """Elements from the cache's element 0, [..., heads, dims]."""
    s_block, s_slot, s_head, s_dim = view.strides
    first = blocks * s_block
    if view.bits.startswith("block-offset"):
        first = _wrapped(first, view.bits, problem)
    rows = (first + slots * s_slot)[..., None] + heads * s_head
    if view.bits.startswith("address"):
        rows = _wrapped(rows, view.bits, problem)
    return rows[..., None] + dims * s_dim


def shift_of_packing(packing: tuple[int, int], view: TensorView, block_size: int, slots: Tensor, dims: Tensor) -> Tensor:
    """How many elements further a dim of a slot is read, [..., 1, dims], if K is packed as [dim / x, slots, x] by one x and
    unpacked by another."""
    stored, read = packing
    place = dims // read * block_size * read + slots[..., None] * read + dims % read
    found_dim = place // (block_size * stored) * stored + place % stored
    found_slot = place // stored % block_size
    return ((found_slot - slots[..., None]) * view.strides[1] + (found_dim - dims) * view.strides[3])[..., None, :]


def _wrapped(offsets: Tensor, bits: str, problem: Problem) -> Tensor:
    """Two's complement of 32 bits, in elements."""
    width = 2**32 // bytes_counted(bits, problem)
    return (offsets + width // 2) % width - width // 2


def bytes_counted(bits: str, problem: Problem) -> int:
    """What an offset of one element adds to the number that wraps."""
    return {"int32": 1, "bytes": problem.k_cache.element_size(), "floats": 4}[bits.split()[-1]]
