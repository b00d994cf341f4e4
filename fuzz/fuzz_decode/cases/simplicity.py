"""How simple a case is: the order that shrinking follows, and the features that set a case apart from the plainest one."""

from __future__ import annotations

import dataclasses
from typing import Any

from fuzz_decode.cases.case import DEFAULTS, BlockTable, Case, flatten
from fuzz_decode.cases.domain import BEYOND, CACHE_DTYPES, DATA_MODES, DTYPES, PLACEMENTS, UNUSED_ENTRIES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, dense
from fuzz_decode.cases.optional_arguments import all_options, number_fields, plain_values
from fuzz_decode.cases.serialization import canonical_json

SIZE_FIELDS = frozenset({"seq_lens", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size"})
# what a case takes away from a target with a known weakness: without it another fault may fail in the same way
ALLOWANCES = frozenset({"finite"})


def simplicity_key(case: Case) -> tuple[Any, ...]:
    """Smaller is simpler. One reason a line."""
    layouts = [placed.layout for placed in case.layouts().values()]
    return (
        case.num_seqs,  # one sequence can be followed by hand
        sum(case.seq_lens),  # few tokens to look at
        case.q_len,
        case.num_kv_heads,
        case.group,
        len(features_of(case)) + len(case.finite),  # every feature left is part of the story
        case.head_dim + case.value_head_dim,
        case.block_size,
        case.num_blocks + case.layers,  # small pools fit on a page
        sum(abs(pad) for layout in layouts for pad in layout.pad) + sum(layout.offset for layout in layouts),
        _choices(case),
        _numbers(case),
        canonical_json(case),  # total, so that the same bug ends at the same case
    )


def _choices(case: Case) -> tuple[int, ...]:
    """Each choice's index in its list, simplest first."""
    table = case.table
    placement, unused = PLACEMENTS.index(table.placement), tuple(UNUSED_ENTRIES).index(table.unused)
    cache = (None, *CACHE_DTYPES).index(case.cache_dtype)
    beyond = BEYOND.index(case.beyond)
    return DTYPES.index(case.dtype), cache, DATA_MODES.index(case.data), placement, unused, beyond


def _numbers(case: Case) -> tuple[float, ...]:
    """Other numbers, which are simpler the smaller they are."""
    table, optional = case.table, [getattr(case, name) for name in number_fields()]
    pool = (table.first_block, table.spare_blocks, table.shared_blocks, table.extra_columns)
    return (*(0.0 if number is None else float(number) for number in optional), *pool, case.layers, case.layer, case.seed)


def features_of(case: Case) -> dict[str, str]:
    """Fields (dotted names) with a value that is not plain, but for sizes and allowances, and that value in words."""
    ignored = SIZE_FIELDS | ALLOWANCES | ({"v"} if "kv" in case.k.order else set())
    plain = plain_values()
    return {
        name: str(value)
        for name, value in flatten(case)
        if name not in ignored and value != DEFAULTS[name] and not (name in plain and value == plain[name])
    }


def without_feature(case: Case, feature: str) -> Case:
    """The case without one feature. V leaves K's buffer with K's layout, and an option's fields go together."""
    group, _, name = feature.rpartition(".")
    changes: dict[str, Any] = {name: DEFAULTS[feature]}
    if group:
        return dataclasses.replace(case, table=dataclasses.replace(case.table, **changes))
    for option in all_options():
        if name == option.field:
            changes = dict(zip(option.fields, option.unused, strict=True))
        elif name in option.fields and option.is_used(case):
            changes[name] = plain_values()[name]
    if name == "k" and "kv" in case.k.order:
        changes["v"] = DEFAULTS["v"]
    if name == "k" and case.layers > 1:
        changes |= {"layers": 1, "layer": 0}
    return dataclasses.replace(case, **changes)


def in_plain_layout(case: Case) -> Case:
    """The case with every tensor contiguous and pages in identity order; lengths, block size and table width stay."""
    table = BlockTable(shared_blocks=case.table.shared_blocks, extra_columns=case.table.extra_columns)
    cache, query = dense(CACHE_AXES), dense(QUERY_AXES)
    return dataclasses.replace(case, k=cache, v=cache, layers=1, layer=0, q=query, out=query, table=table)
