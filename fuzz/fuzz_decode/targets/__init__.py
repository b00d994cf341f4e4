"""Targets: the functions under test. `target` defines what a target is, `resolve` finds one by its name."""

from fuzz_decode.targets.resolve import resolve
from fuzz_decode.targets.target import Arithmetic, Target, target

__all__ = ["Arithmetic", "Target", "resolve", "target"]
