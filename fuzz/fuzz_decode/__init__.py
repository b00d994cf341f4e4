"""Differential correctness fuzzing for paged KV-cache decode attention kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fuzz_decode import _moved
from fuzz_decode._version import __version__

if TYPE_CHECKING:
    from fuzz_decode.api import assert_decode_correct, check, fuzz
    from fuzz_decode.cases.case import BlockTable, Case
    from fuzz_decode.cases.layout import FAMILIES, Layout
    from fuzz_decode.cases.stride_rules import StrideRules
    from fuzz_decode.cases.stride_rules import StrideRules as Strides
    from fuzz_decode.errors import UsageError
    from fuzz_decode.generate.draw_case import decode_cases
    from fuzz_decode.problems.build import build_problem
    from fuzz_decode.results import Finding, Result
    from fuzz_decode.targets.target import Arithmetic, target

__all__ = [
    "FAMILIES",
    "Arithmetic",
    "BlockTable",
    "Case",
    "Finding",
    "Layout",
    "Result",
    "StrideRules",
    "Strides",
    "UsageError",
    "__version__",
    "assert_decode_correct",
    "build_problem",
    "check",
    "decode_cases",
    "fuzz",
    "target",
]

_moved.install()

_HOMES = {
    "FAMILIES": "fuzz_decode.cases.layout",
    "Arithmetic": "fuzz_decode.targets.target",
    "BlockTable": "fuzz_decode.cases.case",
    "Case": "fuzz_decode.cases.case",
    "Finding": "fuzz_decode.results",
    "Layout": "fuzz_decode.cases.layout",
    "Result": "fuzz_decode.results",
    "StrideRules": "fuzz_decode.cases.stride_rules",
    "Strides": "fuzz_decode.cases.stride_rules",
    "UsageError": "fuzz_decode.errors",
    "assert_decode_correct": "fuzz_decode.api",
    "build_problem": "fuzz_decode.problems.build",
    "check": "fuzz_decode.api",
    "decode_cases": "fuzz_decode.generate.draw_case",
    "fuzz": "fuzz_decode.api",
    "target": "fuzz_decode.targets.target",
}


def __getattr__(name: str) -> Any:
    """What users need, on demand: importing the package itself must stay cheap."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """For those who complete names with the tab key."""
    return __all__
