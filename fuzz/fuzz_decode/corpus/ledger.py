"""Known failures, in `ledger.toml` beside the corpus: cases that may fail while an issue is open, or that must not be launched.

docs/reference/ledger.md describes the format. An entry covers no more than it says, and once the bug is fixed the entry itself
is reported as a failure.
"""

from __future__ import annotations

import functools
import math
import os
import re
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence, Runner
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import CACHE_DTYPES, DATA_MODES, DTYPES
from fuzz_decode.cases.layout import ALL_FAMILIES, family
from fuzz_decode.cases.optional_arguments import OptionalArgument, all_options
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.errors import FileError
from fuzz_decode.files import read_whole
from fuzz_decode.outcome import Outcome, Status

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LEDGER = "ledger.toml"
FAIL, CRASH = "fail", "crash"
TEXTS = ("target", "signature", "issue", "reason", "expect")
CHOICES = {"dtype": DTYPES, "cache_dtype": CACHE_DTYPES, "data": DATA_MODES, "family": ALL_FAMILIES}
SIZES = ("num_seqs", "q_len", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size", "layers")
DERIVED: dict[str, Callable[[Case], Any]] = {
    "family": lambda case: family(case.k, case.v),
    "min_seq_len": lambda case: min(case.seq_lens),
    "max_seq_len": lambda case: max(case.seq_lens),
    "span": lambda case: case.span,
}


def option_conditions() -> dict[str, Callable[[Case], Any]]:
    """Conditions on options: name -> the value that a case has, None where it does not use the option."""
    return {option.field: functools.partial(_option_value, option) for option in all_options() if option.in_ledger}


def _option_value(option: OptionalArgument, case: Case) -> Any:
    return getattr(case, option.field) if option.is_used(case) else None


def conditions() -> tuple[str, ...]:
    """Names of all conditions."""
    return tuple(dict.fromkeys((*CHOICES, *option_conditions(), *SIZES, *DERIVED)))


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One entry: cases of `target` that match `when` fail with `signature`."""

    target: str
    signature: str
    issue: str
    """http(s) link."""
    reason: str
    expect: str
    """FAIL, or CRASH: they kill the process or the device, and must not be launched."""
    when: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Name -> condition: a value, a list of them, min and max, used or not. Empty: every case."""

    def matches(self, case: Case) -> bool:
        return all(_holds(condition, _value(case, name)) for name, condition in self.when.items())

    def outcome(self) -> Outcome:
        """The outcome of a matching case: not launched, or without a finding."""
        return Outcome(Status.QUARANTINED if self.expect == CRASH else Status.KNOWN, reason=f"{self.signature}, {self.issue}")

    def no_longer_fails(self, path: Path) -> str:
        """The message when the case stored at `path` passes."""
        passes = f"{self.signature} on {self.target} no longer fails (case {path} passes)"
        return f"ledger: {passes}: remove the entry, {self.issue} seems fixed"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The known failures of one target; of the entries that match a case, the first counts."""

    target: str
    entries: tuple[KnownFailure, ...]

    def crash(self, calls: CallSequence) -> KnownFailure | None:
        """The entry by which one of the calls must not be launched."""
        return next((e for e in self.entries if e.expect == CRASH and any(map(e.matches, calls))), None)

    def quarantined(self, calls: CallSequence) -> Outcome | None:
        """The outcome of calls that must not be made; None if they may."""
        crash = self.crash(calls)
        return crash.outcome() if crash else None

    def failure(self, signature: str, calls: CallSequence) -> KnownFailure | None:
        """The entry by which the last of the calls fails with that signature."""
        return next((e for e in self.entries if (e.expect, e.signature) == (FAIL, signature) and e.matches(calls[-1])), None)

    def entry(self, signature: str, calls: CallSequence) -> KnownFailure | None:
        """Either of the two."""
        return self.crash(calls) or self.failure(signature, calls)

    def expected(self, stored: Entry) -> KnownFailure | None:
        """The entry by which a stored case still fails, if it was stored for this target."""
        return self.failure(stored.signature, stored.calls) if stored.target == self.target else None

    def same_bug(self, found: Entry, fails: Callable[[CallSequence], bool]) -> Callable[[CallSequence], bool]:
        """Whether other calls fail like those found, by the same entry or none: shrinking must not turn a new bug into a known
        one."""
        known = self.entry(found.signature, found.calls)
        return lambda calls: self.entry(found.signature, calls) == known and fails(calls)

    def apply_ledger(self, run: Runner) -> Runner:
        """`run`, but a known crash is not launched, and a known failure has neither findings nor a signature."""

        def run_unless_known(calls: CallSequence) -> Outcome:
            if crash := self.crash(calls):
                return crash.outcome()
            outcome = run(calls)
            known = self.failure(outcome.signature, calls)
            return known.outcome() if known else outcome

        return run_unless_known


def load_ledger(folder: Path, target: str) -> Ledger:
    """The known failures of the target in the ledger of a corpus folder; none if there is no ledger.

    Raises FileError naming the file, the entry and the field.
    """
    path = folder / LEDGER
    entries: list[KnownFailure] = []
    for number, table in enumerate(_tables(path), 1):
        for problem in _problems(table, entries):
            raise FileError(path, f"entry {number}: {problem}")
        entries.append(KnownFailure(**table))
    return Ledger(target, tuple(entry for entry in entries if entry.target == target))


def _tables(path: Path) -> list[Any]:
    if not os.path.lexists(path):
        return []
    try:
        data = tomllib.loads(read_whole(path).decode())
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"is not a TOML file: {str(error)[:120]}") from error
    for name, tables in data.items():
        if name != "known" or not isinstance(tables, list):
            raise FileError(path, f"field {name!r:.40}: a ledger has entries only, each under a line [[known]]")
    return list(data.get("known", []))


def _problems(table: Any, earlier: list[KnownFailure]) -> Iterator[str]:
    """Problems of an entry, as `field: problem`. Only the first is meaningful: later checks assume that earlier ones passed."""
    if not isinstance(table, dict):
        yield f"is no table but {reprlib.repr(table)}"
    for name in table:
        if name not in (*TEXTS, "when"):
            yield f"unknown field {name!r}; known are {', '.join((*TEXTS, 'when'))}"
    for name in TEXTS:
        if name not in table:
            yield f"{name}: is missing"
        elif not isinstance(table[name], str) or not table[name].strip():
            yield f"{name}: must be text, not {reprlib.repr(table[name])}"
    if not re.fullmatch(r"[^\s:]+:[^:]+", table["signature"]):
        yield f"signature: must be symptom:tensor as a campaign prints it, not {table['signature']!r:.60}"
    if not re.fullmatch(r"https?://[!-~]+", table["issue"]):
        yield f"issue: must be an http(s) link, not {table['issue']!r:.60}"
    if table["expect"] not in (FAIL, CRASH):
        yield f"expect: must be {FAIL} or {CRASH}, not {table['expect']!r:.60}"
    if table["expect"] == CRASH and "when" not in table:
        yield "when: is missing; without it no case would be launched at all"
    if "when" in table:
        yield from _when_problems(table["when"])
    for number, other in enumerate(earlier, 1):
        if (table["target"], table["signature"], table.get("when", {})) == (other.target, other.signature, other.when):
            yield f"signature: target, signature and when are those of entry {number}; keep one of them"


def _when_problems(when: Any) -> Iterator[str]:
    if not isinstance(when, dict) or not when:
        yield f"when: must be a table of one condition or more, not {reprlib.repr(when)}"
    for name, condition in when.items():
        if name not in conditions():
            yield f"when: unknown condition {name!r}; known are {', '.join(conditions())}"
        elif not _fits(name, condition):
            numbers = "a number, a list of numbers or { min, max }" + ", or true or false" * (name in option_conditions())
            allowed = f"one or a list of {', '.join(CHOICES[name])}" if name in CHOICES else numbers
            yield f"when.{name}: must be {allowed}, not {reprlib.repr(condition)}"


def _fits(name: str, condition: Any) -> bool:
    if isinstance(condition, bool):
        return name in option_conditions()
    if isinstance(condition, dict):
        limits = name not in CHOICES and condition.keys() <= {"min", "max"} and all(map(_is_number, condition.values()))
        return limits and bool(condition) and condition.get("min", -math.inf) <= condition.get("max", math.inf)
    values = condition if isinstance(condition, list) else [condition]
    return bool(values) and all(value in CHOICES[name] if name in CHOICES else _is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _value(case: Case, name: str) -> Any:
    """The case's value that a condition applies to."""
    derived = option_conditions() | DERIVED
    return derived[name](case) if name in derived else getattr(case, name)


def _holds(condition: Any, value: Any) -> bool:
    """Whether a case's value meets the condition; the value of an option that is not used is None."""
    if isinstance(condition, bool):
        return condition == (value is not None)
    if isinstance(condition, dict):
        return value is not None and condition.get("min", -math.inf) <= value <= condition.get("max", math.inf)
    return value in condition if isinstance(condition, list) else bool(value == condition)
