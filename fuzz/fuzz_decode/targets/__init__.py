"""Targets: the functions under test. See `contract` for what a target is and `resolve` for how one is named."""

from fuzz_decode.targets.contract import Arithmetic, Target, target
from fuzz_decode.targets.resolve import resolve

__all__ = ["Arithmetic", "Target", "resolve", "target"]
