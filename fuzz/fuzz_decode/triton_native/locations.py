"""Lines of the kernel's source, as Triton IR notes them for each operation."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a source file; number 0: unknown."""

    file: str = ""
    number: int = 0


class Locations:
    """The locations that a module defines by the names `#loc1`, `#loc2`, ..."""

    def __init__(self, text: str) -> None:
        self._texts = dict(re.findall(r"^(#loc\d*) = loc\((.*)\)$", text, re.MULTILINE))
        self._lines: dict[str, list[Line]] = {}

    def split(self, text: str) -> tuple[str, Line]:
        """An operation's text without its location, and the line that this stands for."""
        start = text.rfind(" loc(")
        if start < 0 or not text.endswith(")"):
            return text, Line()
        return text[:start].rstrip(), self.line(text[start + 5 : -1])

    def line(self, location: str) -> Line:
        """The innermost line outside of Triton's own library: that of the kernel, or of a function that it calls."""
        lines = self._all(location)
        return next((line for line in lines if not line.file.startswith(_library())), lines[0] if lines else Line())

    def _all(self, location: str) -> list[Line]:
        """The lines of a location, from the innermost call outwards."""
        if location not in self._lines:
            self._lines[location] = self._read(location)
        return self._lines[location]

    def _read(self, location: str) -> list[Line]:
        if location.startswith("#"):
            return self._all(self._texts.get(location, "unknown"))
        if at := re.fullmatch(r"callsite\((.*) at (.*)\)", location):
            return self._all(at[1]) + self._all(at[2])
        if place := re.fullmatch(r'"(.*)":(\d+):\d+(?: to .*)?', location):
            return [Line(place[1], int(place[2]))]
        if named := re.fullmatch(r'".*?"\((.*)\)', location):
            return self._all(named[1])
        if fused := re.fullmatch(r"fused(?:<.*>)?\[(.*)\]", location):
            return [line for part in fused[1].split(", ") for line in self._all(part)]
        return []


@functools.cache
def _library() -> str:
    import triton

    return str(Path(triton.__file__).parent) + os.sep
