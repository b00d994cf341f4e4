"""What a worker process is told, and what it answers before its first case."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.errors import UsageError
from fuzz_decode.targets.description import Description


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is told once: the target's name, the device, seconds a case may take, the dtypes wanted (none: all),
    `preload`, a target to load before the first fork for what it brings along, and `gpu`, which one it is to use, as
    CUDA_VISIBLE_DEVICES has it (empty: the first)."""

    target: str
    device: str
    timeout: float
    dtypes: tuple[str, ...] = ()
    preload: str = ""
    gpu: str = ""

    def on(self, gpu: str) -> Plan:
        """The same on one of several GPUs."""
        return dataclasses.replace(self, gpu=gpu)


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
    return "cuda" if count_gpus() else "cpu"


def pick_gpus(wanted: str) -> tuple[str, ...]:
    """The GPUs that `all`, or numbers with commas between, mean among those that this process may see, each as
    CUDA_VISIBLE_DEVICES names it. Raises UsageError if there is no such GPU."""
    count, visible = count_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if visible is None else visible.split(",")[:count]
    numbers = list(map(str, range(count))) if wanted == "all" else wanted.split(",")
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(map(str, range(count))):
        there = f"there are {count} GPUs here" + f", numbered 0 to {count - 1}" * (count > 0)
        raise UsageError(f"--devices {wanted}: must be all, or different numbers with commas between; {there}")
    return tuple(names[int(number)] for number in numbers)


def count_gpus() -> int:
    """How many GPUs an NVIDIA driver lets this process see."""
    with contextlib.suppress(OSError):
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0
