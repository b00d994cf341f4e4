"""Call sequences that collide under an incomplete cache key: each call equals an earlier one but for one to three parts."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from fuzz_decode.cases.call_sequence import CACHES, CallSequence, altered, values
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.optional_arguments import in_order
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import is_valid

UNRELATED = 0.1  # share of calls after the first that have other sizes, which may evict or outgrow the cached state
MANY_SEEDS = 2**16
TABLE = ("table.layout", "table.placement", "table.unused")


def parts() -> list[tuple[str, ...]]:
    """Fields that change together. Each part was missing from some cache's key; sizes stay, so that the key comes up again.

    Parts are drawn by index, so their order belongs to the meaning of a seed.
    """
    options = [option.fields for option in in_order("scale", "softcap", "window", "cache_dtype") if option.changes_answer]
    return [CACHES, ("q",), ("out",), TABLE, *options[:3], ("dtype",), *options[3:], ("seq_lens",), ("data",), ("seed",)]


def calls_from(
    first: Case, drawn: Sequence[Case], length: int, source: random.Random, strides: StrideRules = StrideRules()
) -> CallSequence:
    """`length` calls that begin with `first`; the others take their differences from the `drawn` cases, within `strides`."""
    calls = [first]
    while len(calls) < length:
        unrelated = source.random() < UNRELATED
        calls.append(source.choice(drawn) if unrelated else mutate_call(source.choice(calls), drawn, source, strides))
    return tuple(calls)


def mutate_call(case: Case, drawn: Sequence[Case], source: random.Random, strides: StrideRules = StrideRules()) -> Case:
    """The case with one to three parts of drawn cases, where those fit it; else with other data."""
    changed = case
    for part in source.sample(parts(), source.choice((1, 1, 1, 2, 3))):
        others = (strides.nearest(_copy_fields(changed, donor, part)) for donor in source.sample(drawn, len(drawn)))
        changed = next((other for other in others if other != changed and is_valid(other)), changed)
    return changed if changed != case else dataclasses.replace(case, seed=source.randrange(MANY_SEEDS))


def _copy_fields(case: Case, donor: Case, part: tuple[str, ...]) -> Case:
    if part == ("seq_lens",):
        return _with_lengths(case, donor)
    return altered(case, values(donor, part))


def _with_lengths(case: Case, donor: Case) -> Case:
    """The same number of sequences, none longer than the longest was. Pool and table keep their shapes, with unused rest."""
    longest = max(case.seq_lens)
    limited = (min(donor.seq_lens[index % donor.num_seqs], longest) for index in range(case.num_seqs))
    lengths = tuple(max(length, case.q_len) if length else 0 for length in limited)
    shorter = dataclasses.replace(case, seq_lens=lengths)
    spare = case.table.spare_blocks + case.num_blocks - shorter.num_blocks
    columns = case.table.extra_columns + case.table_width - shorter.table_width
    return altered(shorter, {"table.spare_blocks": max(0, spare), "table.extra_columns": columns})
