"""Cases to JSON and back. The JSON read is untrusted: every mismatch names its field."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import reprlib
from typing import Any

from fuzz_decode.cases.case import DEFAULTS, BlockTable, Case
from fuzz_decode.cases.layout import Layout
from fuzz_decode.cases.optional_arguments import later_fields
from fuzz_decode.cases.validity import validate
from fuzz_decode.errors import CaseError

LATER = frozenset({"finite", "beyond"})  # fields, beside those of options, that the first schema of case files did not have
_KINDS: dict[str, Any] = {
    "int": int,
    "bool": bool,
    "str": str,
    "str | None": (str, type(None)),
    "float | None": (int, float, type(None)),
    "int | None": (int, type(None)),
}


def case_to_json(case: Case) -> dict[str, Any]:
    """Plain data. Fields that older versions do not know are left out where they are at their defaults, so that these versions
    still read the file, and digests stay."""
    later = LATER | later_fields()
    return {name: value for name, value in dataclasses.asdict(case).items() if name not in later or value != DEFAULTS[name]}


def case_from_json(data: Any) -> Case:
    """Inverse of case_to_json; missing fields take their defaults, so that older files load. Raises CaseError."""
    case: Case = read_dataclass(Case, data, "case", {"Layout": Layout, "BlockTable": BlockTable})
    return validate(case)


def canonical_json(case: Case) -> str:
    """The one text of a case, of which its digest is made."""
    return json.dumps(case_to_json(case), sort_keys=True, separators=(",", ":"))


def case_digest(case: Case) -> str:
    """12 hex digits that name the case, and its file."""
    return hashlib.sha256(canonical_json(case).encode()).hexdigest()[:12]


def read_dataclass(kind: Any, data: Any, path: str, nested: dict[str, Any]) -> Any:
    """Build dataclass `kind` from JSON data; `nested` maps type names to the dataclasses they mean. Raises CaseError."""
    if not isinstance(data, dict):
        raise CaseError(f"{path}: expected an object, found {type(data).__name__}")
    known = {f.name: f for f in dataclasses.fields(kind)}
    for name in data:
        if name not in known:
            raise CaseError(f"{path}: unknown field {name!r:.40}; known are {', '.join(known)}")
    values = {name: _read_field(str(known[name].type), value, f"{path}.{name}", nested) for name, value in data.items()}
    for name, f in known.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise CaseError(f"{path}.{name}: is missing")
    return kind(**values)


def shown(value: Any) -> str:
    """A JSON value in a few characters, however large or deep it is."""
    return reprlib.repr(value) if isinstance(value, (list, dict)) else json.dumps(value)[:40]


def _read_field(kind: str, value: Any, path: str, nested: dict[str, Any]) -> Any:
    inner = kind.removesuffix(" | None")
    if inner in nested:
        return None if value is None and inner != kind else read_dataclass(nested[inner], value, path, nested)
    if kind.startswith("tuple"):
        if not isinstance(value, (list, tuple)):
            raise CaseError(f"{path}: expected a list, found {type(value).__name__}")
        item = kind.removeprefix("tuple[").split(",")[0]
        return tuple(_read_field(item, element, path, nested) for element in value)
    if isinstance(value, bool) != (kind == "bool") or not isinstance(value, _KINDS[kind]):
        raise CaseError(f"{path}: expected {kind}, found {shown(value)}")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise CaseError(f"{path}: a number of {len(str(value))} digits is out of range")
    return float(value) if "float" in kind and value is not None else value
