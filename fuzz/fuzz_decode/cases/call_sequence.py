"""Calls: cases run one after another in one process. The last is the case in question; those before it leave state behind.

A single case is a tuple of one. `seq_lens` speaks of sequences of tokens; a sequence of cases is called calls everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fuzz_decode.cases.case import Case, flatten
from fuzz_decode.cases.simplicity import simplicity_key
from fuzz_decode.outcome import Outcome

CallSequence = tuple[Case, ...]
Runner = Callable[[CallSequence], Outcome]  # makes the calls; the outcome is that of the last
MAX_CALLS = 100  # a raw file of so many stays well below the size limit of case files
FLOAT8 = ("cache_dtype", "k_scale", "v_scale")
CACHES = ("k", "v", "layers", "layer")
# fields that make sense together only: V's place hangs on K's layout, the room in pool and table on the lengths
TOGETHER = (CACHES, FLOAT8, ("seq_lens", "table.spare_blocks", "table.extra_columns"))


def sort_key(calls: CallSequence) -> tuple[Any, ...]:
    """Smaller is simpler: few calls, then calls like the last, since what differs is the story, then simple ones."""
    unlike = sum(len(unlike_parts(case, calls[-1])) for case in calls[:-1])
    return len(calls), unlike, *map(_case_key, reversed(calls))


@functools.lru_cache(2**12)  # the shrinker compares every candidate with the same best calls
def _case_key(case: Case) -> tuple[Any, ...]:
    return simplicity_key(case)


def differences(case: Case, other: Case) -> dict[str, tuple[Any, Any]]:
    """Field name (dotted) to the value in each, for the fields that differ."""
    both = zip(flatten(case), flatten(other), strict=True)
    return {name: (one, another) for (name, one), (_, another) in both if one != another}


def unlike_parts(case: Case, other: Case) -> list[tuple[str, ...]]:
    """The fields that differ, those that hang together as one part."""
    parts = [next((part for part in TOGETHER if name in part), (name,)) for name in differences(case, other)]
    return list(dict.fromkeys(parts))


def values(case: Case, names: Iterable[str]) -> dict[str, Any]:
    """The values of some fields (dotted names)."""
    flat = dict(flatten(case))
    return {name: flat[name] for name in names}


def altered(case: Case, changes: Mapping[str, Any]) -> Case:
    """The case with other values of some fields (dotted names); it need not be valid."""
    table = {name.removeprefix("table."): value for name, value in changes.items() if name.startswith("table.")}
    own = {name: value for name, value in changes.items() if not name.startswith("table.")}
    return dataclasses.replace(case, table=dataclasses.replace(case.table, **table), **own)
