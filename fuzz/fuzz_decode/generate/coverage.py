"""What part of the space a campaign visited: family x dtype x group x block size, the options used, and the kernels compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import ALL_FAMILIES, family

# an option that a target may be asked for, as it is called in the table
OPTIONS = {
    "window": "window",
    "softcap": "softcap",
    "alibi_slopes": "ALiBi",
    "sinks": "sinks",
    "k_scale": "float8",
    "q_len": "q_len > 1",
}


@dataclass(slots=True)
class Coverage:
    """Counts of cases by (family, dtype, group, block size), the options that they use, and what the target compiles for."""

    cells: Counter[tuple[str, str, int, int]] = field(default_factory=Counter)
    options: Counter[str] = field(default_factory=Counter)
    kernels: Counter[str] = field(default_factory=Counter)

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
        used = case.options()
        self.options.update(words for name, words in OPTIONS.items() if name in used)

    def along(self, axis: int) -> Counter[str]:
        """Cases by one of the four."""
        counts: Counter[str] = Counter()
        for cell, count in self.cells.items():
            counts[str(cell[axis])] += count
        return counts

    @property
    def families(self) -> int:
        return len(self.along(0))

    @property
    def combinations(self) -> str:
        return f"{len(self.cells)} combinations of family, dtype, group and block size"

    def in_a_line(self) -> str:
        return f"{self.families} of {len(ALL_FAMILIES)} layout families, {len(self.along(1))} dtypes, {self.combinations}"

    @property
    def spread(self) -> dict[str, int]:
        """How evenly the kernels are covered: how many there are, and the fewest, median and most cases of one; empty without
        rounds."""
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
