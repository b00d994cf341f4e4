"""Cases near a failing one, on which faults that predict the same there may differ: the nearest first.

Each keeps what the failing case needs and adds something: other data, another length, more heads, padding on an axis. The order
matters: a diagnosis has seconds, and stops when one suspect is left.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.simplicity import features_of, without_feature
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.targets.target import Target

MAX_TOKENS = 2048  # of a variation, all sequences together: several splits, and quick in the interpreter
MAX_EXTENT = 2**27  # elements of all its allocations: many are kept at once
WIDE_TABLE = 256  # tokens beyond those of a case that a wide block table has columns for: several splits
SPREAD = 1.5  # on the CPU, where only touched pages exist, a variation may span this many times what the case itself spans
Change = Callable[[Case], Case]


def variations(case: Case, target: Target, device: str) -> Iterator[tuple[str, Case]]:
    """What differs, in words, and the case: valid, supported by the target, each once."""
    seen = {case}
    max_extent = MAX_EXTENT if device != "cpu" else max(MAX_EXTENT, int(SPREAD * _extent(case)))
    for words, change in (*_plainer(case), *SINGLE, *_combined()):
        other = target.strides.nearest(change(case))
        if other not in seen and _suits(other, target, max_extent):
            seen.add(other)
            yield words, other


def _plainer(case: Case) -> Iterator[tuple[str, Change]]:
    """First without each feature: a fault that shows only with one of them is more special than one that shows without."""
    for feature in features_of(case):
        yield f"without {feature}", functools.partial(without_feature, feature=feature)
    yield "with one query head for each KV head", _with(group=1)
    yield "with one KV head", _with(num_kv_heads=1)


def _suits(case: Case, target: Target, max_extent: int) -> bool:
    return is_valid(case) and fits(case) and _extent(case) <= max_extent and target.unsupported_reason(case) is None


def _extent(case: Case) -> int:
    return sum(placed.extent for placed in case.layouts().values())


def fits(case: Case) -> bool:
    """Whether the case is small enough to be run and predicted many times."""
    live = sum(case.seq_lens) * case.num_q_heads * max(case.head_dim, case.value_head_dim)
    return sum(case.seq_lens) <= 8 * MAX_TOKENS and live <= 2**26 and case.num_seqs <= 256


def _longer(add: int) -> Change:
    return lambda case: replace(case, seq_lens=tuple(length + add for length in case.seq_lens))


def _more_sequences(case: Case) -> Case:
    first = max(case.seq_lens)
    return replace(case, seq_lens=(*case.seq_lens, first + 2, max(1, first - 1)))


def _table(**changes: object) -> Change:
    return lambda case: replace(case, table=replace(case.table, **changes))  # type: ignore[arg-type]


def _padded(name: str, axis: str, by: int) -> Change:
    """More padding after one axis of a layout, if it has that axis."""

    def change(case: Case) -> Case:
        layout = case.table.layout if name == "table" else getattr(case, name)
        if layout is None or axis not in layout.order:
            return case
        pad = tuple(max(0, old) + by * (axis == other) for other, old in zip(layout.order, layout.pad, strict=True))
        wider = Layout(layout.order, pad, layout.offset)
        if name == "table":
            return replace(case, table=replace(case.table, layout=wider))
        return _with(**{name: wider})(case)

    return change


def _with(**changes: object) -> Change:
    return lambda case: replace(case, **changes)  # type: ignore[arg-type]


def _heads(kv: int, group: int) -> Change:
    return lambda case: replace(case, num_kv_heads=case.num_kv_heads + kv, group=case.group + group)


def _much_longer(case: Case) -> Case:
    """So that tokens left out at the end are distinguished from tokens beyond a fixed number."""
    return replace(case, seq_lens=tuple(2 * length + 35 if length else 0 for length in case.seq_lens))


def _larger_blocks(case: Case) -> Case:
    """The same lengths in blocks of more slots, the last one partly filled."""
    return replace(case, block_size=case.block_size + 2)


def _wider(k: int, v: int) -> Change:
    return lambda case: replace(case, head_dim=case.head_dim + k, value_head_dim=case.value_head_dim + v)


def _in_order(k: str, v: str | None) -> Change:
    """K and V in other axis orders; in one buffer if the order has a kv axis."""
    return lambda case: replace(case, k=Layout(FAMILIES[k]), v=None if v is None else Layout(FAMILIES[v]), layers=1, layer=0)


def _cross_layer(case: Case) -> Case:
    return replace(case, k=Layout(FAMILIES["cross-layer"]), v=None, layers=3, layer=1)


def _plain_numbers(case: Case) -> Case:
    return replace(case, data="gaussian", dtype="float32", seed=case.seed + 2)


def _padding(*pads: tuple[str, str, int]) -> Change:
    """Padding after several axes, a different one in each tensor."""

    def change(case: Case) -> Case:
        for name, axis, by in pads:
            case = _padded(name, axis, by)(case)
        return case

    return change


EVERYWHERE = _padding(
    *(("k", "block", 72), ("k", "slot", 24), ("k", "head", 8), ("k", "kv", 16)),
    *(("v", "block", 8), ("v", "slot", 88), ("v", "head", 56)),
    *(("q", "seq", 48), ("q", "head", 8), ("out", "seq", 24), ("out", "head", 40), ("table", "seq", 3)),
)


def _padded_everywhere(case: Case) -> Case:
    """A different stride on every axis, and blocks in no order."""
    return EVERYWHERE(_table(placement="permuted", first_block=1, spare_blocks=2, extra_columns=1)(case))


def _contiguous_around(case: Case) -> Case:
    query = Layout(QUERY_AXES)
    return replace(case, q=query, out=query, table=replace(case.table, layout=Layout(TABLE_AXES)))


def _other_scales(case: Case) -> Case:
    return case if case.cache_dtype is None else replace(case, k_scale=0.55, v_scale=2.3)


def _rich(case: Case) -> Case:
    """Several sequences and heads, larger blocks, more tokens."""
    return _more_sequences(_heads(1, 1)(_longer(3)(_larger_blocks(case))))


LAYOUTS: tuple[tuple[str, Change], ...] = (
    ("more than twice as long", _much_longer),
    *((f"with padding after K's {axis}s", _padded("k", axis, 24)) for axis in ("block", "slot", "head")),
    *((f"with padding after V's {axis}s", _padded("v", axis, 40)) for axis in ("block", "slot", "head")),
    ("with padding after K's and V's heads", _padding(("k", "head", 24), ("v", "head", 56))),
    ("with padding after K's and V's slots", _padding(("k", "slot", 24), ("v", "slot", 88))),
    ("with padding after K's and V's blocks", _padding(("k", "block", 72), ("v", "block", 8))),
    ("with padding between K and V", _padded("k", "kv", 48)),
    ("with padding between dims of K", _padded("k", "dim", 1)),
    ("with padding between dims of V", _padded("v", "dim", 2)),
    ("with padding between rows of the block table", _padded("table", "seq", 3)),
    ("with padding between columns of the block table", _padded("table", "column", 1)),
    *((f"with padding after q's {axis}s", _padded("q", axis, 24)) for axis in ("seq", "head", "dim")),
    *((f"with padding after out's {axis}s", _padded("out", axis, 40)) for axis in ("seq", "head", "dim")),
    ("with heads outermost in q", _with(q=Layout(("head", "seq", "dim")))),
    ("with heads outermost in out", _with(out=Layout(("head", "seq", "dim")))),
    ("with longer rows of V", _wider(0, 16)),
    ("with longer rows of K", _wider(16, 0)),
    ("with longer rows", _wider(24, 24)),
    ("with much longer rows", _wider(72, 72)),
    ("with K and V interleaved", _in_order("interleaved", None)),
    ("with K and V interleaved, heads outside", _in_order("interleaved HND", None)),
    ("with K and V side by side", _in_order("packed", None)),
    ("with heads outside in K", _in_order("HND", "NHD")),
    ("with heads outside in V", _in_order("NHD", "HND")),
    ("with heads outside in K and V", _in_order("HND", "HND")),
    ("with two more columns in the block table", _table(extra_columns=2)),
    ("in permuted blocks", _table(placement="permuted", first_block=2, spare_blocks=3)),
)
# groups rounded up to powers of two and to tiles of 16, and tiles that cross KV heads, differ in some of these; with two KV heads
# the last two are the same
GROUPS: tuple[tuple[str, Change], ...] = tuple(
    (f"with three KV heads and groups of {group} query heads", _with(num_kv_heads=3, group=group)) for group in (3, 18, 40, 48)
)
SINGLE: tuple[tuple[str, Change], ...] = (
    ("with gaussian data in float32", _plain_numbers),
    ("with more of everything", _rich),
    ("with more of everything and padding everywhere", lambda case: _padded_everywhere(_rich(case))),
    ("with more of everything and longer rows of K", lambda case: _wider(16, 0)(_rich(case))),
    ("with more of everything and longer rows of V", lambda case: _wider(0, 16)(_rich(case))),
    ("one token longer", _longer(1)),
    ("in larger blocks", _larger_blocks),
    ("a few blocks longer", lambda case: _longer(2 * case.block_size + 1)(case)),
    ("with one more KV head", _heads(1, 0)),
    ("with one more query head in a group", _heads(0, 1)),
    *GROUPS,
    ("with two more sequences", _more_sequences),
    ("with one token less", _longer(-1)),
    *LAYOUTS,
    ("with a contiguous cache", _in_order("NHD", "NHD")),
    ("with several layers in a block", _cross_layer),
    ("with another scale", _with(scale=0.37)),
    ("with another window", lambda case: replace(case, window=None if case.window is None else case.window + 2)),
    ("with one more query token", lambda case: replace(case, q_len=case.q_len + 1)),
    ("with sinks", _with(sinks=True)),
    ("with ALiBi", _with(alibi=True)),
    ("with a float8 cache", _with(cache_dtype="float8_e4m3fn", k_scale=0.7, v_scale=1.9)),
    ("with other scales of K and V", _other_scales),
    ("with a window", lambda case: replace(case, window=case.window or max(1, max(case.seq_lens) - 2))),
    ("with a softcap", lambda case: replace(case, softcap=case.softcap or 1.5)),
    ("with an empty sequence", lambda case: replace(case, seq_lens=(*case.seq_lens, 0))),
    ("with equal weights of all tokens", _with(data="uniform")),
    ("with tagged data", _with(data="tagged")),
    ("with table, q and out contiguous", _contiguous_around),
    ("much longer", _longer(70)),
)


def _combined() -> Iterator[tuple[str, Change]]:
    """Each variation of the layout on a larger problem: with one head or block, a wrong stride is often never multiplied."""
    yield from ((f"with more of everything, {words}", _after_rich(change)) for words, change in LAYOUTS)


def _after_rich(change: Change) -> Change:
    return lambda case: change(_rich(case))


def occupied(case: Case) -> Iterator[tuple[str, Case]]:
    """A case without tokens, with as many in each sequence as it has query tokens: in a table of its width, and in a wide one."""
    longer = _longer(case.q_len)(case)
    yield "with tokens", longer
    yield "with tokens in a wide block table", _table(extra_columns=-(-WIDE_TABLE // case.block_size))(longer)


def other_seed(case: Case, by: int = 1) -> Case:
    return replace(case, seed=case.seed + by)
