"""A small problem copied to a GPU and back: one copy each way, since every synchronisation with a shared GPU waits in a queue."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.problems.problem import Buffer, Problem

ALIGNMENT = 256  # bytes: as torch's CUDA allocator aligns allocations of their own, at least


@dataclass(frozen=True, slots=True)
class DeviceCopy:
    """A problem on a device, and the one on the CPU that it is a copy of."""

    problem: Problem
    """On the device: the same views of the same bytes."""
    source: Problem
    """On the CPU, as it was built."""
    packed: Tensor
    """[bytes] uint8 on the device: all buffers of `problem`, one after the other."""

    def read_back(self) -> Problem:
        """The problem on the CPU, with its buffers as they are now on the device."""
        packed = _pinned(self.packed.numel()).copy_(self.packed)
        return dataclasses.replace(self.source, buffers=_unpacked(self.source, packed))

    def out_of(self, read_back: Problem) -> Tensor:
        """`out` in the buffers that were read back."""
        return _same_view(read_back.buffers["out"], self.source.out)


def copy_to_device(problem: Problem, device: str) -> DeviceCopy:
    """A problem of the CPU on `device`: the same views of the same bytes."""
    staging = _pinned(_starts(problem)[-1])
    for name, buffer in _unpacked(problem, staging).items():
        buffer.storage.copy_(problem.buffers[name].storage)
    packed = staging.to(device, non_blocking=True)
    buffers = _unpacked(problem, packed)
    copied = dataclasses.replace(
        problem,
        q=_same_view(buffers["q"], problem.q),
        k_cache=_same_view(buffers["k"], problem.k_cache),
        v_cache=_same_view(buffers.get("v", buffers["k"]), problem.v_cache),
        block_table=_same_view(buffers["block_table"], problem.block_table),
        seq_lens=_same_view(buffers["seq_lens"], problem.seq_lens),
        out=_same_view(buffers["out"], problem.out),
        alibi_slopes=None if problem.alibi_slopes is None else _same_view(buffers["alibi_slopes"], problem.alibi_slopes),
        sinks=None if problem.sinks is None else _same_view(buffers["sinks"], problem.sinks),
        buffers=buffers,
    )
    return DeviceCopy(copied, problem, packed)


def _pinned(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=torch.cuda.is_available())


def _starts(problem: Problem) -> list[int]:
    """The byte at which each buffer begins, and at which the last one ends."""
    sizes = [-(-buffer.storage.nbytes // ALIGNMENT) * ALIGNMENT for buffer in problem.buffers.values()]
    return list(itertools.accumulate(sizes, initial=0))


def _unpacked(problem: Problem, packed: Tensor) -> dict[str, Buffer]:
    """The problem's buffers as parts of one allocation."""
    return {
        name: Buffer(packed[start : start + buffer.storage.nbytes].view(buffer.storage.dtype), buffer.guard)
        for start, (name, buffer) in zip(_starts(problem), problem.buffers.items(), strict=False)
    }


def _same_view(buffer: Buffer, tensor: Tensor) -> Tensor:
    """The view of a buffer that `tensor` is of its own buffer."""
    start = int(buffer.storage.storage_offset()) + int(tensor.storage_offset())
    return buffer.storage.as_strided(tensor.shape, tensor.stride(), start)
