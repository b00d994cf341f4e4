"""Faulty variants of the kernel's source. Each edit must apply exactly once, so that no mutant silently becomes the unmutated
kernel."""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_decode_kernels.mutants.real_bugs import REAL_BUGS as MUTANTS

SOURCE = Path(__file__).parents[1] / "paged_decode.py"
_serial = itertools.count()

__all__ = ["MUTANTS", "SOURCE", "load_mutant", "load_source", "mutant_source"]


def mutant_source(name: str) -> str:
    """The kernel's source with the mutant's edits. Raises ValueError if an edit does not apply exactly once."""
    source = SOURCE.read_text()
    for old, new in MUTANTS[name].edits:
        if source.count(old) != 1:
            raise ValueError(f"mutant {name}: {old!r} occurs {source.count(old)} times in {SOURCE.name}, not once")
        source = source.replace(old, new)
    return source


def load_mutant(name: str) -> Callable[..., Any]:
    """The faulty `paged_decode`. Imports Triton, so settle TRITON_INTERPRET first."""
    return load_source(mutant_source(name), f"mutant_{name}")


def load_source(source: str, name: str) -> Callable[..., Any]:
    """`paged_decode` of a kernel's source text. Triton reads the source of a kernel through linecache, hence the entry there."""
    filename = f"<{name}-{next(_serial)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    exec(compile(source, filename, "exec"), module.__dict__)
    fn: Callable[..., Any] = module.paged_decode
    return fn
