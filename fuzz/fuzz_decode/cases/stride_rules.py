"""What a kernel asks of its tensors' strides, as data: the generator keeps to it, and a case that breaks it is rejected.

Most kernels take any stride on most axes; what they assume is nearly always one of the four things below (vLLM's take head_dim
contiguous, SGLang's token pool has one slot stride, FlashInfer wants K and V strided alike and loads 16 bytes at a time).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import Layout

TENSORS = ("q", "k", "v", "out", "table")


@dataclass(frozen=True, slots=True)
class StrideRules:
    """`contiguous`: tensors among TENSORS whose innermost axis must have stride 1 (head_dim; columns of the block table).
    `one_slot_stride`: the cache is a pool of token slots, so the block stride must be block_size * slot stride.
    `v_like_k`: V must have K's strides.
    `multiple_of`: rows of q, K and V must start at multiples of so many elements (vector loads)."""

    contiguous: tuple[str, ...] = ()
    one_slot_stride: bool = False
    v_like_k: bool = False
    multiple_of: int = 1

    def why_not(self, case: Case) -> str | None:
        """What about the case's strides is not allowed; None if nothing."""
        for name in self.contiguous:
            layout, sizes = _layout_of(case, name)
            axis = "column" if name == "table" else "dim"
            if sizes[axis] > 1 and layout.strides(sizes)[axis] != 1:
                return f"stride of {name}'s {axis} is not 1"
        if self.one_slot_stride and not (_one_slot_stride(case, "k") and _one_slot_stride(case, "v")):
            return "block stride is not block_size * slot stride"
        if self.v_like_k and _view_strides(case, "k") != _view_strides(case, "v"):
            return "strides of V are not those of K"
        for name in ("q", "k", "v"):
            if not _aligned(*_layout_of(case, name), self.multiple_of):
                return f"rows of {name} do not start at multiples of {self.multiple_of} elements"
        return None

    def nearest(self, case: Case) -> Case:
        """The nearest case that they allow: the same but for axis orders and padding."""
        if self.why_not(case) is None:
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
        """Padding outside the rows, and the offset, rounded up."""
        *outer, inner = layout.pad
        up = [-(-number // self.multiple_of) * self.multiple_of for number in (*outer, layout.offset)]
        return Layout(layout.order, (*up[:-1], inner), up[-1])


def _layout_of(case: Case, name: str) -> tuple[Layout, dict[str, int]]:
    layouts = case.layouts()
    return layouts["table.layout"] if name == "table" else layouts.get(name, layouts["k"])


def _view_strides(case: Case, name: str) -> tuple[int, ...]:
    """Strides of the K or V view, of axes larger than 1 only."""
    layout, sizes = _layout_of(case, name)
    strides = layout.strides(sizes)
    return tuple(strides[axis] if sizes[axis] > 1 else 0 for axis in ("block", "slot", "head", "dim"))


def _one_slot_stride(case: Case, name: str) -> bool:
    layout, sizes = _layout_of(case, name)
    strides = layout.strides(sizes)
    return sizes["block"] == 1 or sizes["slot"] == 1 or strides["block"] == sizes["slot"] * strides["slot"]


def _aligned(layout: Layout, sizes: dict[str, int], multiple: int) -> bool:
    strides = layout.strides(sizes)
    outer = [stride for axis, stride in strides.items() if axis != "dim" and sizes[axis] > 1]
    return all(number % multiple == 0 for number in (*outer, layout.offset))


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
    """The same padding in another order, but none on one axis; what made a stride smaller no longer fits."""
    pads = dict(zip(layout.order, layout.pad, strict=True)) | {bare: 0}
    return Layout(order, tuple(max(0, pads[name]) for name in order), layout.offset)


def _alike(k: Layout, same_rows: bool) -> tuple[Layout, Layout | None]:
    """K and V with the same strides: equal layouts if their rows are equally long, else two planes of one buffer."""
    return (k, k) if same_rows else (Layout(("kv", *k.order), (0, *k.pad), k.offset), None)


Strides = StrideRules  # the name under which targets declare them
