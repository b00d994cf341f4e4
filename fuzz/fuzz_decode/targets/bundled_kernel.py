"""The declaration of the bundled kernel and of its mutants: where it rounds, and what it compiles for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable
from typing import NamedTuple

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import PlacedLayout
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.targets.target import Arithmetic
from fuzz_decode.triton_native.installed import is_native

VECTOR_BYTES = 16  # the widest load
WIDEST_BLOCK = 512  # dims; those of K beyond it make a block of their own
MANY_ROWS = 64  # query rows of a KV head, from which on a program takes 64 of them
ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes; 1 for the float8 dtypes
ARITHMETIC = Arithmetic(dots="float32", dequantised="float32", scaled_after_sum=True)


def arithmetic(case: Case) -> Arithmetic:
    """With float8 caches, q of bfloat16 becomes float16, and so does P."""
    weights = "float16" if case.cache_dtype and case.dtype == "bfloat16" else "input"
    on_cpu = os.environ.get("TRITON_INTERPRET") == "1" or is_native()
    same_bits = on_cpu or len({_loads(each, _views(each)) for each in (case, in_plain_layout(case))}) == 1
    return dataclasses.replace(ARITHMETIC, probabilities=weights, same_bits_anywhere=same_bits)


def compiles_for(case: Case) -> Hashable:
    """Plain values that are equal where the compiled kernels are: dtypes, padded dims, options that the kernel leaves out where
    they are not used, whether there are many query rows, whether rows are contiguous and loaded in vectors, and whether V is the
    front of K's rows. (No valid case spans so many elements that offsets are no longer counted in vectors.)"""
    beyond = _padded(case.head_dim - WIDEST_BLOCK) if case.head_dim > WIDEST_BLOCK else 0
    dims = _first_block(case), beyond, _padded(case.value_head_dim)
    options = case.alibi, bool(case.softcap), case.sinks
    views = _views(case)
    contiguous = all(view.strides["dim"] == 1 for view in views)
    many_rows = case.group * case.q_len >= MANY_ROWS
    return (case.dtype, case.cache_dtype, *dims, *options, many_rows, contiguous, *_loads(case, views))


def _loads(case: Case, views: tuple[_View, ...]) -> tuple[bool, bool]:
    """Whether rows are loaded in vectors, and V with K: the parts of a layout that decide the shape of programs on a GPU."""
    return _in_vectors(case, views), case.v_prefix_of_k and case.value_head_dim == _first_block(case)


def _first_block(case: Case) -> int:
    """The padded dims of K's rows that one block holds."""
    return _padded(min(case.head_dim, WIDEST_BLOCK))


def _in_vectors(case: Case, views: tuple[_View, ...]) -> bool:
    """Whether all rows of q, K and V are made of whole vectors."""
    cache, q = (VECTOR_BYTES // ITEMSIZE.get(dtype, 1) for dtype in (case.cache_dtype or case.dtype, case.dtype))
    return all(_made_of(size, view) for size, view in zip((q, cache, cache), views, strict=True))


def _padded(dims: int) -> int:
    """The next power of two, from 16 on."""
    return max(16, 1 << (dims - 1).bit_length())


class _View(NamedTuple):
    """q, K or V within its buffer: sizes and strides by axis, and the position of its first element."""

    sizes: dict[str, int]
    strides: dict[str, int]
    start: int


def _views(case: Case) -> tuple[_View, ...]:
    """Those of q, K and V."""
    layouts = case.layouts()
    return tuple(_view(case, layouts, name) for name in ("q", "k", "v"))


def _view(case: Case, layouts: dict[str, PlacedLayout], name: str) -> _View:
    placed = layouts.get(name, layouts["k"])
    strides = placed.strides
    start = placed.layout.offset + case.layer * strides.get("layer", 0)
    if name == "v" and "v" not in layouts:
        start += strides.get("kv", 0)
    row = case.value_head_dim if name == "v" else case.head_dim
    sizes = {axis: size for axis, size in placed.sizes.items() if axis not in ("layer", "kv")}
    return _View({**sizes, "dim": row}, strides, start)


def _made_of(vector: int, view: _View) -> bool:
    """Whether rows are contiguous, and begin and end at multiples of `vector` elements."""
    steps = [view.strides[axis] for axis, size in view.sizes.items() if axis != "dim" and size > 1]
    return view.strides["dim"] == 1 and not any(number % vector for number in (view.start, view.sizes["dim"], *steps))
