"""The shapes and layouts that a bench measures, from names on the command line."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from fuzz_decode.bench.layouts import LAYOUTS, Arrangement
from fuzz_decode.bench.shapes import SHAPES, BenchShape
from fuzz_decode.errors import UsageError


@dataclass(frozen=True, slots=True)
class Choice:
    """Shapes in order, and layouts."""

    shapes: tuple[BenchShape, ...]
    layouts: tuple[str, ...] = ()
    """Empty: the default layouts of each shape."""

    def without(self, dtypes: Container[str]) -> Choice:
        """The same without shapes of these dtypes."""
        return Choice(
            tuple(shape for shape in self.shapes if shape.dtype not in dtypes and shape.cache_dtype not in dtypes), self.layouts
        )

    def cells(self) -> Iterator[tuple[BenchShape, Arrangement]]:
        """Every shape in every layout that it can have."""
        for shape in self.shapes:
            for name in self.layouts or shape.layouts:
                if LAYOUTS[name].unsupported_reason(shape) is None:
                    yield shape, LAYOUTS[name]


def choose(shapes: tuple[str, ...], layouts: tuple[str, ...]) -> Choice:
    """The choice by names; no names: all shapes, each in its default layouts. Raises UsageError for an unknown name, or if no
    shape can have any of the layouts."""
    known("--shapes", shapes, SHAPES)
    known("--layouts", layouts, LAYOUTS)
    choice = Choice(tuple(SHAPES[name] for name in shapes or SHAPES), layouts)
    if not any(True for _ in choice.cells()):
        raise UsageError(
            f"--layouts {','.join(layouts)}: no chosen shape supports them (V of MLA lies in the rows of K); name another layout"
        )
    return choice


def known(option: str, names: Iterable[str], valid: Iterable[str]) -> None:
    """Raises UsageError if one of the names is not valid."""
    wrong = [name for name in names if name not in valid]
    if wrong:
        raise UsageError(f"{option}: {wrong[0]!r} is not one of {', '.join(valid)}")
