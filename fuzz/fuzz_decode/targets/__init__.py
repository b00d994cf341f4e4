"""Targets: the functions under test. See `contract` for what a target is and `resolve` for how one is named."""

from fuzz_decode.targets.resolve import resolve
from fuzz_decode.targets.target import Arithmetic, Target, target

__all__ = ["Arithmetic", "Target", "resolve", "target"]
