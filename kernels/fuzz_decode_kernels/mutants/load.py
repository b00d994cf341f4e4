"""Faulty variants of the kernel's source, with one fault or with several: `gqa-modulo+lse-base-2`. Each edit must apply exactly
once, so that no mutant silently becomes the unmutated kernel."""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fuzz_decode_kernels.mutants.real_bugs import REAL_BUGS as MUTANTS

SOURCE = Path(__file__).parents[1] / "paged_decode.py"
AND = "+"  # between the names of faults that a kernel has at once
_serial = itertools.count()

__all__ = ["AND", "MUTANTS", "SOURCE", "load_mutant", "load_source", "mutant_source"]


def mutant_source(name: str) -> str:
    """The kernel's source with the mutant's edits, or with those of several. Raises ValueError if an edit does not apply exactly
    once, or if the edits of two mutants overlap."""
    names = name.split(AND)
    alone = [_edited(SOURCE.read_text(), [each]) for each in names]
    if len(names) == 1:
        return alone[0]
    overlap = f"mutant {name}: the edits of its faults overlap, so that their order would matter; choose faults of other lines"
    try:
        source, reverse = (_edited(SOURCE.read_text(), order) for order in (names, names[::-1]))
    except ValueError as error:
        raise ValueError(overlap) from error
    if source != reverse:
        raise ValueError(overlap)
    return source


def _edited(source: str, names: Sequence[str]) -> str:
    """The source with the edits of some mutants, each edit once."""
    edits = {edit: name for name in names for edit in MUTANTS[name].edits}
    for (old, new), mutant in edits.items():
        if source.count(old) != 1:
            raise ValueError(f"mutant {mutant}: {old!r} occurs {source.count(old)} times in {SOURCE.name}, not once")
        source = source.replace(old, new)
    return source


def load_mutant(name: str) -> Callable[..., Any]:
    """The faulty `paged_decode`. Imports Triton, so set TRITON_INTERPRET first."""
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
