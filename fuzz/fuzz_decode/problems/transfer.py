"""A small problem's way to a GPU and back: one copy each way, since every look at a GPU that others use waits for its turn."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.problems.problem import Buffer, Problem

ALIGNED = 256  # bytes, as allocations of their own are


@dataclass(frozen=True, slots=True)
class DeviceCopy:
    """`problem` lies on a device, all of its buffers in `packed`; `home` is what it was on the CPU."""

    problem: Problem
    home: Problem
    packed: Tensor

    def left(self) -> Problem:
        """The problem on the CPU, with its buffers as they are now on the device."""
        return dataclasses.replace(self.home, buffers=_unpacked(self.home, _pinned(self.packed.numel()).copy_(self.packed)))

    def out(self, left: Problem) -> Tensor:
        """`out` in the buffers of what is left."""
        return _in(left.buffers["out"], self.home.out)


def copy_to_device(problem: Problem, device: str) -> DeviceCopy:
    """A problem of the CPU on `device`: the same views of the same bytes."""
    packed = _pinned(_starts(problem)[-1])
    for name, buffer in _unpacked(problem, packed).items():
        buffer.storage.copy_(problem.buffers[name].storage)
    cargo = packed.to(device, non_blocking=True)
    there = _unpacked(problem, cargo)
    values = there.get("v", there["k"])
    moved = dataclasses.replace(
        problem,
        q=_in(there["q"], problem.q),
        k_cache=_in(there["k"], problem.k_cache),
        v_cache=_in(values, problem.v_cache),
        block_table=_in(there["block_table"], problem.block_table),
        seq_lens=_in(there["seq_lens"], problem.seq_lens),
        out=_in(there["out"], problem.out),
        alibi_slopes=None if problem.alibi_slopes is None else _in(there["alibi_slopes"], problem.alibi_slopes),
        sinks=None if problem.sinks is None else _in(there["sinks"], problem.sinks),
        buffers=there,
    )
    return DeviceCopy(moved, problem, cargo)


def _pinned(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=torch.cuda.is_available())


def _starts(problem: Problem) -> list[int]:
    """Where each buffer begins, in bytes, and where all end."""
    sizes = [-(-buffer.storage.nbytes // ALIGNED) * ALIGNED for buffer in problem.buffers.values()]
    return list(itertools.accumulate(sizes, initial=0))


def _unpacked(problem: Problem, packed: Tensor) -> dict[str, Buffer]:
    """The problem's buffers, in one allocation."""
    return {
        name: Buffer(packed[start : start + buffer.storage.nbytes].view(buffer.storage.dtype), buffer.guard)
        for start, (name, buffer) in zip(_starts(problem), problem.buffers.items(), strict=False)
    }


def _in(buffer: Buffer, tensor: Tensor) -> Tensor:
    """The view of a buffer that `tensor` is of its own storage."""
    start = int(buffer.storage.storage_offset()) + int(tensor.storage_offset())
    return buffer.storage.as_strided(tensor.shape, tensor.stride(), start)
