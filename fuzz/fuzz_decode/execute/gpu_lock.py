"""One process at a time holds a large case on a GPU."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from fuzz_decode.cases.case import Case

LARGE = 2**30  # bytes; one process at a time builds cases larger than this on a GPU


@contextlib.contextmanager
def alone_if_large(case: Case, device: str) -> Iterator[None]:
    """Wait until no other worker holds a large case on this worker's GPU, and give the memory back afterwards."""
    itemsize = getattr(torch, case.dtype).itemsize
    if device == "cpu" or sum(placed.extent for placed in case.layouts().values()) * itemsize < LARGE:
        yield
        return
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "").replace("/", "_")
    with open(Path(tempfile.gettempdir()) / f"fuzz-decode-{os.getuid()}-{gpu}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            torch.cuda.empty_cache()
