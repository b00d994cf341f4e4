"""What part of the space a campaign visited: family x dtype x group x block size, and the options used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from fuzz_decode.case import Case
from fuzz_decode.layout import ALL_FAMILIES, family

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
    """Counts of cases by (family, dtype, group, block size), and by the options that they use."""

    cells: Counter[tuple[str, str, int, int]] = field(default_factory=Counter)
    options: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, cases: Iterable[Case]) -> Coverage:
        coverage = cls()
        for case in cases:
            coverage.add(case)
        return coverage

    def add(self, case: Case) -> None:
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

    def table(self) -> Group:
        """Families by dtype, then groups and block sizes in a line each."""
        dtypes = sorted(self.along(1))
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("layout family")
        for dtype in dtypes:
            table.add_column(dtype, justify="right")
        by_pair: Counter[tuple[str, str]] = Counter()
        for (name, dtype, _, _), count in self.cells.items():
            by_pair[name, dtype] += count
        for name in ALL_FAMILIES:
            counts = [by_pair[name, dtype] for dtype in dtypes]
            table.add_row(name, *(Text(str(count), "" if count else "dim") for count in counts))
        return Group(
            table, Text(), self._line("group", 2), self._line("block size", 3), self._options(), Text(self.combinations, "dim")
        )

    def _line(self, word: str, axis: int) -> Text:
        counts = sorted(self.along(axis).items(), key=lambda item: int(item[0]))
        return Text.assemble((f"{word}  ", "dim"), "  ".join(f"{value}: {count}" for value, count in counts))

    def _options(self) -> Text:
        """Those that no case used, too: a target may lack them."""
        counts = "  ".join(f"{words}: {self.options[words]}" for words in OPTIONS.values())
        return Text.assemble(("options  ", "dim"), counts)
