"""Sharing a GPU among worker processes: one of them at a time holds a large case, and memory is returned to the driver."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from fuzz_decode.cases.case import Case

LARGE_CASE_BYTES = 2**30  # of all tensors together; from here on workers take turns on a GPU


@contextlib.contextmanager
def alone_if_large(case: Case, device: str) -> Iterator[None]:
    """Wait until no other worker holds a large case on this worker's GPU, and release the memory afterwards."""
    itemsize = getattr(torch, case.dtype).itemsize
    elements = sum(placed.extent for placed in case.layouts().values())
    if device == "cpu" or elements * itemsize < LARGE_CASE_BYTES:
        yield
        return
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace("/", "_")
    with open(Path(tempfile.gettempdir()) / f"fuzz-decode-{os.getuid()}-{gpu}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            torch.cuda.empty_cache()


def release_memory(device: str) -> None:
    """Return to the GPU what a failed call left behind: frames of its traceback, which form reference cycles, hold tensors."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
