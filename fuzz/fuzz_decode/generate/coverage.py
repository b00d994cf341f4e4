"""The part of the space that a campaign visited: family x dtype x group x block size, options used, and kernels compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import ALL_FAMILIES, family
from fuzz_decode.cases.optional_arguments import all_options
from fuzz_decode.text import counted


def option_labels() -> list[str]:
    """Names of the options that are counted, in the order of the table."""
    return [option.label for option in all_options() if option.label]


@dataclass(slots=True)
class Coverage:
    """Counts of cases."""

    cells: Counter[tuple[str, str, int, int]] = field(default_factory=Counter)
    """By family, dtype, group and block size."""
    options: Counter[str] = field(default_factory=Counter)
    """By option used."""
    kernels: Counter[str] = field(default_factory=Counter)
    """By the values that the target compiles for, as text; empty without rounds."""

    @classmethod
    def of(cls, cases: Iterable[Case]) -> Coverage:
        coverage = cls()
        for case in cases:
            coverage.add(case)
        return coverage

    def add(self, case: Case, compiled_for: str = "") -> None:
        if compiled_for:
            self.kernels[compiled_for] += 1
        self.cells[family(case.k, case.v), case.dtype, case.group, case.block_size] += 1
        self.options.update(option.label for option in all_options() if option.label and option.is_used(case))

    def along(self, axis: int) -> Counter[str]:
        """Cases by one of the four axes of a cell."""
        counts: Counter[str] = Counter()
        for cell, count in self.cells.items():
            counts[str(cell[axis])] += count
        return counts

    @property
    def families(self) -> int:
        return len(self.along(0))

    @property
    def combinations(self) -> str:
        return f"{counted(len(self.cells), 'combination')} of family, dtype, group and block size"

    def in_a_line(self) -> str:
        dtypes = counted(len(self.along(1)), "dtype")
        return f"{self.families} of {len(ALL_FAMILIES)} layout families, {dtypes}, {self.combinations}"

    @property
    def spread(self) -> dict[str, int]:
        """How evenly the kernels are covered: their number, and fewest, median and most cases of one; empty without rounds."""
        counts = sorted(self.kernels.values())
        if not counts:
            return {}
        return {"kernels": len(counts), "fewest": counts[0], "median": counts[len(counts) // 2], "most": counts[-1]}

    def to_json(self) -> dict[str, Any]:
        cells = sorted([*cell, count] for cell, count in self.cells.items())
        return {"cells": cells, "options": dict(self.options), "kernels": dict(self.kernels)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Coverage:
        """Inverse of to_json."""
        cells = Counter({(family, dtype, group, size): count for family, dtype, group, size, count in data["cells"]})
        return cls(cells, Counter(data["options"]), Counter(data["kernels"]))
