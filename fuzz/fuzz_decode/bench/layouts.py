"""Where the caches of a bench lie: arrangements of pages in the fuzzer's own vocabulary, as data, and the case that each makes of
a shape."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.bench.shapes import Shape
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout


@dataclass(frozen=True, slots=True)
class Arrangement:
    """An axis order of `FAMILIES` with padding: `slots_between` blocks, and `element_after_row` puts rows at odd addresses."""

    name: str
    about: str
    family: str = "NHD"
    placement: str = "permuted"
    slots_between: int = 0
    element_after_row: bool = False

    def why_not(self, shape: Shape) -> str | None:
        """Why the shape cannot lie like this; None if it can."""
        return "V lies in K's rows" if shape.mla and "kv" in FAMILIES[self.family] else None

    def case(self, shape: Shape) -> Case:
        """The shape in this arrangement. Its block ids are drawn where it is built."""
        k = self._layout(shape, shape.head_dim)
        one_buffer = shape.mla or "kv" in k.order
        scale = None if shape.cache_dtype is None else 1.0
        return Case(
            seq_lens=shape.seq_lens,
            num_kv_heads=shape.num_kv_heads,
            group=shape.num_q_heads // shape.num_kv_heads,
            head_dim=shape.head_dim,
            value_head_dim=shape.value_head_dim,
            block_size=shape.block_size,
            dtype=shape.dtype,
            k=k,
            v=None if one_buffer else self._layout(shape, shape.value_head_dim),
            table=BlockTable(placement=self.placement),
            window=shape.window,
            q_len=shape.q_len,
            cache_dtype=shape.cache_dtype,
            k_scale=scale,
            v_scale=scale,
        )

    def _layout(self, shape: Shape, dim: int) -> Layout:
        order = FAMILIES[self.family]
        pads = dict.fromkeys(order, 0)
        pads["block"] = self.slots_between * shape.num_kv_heads * dim
        sizes = {"head": shape.num_kv_heads, "slot": shape.block_size}
        innermost = next((axis for axis in ("head", "slot") if sizes[axis] > 1), "block")  # an axis of size 1 takes no room
        pads[innermost] += int(self.element_after_row)
        return Layout(order, tuple(pads[axis] for axis in order))


LAYOUTS = {
    arrangement.name: arrangement
    for arrangement in (
        Arrangement("contiguous", "NHD, blocks in order", placement="identity"),
        Arrangement("permuted", "NHD, blocks in random order"),
        Arrangement("HND", "heads outside slots", family="HND"),
        Arrangement("interleaved", "K and V of a block side by side, as in aiter PR 3498", family="interleaved"),
        Arrangement("padded", "NHD, a slot of room after each block; rows stay 16-byte aligned", slots_between=1),
        Arrangement("misaligned", "NHD, an element of room after each row; no 16-byte loads", element_after_row=True),
    )
}
