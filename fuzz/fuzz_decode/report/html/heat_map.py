"""The coverage of the layout space as tables; a cell is the darker the more cases it had."""

from __future__ import annotations

import math
from collections import Counter
from xml.etree.ElementTree import Element

from fuzz_decode.cases.layout import ALL_FAMILIES
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.report.html.elements import el

AXES = (("dtype", 1), ("group", 2), ("block size", 3))


def heat_maps(coverage: Coverage) -> list[Element]:
    """Layout families by dtype, by group and by block size."""
    return [_heat_map(coverage, word, axis) for word, axis in AXES]


def _heat_map(coverage: Coverage, word: str, axis: int) -> Element:
    counts: Counter[tuple[str, int | str]] = Counter()
    for cell, count in coverage.cells.items():
        counts[cell[0], cell[axis]] += count
    columns = sorted({column for _, column in counts}, key=lambda value: (isinstance(value, str), value))
    most = max(counts.values(), default=1)
    head = el("tr", {}, el("th", {}, f"family \\ {word}"), *(el("th", {}, str(column)) for column in columns))
    rows = [el("tr", {}, el("th", {}, name), *(_heat(counts[name, column], most) for column in columns)) for name in ALL_FAMILIES]
    return el("div", {"class": "wide"}, el("table", {"class": "heat"}, el("thead", {}, head), el("tbody", {}, *rows)))


def _heat(count: int, most: int) -> Element:
    if not count:
        return el("td", {"class": "none"}, "·")
    strength = 0.15 + 0.85 * math.log1p(count) / math.log1p(most)
    return el("td", {"style": f"--heat: {strength:.2f}"}, str(count))
