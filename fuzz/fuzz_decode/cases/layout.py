"""Where a tensor's axes lie in memory, as plain data: axis order, padding and offset give shape, strides and extent.

Every stride that a paged cache has in some engine is an axis order with some padding: K and V interleaved per block are one
buffer with a `kv` axis inside `block`, several layers per page are a `layer` axis, pages padded to a mamba state are padding
on `block`. `FAMILIES` names the orders that engines really use (sources: vLLM's KVCacheLayout and get_kv_cache_stride_order,
FlashInfer's kv_layout.rst, SGLang's token pool).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

CACHE_AXES = ("block", "slot", "head", "dim")
BUFFER_AXES = ("layer", "kv", *CACHE_AXES)
QUERY_AXES = ("seq", "head", "dim")
TABLE_AXES = ("seq", "column")

FAMILIES: dict[str, tuple[str, ...]] = {
    "NHD": ("block", "slot", "head", "dim"),
    "HND": ("block", "head", "slot", "dim"),
    "split": ("kv", "block", "slot", "head", "dim"),
    "split HND": ("kv", "block", "head", "slot", "dim"),
    "interleaved": ("block", "kv", "slot", "head", "dim"),
    "interleaved HND": ("block", "kv", "head", "slot", "dim"),
    "packed": ("block", "slot", "head", "kv", "dim"),
    "packed HND": ("block", "head", "slot", "kv", "dim"),
    "cross-layer": ("block", "layer", "kv", "slot", "head", "dim"),
    "cross-layer HND": ("block", "layer", "head", "slot", "kv", "dim"),
    "cross-layer head-major": ("block", "head", "layer", "slot", "kv", "dim"),
    "layer-major": ("layer", "kv", "block", "slot", "head", "dim"),
}
ALL_FAMILIES = (*FAMILIES, "permuted", "K and V differ", "MLA prefix")
_NAME_OF_ORDER = {order: name for name, order in FAMILIES.items()}


@dataclass(frozen=True, slots=True)
class Layout:
    """How one tensor lies in memory.

    An axis of size 1 adds nothing to the extent, so its padding changes its own stride only and may be negative (a head axis of
    size 1 may have any stride at all).
    """

    order: tuple[str, ...]
    """Axis names, outermost first."""
    pad: tuple[int, ...] = ()
    """Elements added to the stride of each axis of `order`; padding of the innermost axis makes its stride 1 + pad."""
    offset: int = 0
    """Storage offset in elements."""

    def __post_init__(self) -> None:
        if not self.pad:
            object.__setattr__(self, "pad", (0,) * len(self.order))

    def __repr__(self) -> str:
        """The call that makes it."""
        name = _NAME_OF_ORDER.get(self.order)
        order = f"FAMILIES[{name!r}]" if name else repr(self.order)
        pad, offset = f", pad={self.pad}" * self.padded, f", offset={self.offset}" * bool(self.offset)
        return f"Layout({order}{pad}{offset})"

    def __str__(self) -> str:
        dense = self.order in (QUERY_AXES, TABLE_AXES) and not self.padded
        name = "dense" if dense else _NAME_OF_ORDER.get(self.order, ">".join(self.order))
        pads = [f"{axis}+{pad}" for axis, pad in zip(self.order, self.pad, strict=True) if pad]
        offset = [f"offset {self.offset}"] if self.offset else []
        return ", ".join([name, *pads, *offset])

    @property
    def padded(self) -> bool:
        return any(self.pad)

    def strides(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Stride of each axis, in elements."""
        return self._walk(sizes)[0]

    def extent(self, sizes: Mapping[str, int]) -> int:
        """Elements from the start of the storage to the end of the last, padded step."""
        return self.offset + self._walk(sizes)[1]

    def _walk(self, sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
        """Strides, and the span of the outermost axis of more than one element."""
        strides: dict[str, int] = {}
        span = 1
        for axis, pad in zip(reversed(self.order), reversed(self.pad), strict=True):
            strides[axis] = span + pad
            if sizes[axis] != 1:
                span = strides[axis] * sizes[axis]
        return strides, span


class PlacedLayout(NamedTuple):
    """A layout and the sizes of its axes."""

    layout: Layout
    sizes: dict[str, int]

    @property
    def strides(self) -> dict[str, int]:
        """Stride of each axis, in elements."""
        return self.layout.strides(self.sizes)

    @property
    def extent(self) -> int:
        """Elements from the start of the storage to the end of the last, padded step."""
        return self.layout.extent(self.sizes)


def dense(axes: tuple[str, ...]) -> Layout:
    """The contiguous layout of these axes."""
    return Layout(axes)


def family(k: Layout, v: Layout | None) -> str:
    """Coarse name of a K/V arrangement, for coverage tables and ledgers: one of ALL_FAMILIES."""
    if v is None and "kv" not in k.order:
        return "MLA prefix"
    if v is not None and v.order != k.order:
        return "K and V differ"
    return _NAME_OF_ORDER.get(k.order, "permuted")
