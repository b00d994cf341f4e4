"""The page: a verdict, a line for every bug, each bug with its memory map, coverage, detection power."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fuzz_decode._version import __version__
from fuzz_decode.campaign.triage import FIXED, Triaged
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.report.facts import headline
from fuzz_decode.report.html.bug_section import bug_section
from fuzz_decode.report.html.elements import Child, document, el, table
from fuzz_decode.report.html.heat_map import heat_map
from fuzz_decode.text import counted


@dataclass(frozen=True, slots=True)
class Page:
    """The contents of a page."""

    found: Sequence[Triaged]
    """The bugs."""
    coverage: Coverage
    what: str
    """The cases that `coverage` counts: those of a campaign, or the stored ones."""
    score: dict[str, Any] | None = None
    """The output of `score --json`."""
    errors: Sequence[str] = ()
    """A line for each file that did not load."""

    def html(self) -> str:
        """The page as one file that needs no other."""
        style = importlib.resources.files(__package__).joinpath("page.css").read_text()
        sections = (bug_section(number, triaged) for number, triaged in enumerate(self.found, 1))
        return document(f"fuzz-decode: {self._verdict()}", style, *self._head(), *sections, *self._covered(), *self._power())

    def _verdict(self) -> str:
        failing = sum(triaged.failing for triaged in self.found)
        return f"{counted(failing, 'bug')} of {len(self.found)} failing" if self.found else "no findings"

    def _head(self) -> list[Child]:
        bad = any(triaged.failing for triaged in self.found)
        versions = ", ".join(f"{name} {version}" for name, version in self.found[0].entry.versions.items()) if self.found else ""
        rows = [_row(number, triaged) for number, triaged in enumerate(self.found, 1)]
        return [
            el("h1", {}, "fuzz-decode ", el("span", {"class": "verdict " + ("bad" if bad else "good")}, self._verdict())),
            el("p", {"class": "faint"}, f"fuzz-decode {__version__}" + (f", {versions}" if versions else "")),
            *(el("p", {"class": "bad"}, error) for error in self.errors),
            el("div", {"class": "summary"}, table(("", "finding", "target", "status", "diagnosis"), rows)) if rows else None,
        ]

    def _covered(self) -> list[Child]:
        if not self.coverage.cells:
            return []
        cases = sum(self.coverage.cells.values())
        words = f"{counted(cases, 'case')} of {self.what}: layout families by dtype, group of query heads and block size."
        return [el("h2", {}, "Coverage of the layout space"), el("p", {"class": "faint"}, words), heat_map(self.coverage)]

    def _power(self) -> list[Child]:
        if self.score is None:
            return []
        rows: list[tuple[Child, ...]] = [
            (row["name"], f"{row['killed']} of {row['runs']}", _cases(row["median"]), _cases(row["p90"]))
            for row in self.score["classes"]
        ]
        words = f"{self.score['detected']} of {self.score['mutants']} mutants of the bundled kernel are killed."
        return [el("h2", {}, "Kill score"), el("p", {}, words), table(("class", "runs killed", "median cases", "90%"), rows)]


def _row(number: int, triaged: Triaged) -> tuple[Child, ...]:
    entry = triaged.entry
    link = el("a", {"href": f"#bug-{number}"}, entry.signature)
    status = el("span", {"class": "bad" if triaged.failing else "good" if triaged.status == FIXED else "faint"}, triaged.status)
    return str(number), link, el("code", {}, entry.target), status, headline(entry)


def _cases(number: int | None) -> str:
    return "-" if number is None else str(number)
