"""Which cases are valid: sizes within limits, known choices, layouts that fit. Pure functions over plain data."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import (
    BEYOND,
    CACHE_DTYPES,
    DATA_MODES,
    DTYPES,
    FINITE_PLACES,
    MAX_LIVE,
    MAX_SMALL_SPAN,
    MAX_SPAN,
    MAX_TABLE,
    PLACEMENTS,
    UNUSED_ENTRIES,
)
from fuzz_decode.cases.layout import BUFFER_AXES, CACHE_AXES, QUERY_AXES, TABLE_AXES, PlacedLayout
from fuzz_decode.errors import CaseError


def validate(case: Case) -> Case:
    """Return the case itself. Raises CaseError naming the first field that is wrong."""
    for problem in problems(case):
        raise CaseError(f"case field {problem}")
    return case


def is_valid(case: Case) -> bool:
    return next(problems(case), None) is None


def problems(case: Case) -> Iterator[str]:
    """Everything wrong with the case, as `field: problem`."""
    yield from _size_problems(case)
    yield from _choice_problems(case)
    yield from _layout_problems(case)
    live = case.num_pages * case.block_size * case.num_kv_heads * max(case.head_dim, case.value_head_dim)
    if live > MAX_LIVE:
        yield f"seq_lens: uses {live} elements of K; at most {MAX_LIVE} are built"


def _size_problems(case: Case) -> Iterator[str]:
    limits = {
        "num_kv_heads": (1, 2**14),
        "group": (1, 2**10),
        "q_len": (1, 2**10),
        "head_dim": (1, 2**12),
        "value_head_dim": (1, 2**12),
        "block_size": (1, 2**16),
        "layers": (1, 2**16),
        "seed": (0, 2**63 - 1),
    }
    for name, (low, high) in limits.items():
        if not low <= getattr(case, name) <= high:
            yield f"{name}: {getattr(case, name)} is not between {low} and {high}"
    if not 1 <= case.num_seqs <= 2**17:
        yield f"seq_lens: {case.num_seqs} sequences; from 1 to {2**17} are possible"
    for length in case.seq_lens:
        if not 0 <= length <= 2**24:
            yield f"seq_lens: {length} is not between 0 and {2**24}"
        elif 0 < length < case.q_len:  # a cache that lacks its own query tokens: no engine makes one
            yield f"seq_lens: {length} is less than q_len = {case.q_len}; query tokens count, and an empty sequence has none"
    for name in ("first_block", "spare_blocks", "shared_blocks", "extra_columns"):
        if not 0 <= getattr(case.table, name) < 2**31:
            yield f"table.{name}: {getattr(case.table, name)} is not between 0 and 2**31 - 1"
    if case.num_blocks >= 2**31:
        yield f"table.first_block: block ids up to {case.num_blocks - 1} do not fit into int32"
    if case.num_seqs * case.table_width > MAX_TABLE:
        yield f"table.extra_columns: the block table has {case.num_seqs * case.table_width} entries; at most {MAX_TABLE}"


def _choice_problems(case: Case) -> Iterator[str]:
    choices: dict[str, tuple[str, tuple[str, ...]]] = {
        "dtype": (case.dtype, DTYPES),
        "data": (case.data, DATA_MODES),
        "cache_dtype": (CACHE_DTYPES[0] if case.cache_dtype is None else case.cache_dtype, CACHE_DTYPES),
        "beyond": (case.beyond, BEYOND),
        "table.placement": (case.table.placement, PLACEMENTS),
        "table.unused": (case.table.unused, tuple(UNUSED_ENTRIES)),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            yield f"{name}: {value!r} is none of {', '.join(allowed)}"
    if case.finite != tuple(place for place in FINITE_PLACES if place in case.finite):
        yield f"finite: {', '.join(map(repr, case.finite))} are not names among {', '.join(FINITE_PLACES)}, in this order"
    if not 0 <= case.layer < case.layers:
        yield f"layer: {case.layer} is not below layers = {case.layers}"
    if case.window is not None and not 1 <= case.window < 2**31:
        yield f"window: {case.window} is not null or between 1 and 2**31 - 1"
    for name in ("k_scale", "v_scale"):
        if (getattr(case, name) is None) != (case.cache_dtype is None):
            yield f"{name}: {getattr(case, name)}, but a cache_dtype has both scales, and only a cache_dtype has them"
    for name in ("softcap", "scale", "k_scale", "v_scale"):
        number = getattr(case, name)
        if number is not None and not 1e-6 <= number <= 1e6:
            yield f"{name}: {number} is not null or between 1e-6 and 1e6"
    if case.v_prefix_of_k and case.value_head_dim > case.head_dim:
        yield f"value_head_dim: {case.value_head_dim} cannot be a prefix of K's rows of {case.head_dim}"
    if case.data == "tagged" and not tags_fit(case):
        yield "data: tagged needs V apart from K, no softcap, no alibi, a scale of 0.001 or more, and addresses it can spell"


def tags_fit(case: Case) -> bool:
    """Whether `tagged` values exist: V has memory of its own, one token can win each row, and V's digits can spell addresses."""
    spelled = case.num_blocks <= 2**24 and case.block_size <= 4096 and case.num_kv_heads <= 4096 and sum(case.seq_lens) <= 2**16
    wins = case.softcap is None and not case.alibi and case.softmax_scale * (case.k_scale or 1.0) >= 1e-3
    return spelled and wins and not case.v_prefix_of_k and min(case.head_dim, case.value_head_dim) >= 16


def _layout_problems(case: Case) -> Iterator[str]:
    axes = {"k": set(BUFFER_AXES), "v": {"layer", *CACHE_AXES}, "q": set(QUERY_AXES), "out": set(QUERY_AXES)}
    needed = {"k": set(CACHE_AXES), "v": set(CACHE_AXES), "q": set(QUERY_AXES), "out": set(QUERY_AXES)}
    for name, placed in case.layouts().items():
        layout = placed.layout
        allowed, required = axes.get(name, set(TABLE_AXES)), needed.get(name, set(TABLE_AXES))
        if len(set(layout.order)) != len(layout.order) or not required <= set(layout.order) <= allowed:
            yield f"{name}.order: {' '.join(layout.order)} is not an order of {' '.join(sorted(allowed))}"
            return
        yield from _stride_problems(name, placed)
    if "kv" in case.k.order and case.v is not None:
        yield "v: must be null when k.order has a kv axis, since V then lies in K's buffer"
    if case.layers > 1 and not any("layer" in placed.layout.order for placed in case.layouts().values()):
        yield f"layers: {case.layers}, but no layout has a layer axis"


def _stride_problems(name: str, placed: PlacedLayout) -> Iterator[str]:
    layout, sizes = placed
    if len(layout.pad) != len(layout.order):
        yield f"{name}.pad: {len(layout.pad)} numbers for {len(layout.order)} axes"
        return
    strides = placed.strides
    for axis, pad in zip(layout.order, layout.pad, strict=True):
        if pad < 0 and (sizes[axis] != 1 or strides[axis] < 0):
            yield f"{name}.pad: {pad} on axis {axis}; only an axis of size 1 may be padded negatively"
    if layout.offset < 0:
        yield f"{name}.offset: {layout.offset} is negative"
    span, limit = max(placed.extent, *strides.values()), MAX_SPAN if name in ("k", "v") else MAX_SMALL_SPAN
    if span > limit:
        yield f"{name}: spans {span} elements; at most {limit} are built"
