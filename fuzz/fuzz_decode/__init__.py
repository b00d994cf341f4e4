"""Differential correctness fuzzing for paged KV-cache decode attention kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuzz_decode.api import assert_decode_correct, check, fuzz
    from fuzz_decode.case import BlockTable, Case
    from fuzz_decode.errors import UsageError
    from fuzz_decode.layout import FAMILIES, Layout
    from fuzz_decode.report.story import Finding, Result
    from fuzz_decode.strides import Strides
    from fuzz_decode.targets.contract import Arithmetic, target

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "Arithmetic",
    "BlockTable",
    "Case",
    "Finding",
    "Layout",
    "Result",
    "Strides",
    "UsageError",
    "__version__",
    "assert_decode_correct",
    "check",
    "fuzz",
    "target",
]

_HOMES = {
    "FAMILIES": "fuzz_decode.layout",
    "Arithmetic": "fuzz_decode.targets.contract",
    "BlockTable": "fuzz_decode.case",
    "Case": "fuzz_decode.case",
    "Finding": "fuzz_decode.report.story",
    "Layout": "fuzz_decode.layout",
    "Result": "fuzz_decode.report.story",
    "Strides": "fuzz_decode.strides",
    "UsageError": "fuzz_decode.errors",
    "assert_decode_correct": "fuzz_decode.api",
    "check": "fuzz_decode.api",
    "fuzz": "fuzz_decode.api",
    "target": "fuzz_decode.targets.contract",
}


def __getattr__(name: str) -> Any:
    """What users need, on demand: importing the package itself must stay cheap."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """For those who complete names with the tab key."""
    return __all__
