"""Differential correctness fuzzing for paged KV-cache decode attention kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuzz_decode.strides import Strides
    from fuzz_decode.targets.contract import Arithmetic, target

__version__ = "0.1.0"

__all__ = ["Arithmetic", "Strides", "__version__", "target"]

_HOMES = {
    "Arithmetic": "fuzz_decode.targets.contract",
    "Strides": "fuzz_decode.strides",
    "target": "fuzz_decode.targets.contract",
}


def __getattr__(name: str) -> Any:
    """What a target's file needs, on demand: importing the package itself must stay cheap."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
