"""What memory can do here, measured: the fastest of some ways to read all of a large buffer, and torch's copy."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import torch

from fuzz_decode.bench.timing import measure
from fuzz_decode_kernels.read_bandwidth import read_all

READ_BYTES = 2**31
PROGRAMS = (2, 4, 8, 16)  # for each multiprocessor
BLOCKS = (1024, 2048, 4096)
WARPS = (4, 8)
STAGES = (1, 3)  # 1: straight into registers, else through shared memory


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """GB/s (10**9 bytes a second) of reading alone, and of a copy, bytes read and written together. `how` describes the fastest
    reader."""

    read: float
    how: str
    copy: float


def measure_bandwidth() -> Bandwidth:
    """Two GiB of random numbers, on the current GPU."""
    source = torch.randint(-(2**31), 2**31 - 1, (READ_BYTES // 4,), dtype=torch.int32, device="cuda")
    processors = torch.cuda.get_device_properties(source.device).multi_processor_count
    found = []
    for programs, block, warps, stages in itertools.product(PROGRAMS, BLOCKS, WARPS, STAGES):
        sums = torch.empty(programs * processors, dtype=torch.int32, device="cuda")
        read = functools.partial(read_all, source, sums, block=block, warps=warps, stages=stages)
        how = f"{programs} programs a multiprocessor, blocks of {block * 4 // 1024} KiB, {warps} warps, {stages} stages"
        found.append((READ_BYTES / measure([read], samples=10).ms / 1e6, how))
    half, other = source.chunk(2)
    copy = READ_BYTES / measure([lambda: half.copy_(other)], samples=10).ms / 1e6
    return Bandwidth(*max(found), copy)
