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
    """Elements: rows of q, K and V must start at multiples of this number (vector loads)."""

    def violation(self, case: Case) -> str | None:
        """The first rule that the case's strides violate, in words; None if they keep all."""
        for name in self.contiguous:
            placed = _placed(case, name)
            axis = "column" if name == "table" else "dim"
            if placed.sizes[axis] > 1 and placed.strides[axis] != 1:
                return f"stride of {name}'s {axis} is not 1"
        if self.one_slot_stride and not (_one_slot_stride(case, "k") and _one_slot_stride(case, "v")):
            return "block stride is not block_size * slot stride"
        if self.v_like_k and _view_strides(case, "k") != _view_strides(case, "v"):
            return "strides of V are not those of K"
        for name in ("q", "k", "v") if self.multiple_of > 1 else ():
            if not _aligned(_placed(case, name), self.multiple_of):
                return f"rows of {name} do not start at multiples of {self.multiple_of} elements"
        return None

    def nearest(self, case: Case) -> Case:
        """The nearest case that keeps the rules: only axis orders and padding differ."""
        if self.violation(case) is None:
            return case
        shared = "v" if case.v is None else "k"
        k, v = self._cache(case.k, "k", shared), case.v and self._cache(case.v, "v")
        if self.v_like_k and v is not None:
            k, v = _alike(k, case.head_dim == case.value_head_dim)
        table = dataclasses.replace(case.table, layout=self._inner(case.table.layout, "column", "table"))
        q, out = self._align(self._inner(case.q, "dim", "q")), self._inner(case.out, "dim", "out")
        return dataclasses.replace(case, k=k, v=v, q=q, out=out, table=table)

    def _inner(self, layout: Layout, axis: str, *names: str) -> Layout:
        return _last(layout, axis) if set(names) & set(self.contiguous) else layout

    def _cache(self, layout: Layout, *names: str) -> Layout:
        layout = self._inner(layout, "dim", *names)
        return self._align(_adjacent(layout) if self.one_slot_stride else layout)

    def _align(self, layout: Layout) -> Layout:
        """The layout with its padding outside the rows, and its offset, rounded up to multiples."""
        *outer, inner = layout.pad
        up = [-(-number // self.multiple_of) * self.multiple_of for number in (*outer, layout.offset)]
        return Layout(layout.order, (*up[:-1], inner), up[-1])


def _placed(case: Case, name: str) -> PlacedLayout:
    """The layout of one of TENSORS; that of K's buffer for V within it."""
    layouts = case.layouts()
    return layouts["table.layout"] if name == "table" else layouts.get(name, layouts["k"])


def _view_strides(case: Case, name: str) -> tuple[int, ...]:
    """Strides of the K or V view; 0 for axes of size 1, which may have any."""
    placed = _placed(case, name)
    strides = placed.strides
    return tuple(strides[axis] if placed.sizes[axis] > 1 else 0 for axis in CACHE_AXES)


def _one_slot_stride(case: Case, name: str) -> bool:
    placed = _placed(case, name)
    sizes, strides = placed.sizes, placed.strides
    return sizes["block"] == 1 or sizes["slot"] == 1 or strides["block"] == sizes["slot"] * strides["slot"]


def _aligned(placed: PlacedLayout, multiple: int) -> bool:
    outer = [stride for axis, stride in placed.strides.items() if axis != "dim" and placed.sizes[axis] > 1]
    return all(number % multiple == 0 for number in (*outer, placed.layout.offset))


def _last(layout: Layout, axis: str) -> Layout:
    """The axis innermost and unpadded."""
    return _reordered(layout, (*(name for name in layout.order if name != axis), axis), axis)


def _adjacent(layout: Layout) -> Layout:
    """`block` just outside `slot`, without padding of its own."""
    order: tuple[str, ...] = ()
    for name in layout.order:
        order += {"block": (), "slot": ("block", "slot")}.get(name, (name,))
    return _reordered(layout, order, "block")


def _reordered(layout: Layout, order: tuple[str, ...], bare: str) -> Layout:
    """The same padding in another order, but none on axis `bare`, and no negative padding, which fits its own axis order only."""
    pads = dict(zip(layout.order, layout.pad, strict=True)) | {bare: 0}
    return Layout(order, tuple(max(0, pads[name]) for name in order), layout.offset)


def _alike(k: Layout, same_rows: bool) -> tuple[Layout, Layout | None]:
    """K and V with the same strides: equal layouts if their rows are equally long, else two planes of one buffer."""
    return (k, k) if same_rows else (Layout(("kv", *k.order), (0, *k.pad), k.offset), None)


Strides = StrideRules  # the name under which targets declare them
