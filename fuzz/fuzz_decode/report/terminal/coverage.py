"""The coverage of a campaign, as a table on the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Group
from rich.table import Table
from rich.text import Text

from fuzz_decode.cases.layout import ALL_FAMILIES
from fuzz_decode.generate.coverage import Coverage, option_labels
from fuzz_decode.text import counted

SHORT = 100  # cases: in fewer, most cells of the table are 0 or 1


def coverage_summary(coverage: Coverage) -> Group:
    """The table; after a short campaign two lines."""
    if coverage.cells.total() >= SHORT:
        return coverage_table(coverage)
    return Group(Text.assemble(("covered  ", "dim"), coverage.in_a_line()), _options(coverage))


def coverage_table(coverage: Coverage) -> Group:
    """Families by dtype, then groups, block sizes, options and kernels in a line each."""
    lines = [_line(coverage, "group", 2), _line(coverage, "block size", 3), _options(coverage)]
    if spread := coverage.spread:
        kernels, most = counted(spread["kernels"], "kernel"), counted(spread["most"], "case")
        lines.append(Text(f"{kernels} compiled, for {spread['fewest']} to {most} each, median {spread['median']}", "dim"))
    return Group(_families(coverage), Text(), *lines, Text(coverage.combinations, "dim"))


def _families(coverage: Coverage) -> Table:
    dtypes = sorted(coverage.along(1))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layout family")
    for dtype in dtypes:
        table.add_column(dtype, justify="right")
    by_pair: Counter[tuple[str, str]] = Counter()
    for (name, dtype, _, _), count in coverage.cells.items():
        by_pair[name, dtype] += count
    for name in ALL_FAMILIES:
        counts = [by_pair[name, dtype] for dtype in dtypes]
        table.add_row(name, *(Text(str(count), "" if count else "dim") for count in counts))
    return table


def _line(coverage: Coverage, word: str, axis: int) -> Text:
    counts = sorted(coverage.along(axis).items(), key=lambda item: int(item[0]))
    return Text.assemble((f"{word}  ", "dim"), "  ".join(f"{value}: {count}" for value, count in counts))


def _options(coverage: Coverage) -> Text:
    """All options, also those of no case: a target may not have them."""
    counts = "  ".join(f"{words}: {coverage.options[words]}" for words in option_labels())
    return Text.assemble(("options  ", "dim"), counts)
