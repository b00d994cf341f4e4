"""What a worker process is told, and what it answers before its first case."""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.targets.description import Description


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is told once: the target's name, the device, seconds a case may take, the dtypes wanted (none: all), and
    `preload`, a target to load before the first fork for what it brings along."""

    target: str
    device: str
    timeout: float
    dtypes: tuple[str, ...] = ()
    preload: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker answers once: the arguments of `strategies.cases` that the target can take, versions in use, the target in
    words, and dtypes, of q or of caches, that Triton's interpreter computes wrongly here, with what is wrong: not drawn."""

    generates: dict[str, Any]
    versions: dict[str, str]
    description: Description
    refused: dict[str, str] = field(default_factory=dict)


def pick_device(wanted: str) -> str:
    """`cpu` or `cuda` for auto, cpu or cuda, without importing torch: is there an NVIDIA driver that sees a GPU?"""
    if wanted != "auto":
        return wanted
    with contextlib.suppress(OSError):
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0:
            return "cuda"
    return "cpu"
