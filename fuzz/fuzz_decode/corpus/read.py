"""Reading untrusted case files: a file that does not fit gives one sentence that names the field, never a crash."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from fuzz_decode.cases.call_sequence import MAX_CALLS, CallSequence
from fuzz_decode.cases.serialization import case_from_json, shown
from fuzz_decode.corpus.entry import SCHEMA, Entry
from fuzz_decode.errors import CaseError, FileError
from fuzz_decode.files import read_whole
from fuzz_decode.outcome import Signature, Stage

_TEXT = ("target", "signature", "stage", "device", "diagnosis", "fault", "note")
_ONE_LINE = ("target", "signature")  # shown everywhere, also in command lines
_CHOICES = {"stage": tuple(Stage), "device": ("cpu", "cuda")}
_OBJECTS = ("finding", "needed", "versions")
_PLAIN = (str, int, float, list, type(None))
_FINDING: dict[str, Any] = {  # types of the fields that are used; other fields hold any plain value
    **dict.fromkeys(("oracle", "symptom", "tensor", "message", "reads", "calls"), str),
    **dict.fromkeys(("expected", "got", "allowed"), (int, float, str, type(None))),
    **dict.fromkeys(("wrong", "total"), int),
    "where": list,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def load(path: Path) -> Entry:
    """Read one case file. Raises FileError that names the field that is wrong."""
    try:
        data = json.loads(read_whole(path), object_pairs_hook=_without_duplicates)
        if not isinstance(data, dict) or "schema" not in data:
            raise CaseError("has no schema number; a case file is written by fuzz-decode")
        if type(data["schema"]) is not int or data["schema"] != SCHEMA:
            raise CaseError(f"schema is {shown(data['schema'])}; this version reads schema {SCHEMA}")
        return _entry(data)
    except CaseError as error:
        raise FileError(path, error) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"is not a whole JSON file: {str(error)[:120]}") from error


def load_folder(folder: Path) -> tuple[dict[Path, Entry], list[FileError]]:
    """The entry of each case file in a folder, in the order of names, and the errors of files that do not load."""
    return load_files(sorted(folder.glob("*.json")))


def load_files(paths: Iterable[Path]) -> tuple[dict[Path, Entry], list[FileError]]:
    """The entry of each file, and the errors of files that do not load."""
    entries, errors = {}, []
    for path in paths:
        try:
            entries[path] = load(path)
        except FileError as error:
            errors.append(error)
    return entries, errors


def _entry(data: dict[str, Any]) -> Entry:
    names = {f.name for f in fields(Entry)}
    for name in data:
        if name not in names | {"schema"}:
            raise CaseError(f"unknown field {name!r:.40}")
    for name in ("case", "target", "signature"):
        if name not in data:
            raise CaseError(f"{name}: is missing")
    for name, value in data.items():
        _check(name, value)
    case = case_from_json(data["case"])
    raw = case_from_json(data["raw_case"]) if "raw_case" in data else case
    before = _calls(data.get("before", []))
    rest = {name: value for name, value in data.items() if name in (*_TEXT, *_OBJECTS, "minimised")}
    signature, stage = Signature(rest.pop("signature")), Stage(rest.pop("stage", Stage.COMPARE))
    return Entry(case, raw, signature=signature, stage=stage, before=before, **{"device": "cpu", **rest})


def _check(name: str, value: Any) -> None:
    """Check one field, unless it holds cases. Raises CaseError that names it."""
    if name in _TEXT or name == "minimised":
        _expect(name, value, bool if name == "minimised" else str)
    elif name in _OBJECTS:
        _expect(name, value, dict)
        for key, inner in value.items():
            _expect(f"{name}.{key:.40}", key, str)
            _expect(f"{name}.{key:.40}", inner, _FINDING.get(key, _PLAIN) if name == "finding" else str)
    if name in _ONE_LINE and _CONTROL.search(value):
        raise CaseError(f"{name}: holds a line break or another control character")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise CaseError(f"{name}: {shown(value)} is none of {', '.join(_CHOICES[name])}")


def _calls(data: Any) -> CallSequence:
    """The calls before the failing one. Raises CaseError that names the one that is wrong."""
    if not isinstance(data, list):
        raise CaseError(f"before: expected list, found {type(data).__name__}")
    if len(data) >= MAX_CALLS:
        raise CaseError(f"before: {len(data)} calls; at most {MAX_CALLS - 1} are made")
    calls = []
    for index, item in enumerate(data):
        try:
            calls.append(case_from_json(item))
        except CaseError as error:
            raise CaseError(f"before[{index}]: {error}") from error
    return tuple(calls)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's fields. Of two with the same name some readers take the first and others the last: CaseError."""
    data = dict(pairs)
    if len(data) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise CaseError(f"field {twice!r:.40} is there twice")
    return data


def _expect(name: str, value: Any, kind: Any) -> None:
    """Check that a value has the type `kind`, and can be written as JSON and shown. Raises CaseError."""
    if not isinstance(value, kind):
        expected = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise CaseError(f"{name}: expected {expected}, found {type(value).__name__}")
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        raise CaseError(f"{name}: is no list of whole numbers")
    for number in value if isinstance(value, list) else [value]:
        if (isinstance(number, int) and abs(number) >= 2**63) or (isinstance(number, float) and not math.isfinite(number)):
            raise CaseError(f"{name}: {shown(number)} is out of range")
    if isinstance(value, str) and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise CaseError(f"{name}: is not valid text")
