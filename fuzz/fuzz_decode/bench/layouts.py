"""The cache layouts of a bench as data, in terms of the fuzzer's layout families, and the case of a shape in each of them."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.bench.shapes import BenchShape
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A layout of the cache."""

    name: str
    about: str
    """One line for `bench --list`."""
    family: str = "NHD"
    """Axis order, a key of `FAMILIES`."""
    placement: str = "permuted"
    """Order of the block ids in the block table."""
    slots_between: int = 0
    """Padding after each block, in slots."""
    element_after_row: bool = False
    """Padding of one element after each row, so that rows begin at odd addresses."""

    def unsupported_reason(self, shape: BenchShape) -> str | None:
        """Why the shape cannot have this layout; None if it can."""
        return "V lies in K's rows" if shape.mla and "kv" in FAMILIES[self.family] else None

    def case(self, shape: BenchShape) -> Case:
        """The shape in this arrangement. `build_inputs` draws the block ids."""
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

    def _layout(self, shape: BenchShape, dim: int) -> Layout:
        order = FAMILIES[self.family]
        pads = dict.fromkeys(order, 0)
        pads["block"] = self.slots_between * shape.num_kv_heads * dim
        sizes = {"head": shape.num_kv_heads, "slot": shape.block_size}
        innermost = next((axis for axis in ("head", "slot") if sizes[axis] > 1), "block")  # one of size 1 adds no span
        pads[innermost] += int(self.element_after_row)
        return Layout(order, tuple(pads[axis] for axis in order))


LAYOUTS = {
    arrangement.name: arrangement
    for arrangement in (
        Arrangement("contiguous", "NHD, blocks in order", placement="identity"),
        Arrangement("permuted", "NHD, blocks in random order"),
        Arrangement("HND", "heads outside slots", family="HND"),
        Arrangement("interleaved", "K and V of a block side by side, as in aiter PR 3498", family="interleaved"),
        Arrangement("padded", "NHD, padding of one slot after each block; rows stay 16-byte aligned", slots_between=1),
        Arrangement("misaligned", "NHD, padding of one element after each row; no 16-byte loads", element_after_row=True),
    )
}
