"""Which devices this machine has, which dtypes they compute correctly, and how many worker processes they can serve."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys

from fuzz_decode.errors import UsageError
from fuzz_decode.workers.engines import INTERPRETER, Engine

MAX_GPU_JOBS = 16  # processes that share one GPU


def pick_device(wanted: str) -> str:
    """cpu or cuda; for auto it is cuda if an NVIDIA driver sees a GPU, which is found out without importing torch."""
    if wanted != "auto":
        return wanted
    return "cuda" if count_gpus() else "cpu"


def pick_gpus(wanted: str) -> tuple[str, ...]:
    """The GPUs for `all`, or for numbers separated by commas, of those visible to this process, each as CUDA_VISIBLE_DEVICES
    names it. Raises UsageError if there is no such GPU."""
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


def versions(device: str, engine: Engine = INTERPRETER) -> dict[str, str]:
    """The versions of everything else that a result depends on, and the GPU's name, or an engine other than the interpreter."""
    import torch
    import triton

    more = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    if engine != INTERPRETER:
        more["engine"] = engine
    return {"python": sys.version.split()[0], "torch": str(torch.__version__), "triton": triton.__version__, **more}


@functools.cache
def refused_dtypes(device: str, engine: Engine = INTERPRETER) -> dict[str, str]:
    """Dtypes that the device computes wrongly, each with the reason; on the CPU the engine is installed first. Raises UsageError
    if there is no such device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here that torch can use; device cpu needs none")
    return _refused_by_engine(engine) if device == "cpu" else _refused_by_gpu()


def _refused_by_engine(engine: Engine) -> dict[str, str]:
    """Dtypes that the engine computes wrongly, Triton's interpreter once it is patched."""
    if engine == INTERPRETER:
        from fuzz_decode.triton_interpreter import patch_triton_interpreter

        patch_triton_interpreter()
    else:
        from fuzz_decode.triton_native.launch import install_native_engine

        install_native_engine()
    from fuzz_decode.execute.watch import supported_launches
    from fuzz_decode.launches.self_test import refused

    with supported_launches():
        return refused(interpreted=engine == INTERPRETER)


def _refused_by_gpu() -> dict[str, str]:
    """Dtypes that Triton cannot compile for this GPU."""
    import torch

    old = torch.version.hip is None and torch.cuda.get_device_capability() < (8, 9)
    return {"float8_e4m3fn": "Triton compiles it from compute capability 8.9 on"} if old else {}


def is_dead(device: str) -> bool:
    """Whether the CUDA context is unusable: after an illegal access every call fails in this process."""
    import torch

    if device == "cuda":
        try:
            torch.zeros(1, device="cuda").item()
        except RuntimeError:
            return True
    return False


def default_jobs(device: str, gpus: int = 1) -> int:
    """One per core, since compiling takes most time on a GPU, too; but at most MAX_GPU_JOBS per GPU: more only wait for it."""
    cores = len(os.sched_getaffinity(0))
    return cores if device == "cpu" else min(cores, MAX_GPU_JOBS * gpus)
