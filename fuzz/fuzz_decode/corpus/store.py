"""Findings on disk: one readable JSON file a case, `<digest>.json`, written whole or not at all.

corpus/README.md describes the format. No pickle, no code; a file that cannot be trusted gives one sentence, never a crash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fuzz_decode.cases.call_sequence import MAX_CALLS, Calls, sort_key
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import shown
from fuzz_decode.errors import CaseError, FileError, UsageError
from fuzz_decode.files import read_whole, write_whole
from fuzz_decode.outcome import STAGES

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A failing case with what is known about it. `raw_case` is the case as it was drawn, `needed` says for each remaining
    feature of `case` what happens without it, `finding` is the first oracle's finding on `case`. `diagnosis` is in words, `fault`
    names what it names with confidence. `before` are the calls, oldest first, that must have been made in the same process for
    it to fail."""

    case: Case
    raw_case: Case
    target: str
    signature: str
    stage: str
    device: str
    finding: dict[str, Any] = field(default_factory=dict)
    needed: dict[str, str] = field(default_factory=dict)
    minimised: bool = False
    diagnosis: str = ""
    fault: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    before: Calls = ()

    @property
    def calls(self) -> Calls:
        return (*self.before, self.case)

    @property
    def digest(self) -> str:
        text = "\n".join((self.target, self.signature, *(case.canonical() for case in self.calls)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def bug(self) -> tuple[str, str]:
        """Entries with the same target and signature are one bug."""
        return self.target, self.signature

    def to_json(self) -> dict[str, Any]:
        """Plain data; what older versions do not know is left out where it is empty, so that they read the file."""
        cases = {"case": self.case.to_json(), "raw_case": self.raw_case.to_json(), "before": [c.to_json() for c in self.before]}
        data = {"schema": SCHEMA, **dataclasses.asdict(self), **cases}
        return {name: value for name, value in data.items() if value or name not in _LATER}


def save(folder: Path, entry: Entry) -> Path:
    """Write the entry; idempotent. Raises UsageError if the folder cannot be written."""
    path = folder / f"{entry.digest}.json"
    text = json.dumps(entry.to_json(), indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"corpus folder {folder} cannot be written: {error.strerror}") from error
    write_whole(path, text)
    return path


def replace(old: Path, entry: Entry) -> Path:
    """Write the entry beside `old`, then remove `old`."""
    path = save(old.parent, entry)
    if path != old:
        old.unlink(missing_ok=True)
    return path


def settle(old: Path, entry: Entry, still_fails: Callable[[Calls], bool]) -> tuple[Path, Entry]:
    """Write the entry instead of `old`; of all entries of its bug that still fail, only the one with the simplest calls stays.

    Returns what stays. An entry that no longer fails guards a fix and is left alone.
    """
    path = replace(old, entry)
    known = load_folder(path.parent)[0]
    rivals = {p: e for p, e in known.items() if p != path and e.bug == entry.bug and still_fails(e.calls)}
    best = min([(path, entry), *rivals.items()], key=lambda item: sort_key(item[1].calls))
    for other in {path, *rivals} - {best[0]}:
        other.unlink(missing_ok=True)
    return best


def load(path: Path) -> Entry:
    """Read one file. Raises FileError saying what in it is wrong."""
    try:
        data = json.loads(read_whole(path), object_pairs_hook=_named_once)
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
    """Every case file of a folder, and the errors of those that do not load."""
    return load_files(sorted(folder.glob("*.json")))


def load_files(paths: Iterable[Path]) -> tuple[dict[Path, Entry], list[FileError]]:
    """The files' entries, and the errors of those that do not load."""
    entries, errors = {}, []
    for path in paths:
        try:
            entries[path] = load(path)
        except FileError as error:
            errors.append(error)
    return entries, errors


_TEXT = ("target", "signature", "stage", "device", "diagnosis", "fault", "note")
_LATER = ("before", "fault")
_ONE_LINE = ("target", "signature")  # shown everywhere, in commands, too
_CHOICES = {"stage": STAGES, "device": ("cpu", "cuda")}
_OBJECTS = ("finding", "needed", "versions")
_PLAIN = (str, int, float, list, type(None))
_FINDING: dict[str, Any] = {  # what is read again; other fields are plain
    **dict.fromkeys(("oracle", "symptom", "tensor", "message", "reads"), str),
    **dict.fromkeys(("expected", "got", "allowed"), (int, float, str, type(None))),
    **dict.fromkeys(("wrong", "total"), int),
    "where": list,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


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
    case = Case.from_json(data["case"])
    raw = Case.from_json(data["raw_case"]) if "raw_case" in data else case
    before = _calls(data.get("before", []))
    rest = {name: value for name, value in data.items() if name in (*_TEXT, *_OBJECTS, "minimised")}
    return Entry(**{"stage": "compare", "device": "cpu", **rest, "case": case, "raw_case": raw, "before": before})


def _check(name: str, value: Any) -> None:
    """One field, if it is not a case. Raises CaseError naming it."""
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


def _calls(data: Any) -> Calls:
    """The calls before the failing one. Raises CaseError naming the one that is wrong."""
    if not isinstance(data, list):
        raise CaseError(f"before: expected list, found {type(data).__name__}")
    if len(data) >= MAX_CALLS:
        raise CaseError(f"before: {len(data)} calls; at most {MAX_CALLS - 1} are made")
    calls = []
    for place, item in enumerate(data):
        try:
            calls.append(Case.from_json(item))
        except CaseError as error:
            raise CaseError(f"before[{place}]: {error}") from error
    return tuple(calls)


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's fields. Of two of the same name one reader takes the first, the next one the last."""
    data = dict(pairs)
    if len(data) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise CaseError(f"field {twice!r:.40} is there twice")
    return data


def _expect(name: str, value: Any, kind: Any) -> None:
    """Plain, shallow, writable data of the right kind."""
    if not isinstance(value, kind):
        wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise CaseError(f"{name}: expected {wanted}, found {type(value).__name__}")
    if isinstance(value, list) and not all(isinstance(item, int) for item in value):
        raise CaseError(f"{name}: is no list of whole numbers")
    for number in value if isinstance(value, list) else [value]:
        if (isinstance(number, int) and abs(number) >= 2**63) or (isinstance(number, float) and not math.isfinite(number)):
            raise CaseError(f"{name}: {shown(number)} is out of range")
    if isinstance(value, str) and not value.isascii() and value.encode(errors="replace").decode() != value:
        raise CaseError(f"{name}: is not valid text")
