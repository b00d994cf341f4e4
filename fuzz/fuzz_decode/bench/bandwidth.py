"""The memory bandwidth of this GPU, measured: the fastest of several ways to read a large buffer, and torch's copy."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import torch

from fuzz_decode.bench.timing import measure
from fuzz_decode_kernels.read_bandwidth import read_all

READ_BYTES = 2**31  # many times the L2 cache
PROGRAMS = (2, 4, 8, 16)  # per multiprocessor
BLOCKS = (1024, 2048, 4096)  # elements of int32
WARPS = (4, 8)
STAGES = (1, 3)  # 1: straight into registers, else through shared memory


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Measured rates in GB/s (10**9 bytes a second)."""

    read: float
    """Of reading alone."""
    how: str
    """The fastest reader's programs, block, warps and stages, in words."""
    copy: float
    """Of a copy, bytes read and written together."""


def measure_bandwidth() -> Bandwidth:
    """On the current GPU, with READ_BYTES of random numbers."""
    source = torch.randint(-(2**31), 2**31 - 1, (READ_BYTES // 4,), dtype=torch.int32, device="cuda")
    processors = torch.cuda.get_device_properties(source.device).multi_processor_count
    rates = []
    for programs, block, warps, stages in itertools.product(PROGRAMS, BLOCKS, WARPS, STAGES):
        sums = torch.empty(programs * processors, dtype=torch.int32, device="cuda")
        read = functools.partial(read_all, source, sums, block=block, warps=warps, stages=stages)
        how = f"{programs} programs a multiprocessor, blocks of {block * 4 // 1024} KiB, {warps} warps, {stages} stages"
        rates.append((READ_BYTES / measure([read], samples=10).ms / 1e6, how))
    half, other = source.chunk(2)
    copy = READ_BYTES / measure([lambda: half.copy_(other)], samples=10).ms / 1e6
    return Bandwidth(*max(rates), copy)
