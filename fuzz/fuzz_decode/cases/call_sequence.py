"""Call sequences: cases run one after another in one process. The last one is judged; those before it leave state behind.

A single case is a tuple of one. `seq_lens` is about sequences of tokens; a sequence of cases is called calls everywhere.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fuzz_decode.cases.case import Case, flatten
from fuzz_decode.cases.optional_arguments import all_options
from fuzz_decode.cases.simplicity import simplicity_key
from fuzz_decode.outcome import Outcome

CallSequence = tuple[Case, ...]
Runner = Callable[[CallSequence], Outcome]  # makes the calls; the outcome is that of the last
MAX_CALLS = 100  # a raw file of 100 calls stays well below the size limit of case files
CACHES = ("k", "v", "layers", "layer")
LENGTHS = ("seq_lens", "table.spare_blocks", "table.extra_columns")


def fields_together() -> tuple[tuple[str, ...], ...]:
    """Fields that only make sense together: V's layout depends on K's, the sizes of pool and table on the lengths, and some
    options have several fields."""
    return (CACHES, LENGTHS, *(option.fields for option in all_options() if len(option.fields) > 1))


def sort_key(calls: CallSequence) -> tuple[Any, ...]:
    """Smaller is simpler: fewer calls, then fewer differences from the last (they explain the failure), then simpler cases."""
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
    """The fields that differ; fields that only make sense together are one part."""
    together = fields_together()
    parts = [next((part for part in together if name in part), (name,)) for name in differences(case, other)]
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
