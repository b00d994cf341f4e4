"""What a bench is asked to measure: names from the command line to shapes, layouts and peers, or what is wrong with them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from fuzz_decode.bench.layouts import LAYOUTS, Arrangement
from fuzz_decode.bench.shapes import SHAPES, Shape
from fuzz_decode.errors import UsageError


@dataclass(frozen=True, slots=True)
class Choice:
    """Shapes in order; `layouts` empty: those that each shape names itself."""

    shapes: tuple[Shape, ...]
    layouts: tuple[str, ...] = ()

    def without(self, dtypes: Container[str]) -> Choice:
        """The same without shapes of these dtypes."""
        return Choice(
            tuple(one for one in self.shapes if one.dtype not in dtypes and one.cache_dtype not in dtypes), self.layouts
        )

    def cells(self) -> Iterator[tuple[Shape, Arrangement]]:
        """Every shape in every layout that it can have."""
        for shape in self.shapes:
            for name in self.layouts or shape.layouts:
                if LAYOUTS[name].why_not(shape) is None:
                    yield shape, LAYOUTS[name]


def choose(shapes: tuple[str, ...], layouts: tuple[str, ...]) -> Choice:
    """The choice by names; none of either: all that is sensible. Raises UsageError for a name that does not exist, or if no shape
    can have any of the layouts."""
    known("--shapes", shapes, SHAPES)
    known("--layouts", layouts, LAYOUTS)
    choice = Choice(tuple(SHAPES[name] for name in shapes or SHAPES), layouts)
    if not any(True for _ in choice.cells()):
        raise UsageError(
            f"--layouts {','.join(layouts)}: no chosen shape can lie so: V of MLA lies in K's rows; name another layout"
        )
    return choice


def known(option: str, names: Iterable[str], valid: Iterable[str]) -> None:
    """Raises UsageError if one of the names is none of the valid ones."""
    wrong = [name for name in names if name not in valid]
    if wrong:
        raise UsageError(f"{option}: {wrong[0]!r} is none of {', '.join(valid)}")
