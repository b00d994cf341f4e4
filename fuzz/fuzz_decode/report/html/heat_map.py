"""The coverage of the layout space as a table; a cell is the darker the more cases it had."""

from __future__ import annotations

import math
from collections import Counter
from xml.etree.ElementTree import Element

from fuzz_decode.cases.layout import ALL_FAMILIES
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.report.html.elements import el

AXES = (("dtype", 1), ("group", 2), ("block size", 3))

Column = tuple[int, int | str]
"""An axis of a coverage cell, and a value on it."""


def heat_map(coverage: Coverage) -> Element:
    """Layout families by dtype, by group and by block size, side by side."""
    counts: Counter[tuple[str, Column]] = Counter()
    for cell, count in coverage.cells.items():
        for _, axis in AXES:
            counts[cell[0], (axis, cell[axis])] += count
    columns = sorted({column for _, column in counts})
    most = {axis: max(count for (_, column), count in counts.items() if column[0] == axis) for _, axis in AXES}
    head = el("thead", {}, _axes(columns), el("tr", {}, el("th", {}, "family"), *(_head(columns, each) for each in columns)))
    rows = [
        el("tr", {}, el("th", {}, name), *(_heat(counts[name, column], most[column[0]]) for column in columns))
        for name in ALL_FAMILIES
    ]
    return el("div", {"class": "wide"}, el("table", {"class": "heat"}, head, el("tbody", {}, *rows)))


def _axes(columns: list[Column]) -> Element:
    """The names of the axes, each over its columns."""
    spans = Counter(axis for axis, _ in columns)
    return el("tr", {}, el("th"), *(el("th", {"colspan": spans[axis], "class": "first"}, word) for word, axis in AXES))


def _head(columns: list[Column], column: Column) -> Element:
    is_first = column == next(each for each in columns if each[0] == column[0])
    return el("th", {"class": "first"} if is_first else {}, str(column[1]))


def _heat(count: int, most: int) -> Element:
    if not count:
        return el("td", {"class": "none"}, "·")
    strength = 0.15 + 0.85 * math.log1p(count) / math.log1p(most)
    return el("td", {"style": f"--heat: {strength:.2f}"}, str(count))
