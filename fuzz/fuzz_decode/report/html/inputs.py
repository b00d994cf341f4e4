"""The parts of a page that come from the JSON reports of a campaign and of a score. Both are untrusted, and are validated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fuzz_decode.errors import FileError
from fuzz_decode.files import read_whole
from fuzz_decode.generate.coverage import Coverage

MAX_BYTES = 2**26


def read_coverage(path: Path) -> Coverage:
    """The coverage in the output of `run --json`. Raises FileError naming the file and its fault."""
    cells = _read(path).get("coverage")
    coverage = Coverage()
    for cell in cells if isinstance(cells, list) else [None]:
        match cell:
            case [str(family), str(dtype), int(group), int(block_size), int(count)]:
                coverage.cells[family, dtype, group, block_size] += count
            case _:
                raise FileError(path, "coverage is not what `fuzz-decode run --json` writes")
    return coverage


def read_score(path: Path) -> dict[str, Any]:
    """The output of `score --json`. Raises FileError naming the file and its fault."""
    data = _read(path)
    rows = data.get("classes")
    valid = isinstance(rows, list) and all(isinstance(data.get(name), int) for name in ("mutants", "detected"))
    types: dict[str, Any] = {"name": str, "killed": int, "runs": int, "median": (int, type(None)), "p90": (int, type(None))}
    for row in rows if isinstance(rows, list) else ():
        valid = valid and isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in types.items())
    if not valid:
        raise FileError(path, "is not what `fuzz-decode score --json` writes")
    return data


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_whole(path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"is not a complete JSON file: {error}") from error
    if not isinstance(data, dict):
        raise FileError(path, "must hold a JSON object")
    return data
