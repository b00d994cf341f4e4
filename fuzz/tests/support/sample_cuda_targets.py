"""Targets that break a CUDA context, stop answering or cannot be launched, on cases with two sequences only."""

from __future__ import annotations

from typing import Any

import sample_targets
import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _write(pointer, offset):  # type: ignore[no-untyped-def]  # device code
    tl.store(pointer + offset.to(tl.int64) * 1048576, 1.0)


@triton.jit
def _wait(flag):  # type: ignore[no-untyped-def]  # device code
    while tl.load(flag, volatile=True) == 0:
        pass


@triton.jit
def _idle(pointer):  # type: ignore[no-untyped-def]  # device code
    tl.store(pointer, 0.0)


def illegal_on_two(q: Tensor, *rest: Any) -> Tensor:
    """Writes terabytes away: the context is dead after that."""
    if len(q) == 2:
        _write[(1,)](torch.zeros(1, device=q.device), 2**30 - 1)
    return sample_targets.honest(q, *rest)[0]


def hangs_on_two(q: Tensor, *rest: Any) -> Tensor:
    """A kernel that spins for ever."""
    if len(q) == 2:
        _wait[(1,)](torch.zeros(1, dtype=torch.int32, device=q.device))
    return sample_targets.honest(q, *rest)[0]


def launches_too_much_on_two(q: Tensor, *rest: Any) -> Tensor:
    """The second axis of a grid ends at 65535 (FLA issue 1096)."""
    if len(q) == 2:
        _idle[(1, 65536)](torch.zeros(1, device=q.device))
    return sample_targets.honest(q, *rest)[0]


def asks_for_too_much_on_two(q: Tensor, *rest: Any) -> Tensor:
    """Scratch of half of the GPU's memory fits, as much as all of it does not."""
    if len(q) == 2:
        _, total = torch.cuda.mem_get_info()
        scratch = torch.empty(total // 2, dtype=torch.uint8, device=q.device)
        torch.empty(total, dtype=torch.uint8, device=scratch.device)
    return sample_targets.honest(q, *rest)[0]
