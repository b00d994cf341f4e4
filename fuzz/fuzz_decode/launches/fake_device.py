"""What a kernel's module expects of its host: a driver and an architecture at import, and timings of autotuned configurations."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


def install_fake_device() -> None:
    """Act as a machine with one GPU. An autotuned kernel takes its first configuration: times in the interpreter mean nothing."""
    import torch
    from triton.backends.compiler import GPUTarget
    from triton.runtime import autotuner, driver

    target = GPUTarget("hip", "gfx942", 64) if torch.version.hip else GPUTarget("cuda", 90, 32)
    driver.set_active(
        SimpleNamespace(
            get_current_target=lambda: target,
            get_current_device=lambda: 0,
            get_current_stream=lambda device=None: 0,
            get_device_capability=lambda device=None: (9, 0),
            get_active_torch_device=lambda: torch.device("cpu"),
            get_benchmarker=lambda: None,
            get_device_interface=lambda: torch.cpu,
            utils=SimpleNamespace(get_device_properties=lambda device=None: dict(PROPERTIES)),
        )
    )
    autotuner.Autotuner._bench = _equal_times


PROPERTIES = {"multiprocessor_count": 132, "max_shared_mem": 232448, "warpSize": 32, "max_num_regs": 65536}


def _equal_times(self: Any, *args: Any, config: Any, **meta: Any) -> list[float]:
    return [0.0, 0.0, 0.0]
