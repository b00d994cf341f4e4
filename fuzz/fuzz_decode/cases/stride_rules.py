"""Rules that a kernel has for its tensors' strides, as data: drawn cases keep them, and a case that violates one is rejected.

Most kernels take any stride on most axes, and their assumptions are nearly always among the four below (vLLM's kernels need a
contiguous head_dim, SGLang's token pool has one slot stride, FlashInfer needs K and V with the same strides and loads 16 bytes
at a time).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import CACHE_AXES, Layout, PlacedLayout

TENSORS = ("q", "k", "v", "out", "table")


@dataclass(frozen=True, slots=True)
class StrideRules:
    """What a kernel assumes; by default nothing."""

    contiguous: tuple[str, ...] = ()
    """Tensors, among TENSORS, whose innermost axis must have stride 1 (head_dim; columns of the block table)."""
    one_slot_stride: bool = False
    """The cache is a pool of token slots: the block stride must be block_size * slot stride."""
    v_like_k: bool = False
    """V must have K's strides."""
    multiple_of: int = 1
    """Elements: rows of q, K and V must start at multiples of this number (vector loads), so that their strides are multiples."""

    def violation(self, case: Case) -> str | None:
        """The first rule that the case's strides violate, in words; None if they keep all. An axis of size 1 is no exception:
        kernels assert `k.stride() == v.stride()`, and take stride(1) for the slot stride of blocks of one slot."""
        for name in self.contiguous:
            axis = "column" if name == "table" else "dim"
            if _placed(case, name).strides[axis] != 1:
                return f"stride of {name}'s {axis} is not 1"
        if self.one_slot_stride and not (_one_slot_stride(case, "k") and _one_slot_stride(case, "v")):
            return "block stride is not block_size * slot stride"
        if self.v_like_k and _view_strides(case, "k") != _view_strides(case, "v"):
            return "strides of V are not those of K"
        for name in ("q", "k", "v") if self.multiple_of > 1 else ():
            if not _is_aligned(_placed(case, name), self.multiple_of):
                return f"rows of {name} do not start at multiples of {self.multiple_of} elements"
        return None

    def nearest(self, case: Case) -> Case:
        """The nearest case that keeps the rules: only axis orders and padding differ."""
        if self.violation(case) is None:
            return case
        ordered = self._ordered(case)
        return self._aligned(_with_v_like_k(ordered) if self.v_like_k else ordered)

    def _ordered(self, case: Case) -> Case:
        """The case with axes in orders that keep the rules of each tensor alone."""
        one_buffer = case.v is None or self.v_like_k
        k = self._cache(case.k, case.block_size, *("k", "v") if one_buffer else "k")
        v = case.v and self._cache(case.v, case.block_size, "v")
        table = dataclasses.replace(case.table, layout=self._inner(case.table.layout, "column", "table"))
        q, out = self._inner(case.q, "dim", "q"), self._inner(case.out, "dim", "out")
        return dataclasses.replace(case, k=k, v=v, q=q, out=out, table=table)

    def _cache(self, layout: Layout, block_size: int, *names: str) -> Layout:
        layout = self._inner(layout, "dim", *names)
        return _adjacent(layout, block_size) if self.one_slot_stride else layout

    def _inner(self, layout: Layout, axis: str, *names: str) -> Layout:
        """The layout with the axis innermost and unpadded, if one of the tensors must be contiguous."""
        if not set(names) & set(self.contiguous):
            return layout
        return _reordered(layout, (*(name for name in layout.order if name != axis), axis), {axis: 0})

    def _aligned(self, case: Case) -> Case:
        placed = {name: each for name, each in case.layouts().items() if name in ("q", "k", "v")}
        changes = {name: _align(each, self.multiple_of) for name, each in placed.items()}
        return dataclasses.replace(case, **changes)  # type: ignore[arg-type]  # layouts only


def _placed(case: Case, name: str) -> PlacedLayout:
    """The layout of one of TENSORS; that of K's buffer for V within it."""
    layouts = case.layouts()
    return layouts["table.layout"] if name == "table" else layouts.get(name, layouts["k"])


def _view_strides(case: Case, name: str) -> tuple[int, ...]:
    """Strides of the K or V view."""
    strides = _placed(case, name).strides
    return tuple(strides[axis] for axis in CACHE_AXES)


def _one_slot_stride(case: Case, name: str) -> bool:
    strides = _placed(case, name).strides
    return strides["block"] == case.block_size * strides["slot"]


def _is_aligned(placed: PlacedLayout, multiple: int) -> bool:
    outer = [stride for axis, stride in placed.strides.items() if axis != "dim"]
    return all(number % multiple == 0 for number in (*outer, placed.layout.offset))


def _align(placed: PlacedLayout, multiple: int) -> Layout:
    """The layout with its offset, and every stride but that of a row's elements, rounded up to multiples."""
    layout, sizes = placed
    order, pads, offset = layout.order, list(layout.pad), _round_up(layout.offset, multiple)
    for index in reversed(range(len(order))):  # an outer stride is the sum of what lies inside it
        if order[index] != "dim":
            stride = Layout(order, tuple(pads)).strides(sizes)[order[index]]
            pads[index] += _round_up(stride, multiple) - stride
    return Layout(order, tuple(pads), offset)


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _adjacent(layout: Layout, block_size: int) -> Layout:
    """`block` just outside `slot`, without padding of its own: that of a block of one slot is the slot's."""
    order: tuple[str, ...] = ()
    for name in layout.order:
        order += {"block": (), "slot": ("block", "slot")}.get(name, (name,))
    slot_padding = max(0, layout.pad[layout.order.index("slot")])
    return _reordered(layout, order, {"block": slot_padding if block_size == 1 else 0})


def _reordered(layout: Layout, order: tuple[str, ...], changed: dict[str, int]) -> Layout:
    """The same padding in another order, but for that of some axes, and no negative padding, which fits its own order only."""
    pads = dict(zip(layout.order, layout.pad, strict=True)) | changed
    return Layout(order, tuple(max(0, pads[name]) for name in order), layout.offset)


def _with_v_like_k(case: Case) -> Case:
    """K and V with the same strides: equal layouts if their rows are equally long, else two planes of one buffer."""
    if case.v is None:
        return case
    if case.head_dim == case.value_head_dim:
        return dataclasses.replace(case, v=case.k)
    return dataclasses.replace(case, k=Layout(("kv", *case.k.order), (0, *case.k.pad), case.k.offset), v=None)


Strides = StrideRules  # the name under which targets declare them
