"""How simple a case is: the order that shrinking follows, and the features that set a case apart from the plainest one."""

from __future__ import annotations

import dataclasses
from typing import Any

from fuzz_decode.cases.case import DEFAULTS, BlockTable, Case, flatten
from fuzz_decode.cases.domain import CACHE_DTYPES, DATA_MODES, DTYPES, PLACEMENTS, UNUSED_ENTRIES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, dense
from fuzz_decode.cases.serialization import canonical_json

FLOAT8_SCALES = ("k_scale", "v_scale")
PLAIN = dict.fromkeys(FLOAT8_SCALES, (None, 1.0))  # float8 caches have scales, and 1 is no feature
SIZE_FIELDS = frozenset({"seq_lens", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size"})


def simplicity_key(case: Case) -> tuple[Any, ...]:
    """Smaller is simpler. One reason a line."""
    layouts = [layout for layout, _ in case.layouts().values()]
    return (
        case.num_seqs,  # one sequence can be followed by hand
        sum(case.seq_lens),  # few tokens to look at
        case.q_len,
        case.num_kv_heads,
        case.group,
        len(features_of(case)),  # every feature left is part of the story
        case.head_dim + case.value_head_dim,
        case.block_size,
        case.num_blocks + case.layers,  # small pools fit on a page
        sum(abs(pad) for layout in layouts for pad in layout.pad) + sum(layout.offset for layout in layouts),
        _choices(case),
        _numbers(case),
        canonical_json(case),  # total, so that the same bug ends at the same case
    )


def _choices(case: Case) -> tuple[int, ...]:
    """Each choice's place in its list, simplest first."""
    table = case.table
    placement, unused = PLACEMENTS.index(table.placement), tuple(UNUSED_ENTRIES).index(table.unused)
    cache = (None, *CACHE_DTYPES).index(case.cache_dtype)
    return DTYPES.index(case.dtype), cache, DATA_MODES.index(case.data), placement, unused


def _numbers(case: Case) -> tuple[float, ...]:
    """What is left to make small."""
    table, optional = case.table, (case.window, case.softcap, case.scale, case.k_scale, case.v_scale)
    pool = (table.first_block, table.spare_blocks, table.shared_blocks, table.extra_columns)
    return (*(0.0 if number is None else float(number) for number in optional), *pool, case.layers, case.layer, case.seed)


def features_of(case: Case) -> dict[str, str]:
    """What is not plain about the case: field name (dotted) to its value in words."""
    inside_k = {"v"} if "kv" in case.k.order else set()
    return {
        name: str(value)
        for name, value in flatten(case)
        if value not in PLAIN.get(name, (DEFAULTS[name],)) and name not in SIZE_FIELDS and name not in inside_k
    }


def without_feature(case: Case, feature: str) -> Case:
    """The case with one feature back at its default; V leaves K's buffer when K's layout goes."""
    group, _, name = feature.rpartition(".")
    changes: dict[str, Any] = {name: 1.0 if name in FLOAT8_SCALES and case.cache_dtype else DEFAULTS[feature]}
    if group:
        return dataclasses.replace(case, table=dataclasses.replace(case.table, **changes))
    if name == "k" and "kv" in case.k.order:
        changes["v"] = DEFAULTS["v"]
    if name == "k" and case.layers > 1:
        changes |= {"layers": 1, "layer": 0}
    if name == "cache_dtype":
        changes |= dict.fromkeys(FLOAT8_SCALES)
    return dataclasses.replace(case, **changes)


def in_plain_layout(case: Case) -> Case:
    """The case with every tensor contiguous and pages in identity order; lengths, block size and table width stay."""
    table = BlockTable(shared_blocks=case.table.shared_blocks, extra_columns=case.table.extra_columns)
    cache, query = dense(CACHE_AXES), dense(QUERY_AXES)
    return dataclasses.replace(case, k=cache, v=cache, layers=1, layer=0, q=query, out=query, table=table)
