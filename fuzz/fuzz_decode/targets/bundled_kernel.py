"""What the bundled kernel, and each of its mutants, declares: what it rounds, and what it compiles for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Hashable, Mapping

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.targets.target import Arithmetic

VECTOR_BYTES = 16  # of the widest load
WIDEST_BLOCK = 512  # dims; those of K beyond it make a block of their own
MANY_ROWS = 64  # query rows of a KV head from which on a program takes as many
ITEMSIZE = {"float32": 4, "float16": 2, "bfloat16": 2}  # else 1: float8
ARITHMETIC = Arithmetic(dots="float32", dequantised="float32", scaled_after_sum=True)


def arithmetic(case: Case) -> Arithmetic:
    """Beside float8, q of bfloat16 becomes float16, and so does P."""
    weights = "float16" if case.cache_dtype and case.dtype == "bfloat16" else "input"
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    same_bits = interpreted or _loads(case) == _loads(in_plain_layout(case))
    return dataclasses.replace(ARITHMETIC, probabilities=weights, same_bits_anywhere=same_bits)


def compiles_for(case: Case) -> Hashable:
    """dtypes, padded dims, options that are left out where they are not used, whether there are many query rows, whether rows are
    contiguous, and loaded in vectors, whether V is the front of K's rows: plain values, equal where kernels are. (No case spans
    so much that offsets are not counted in vectors then.)"""
    beyond = _padded(case.head_dim - WIDEST_BLOCK) if case.head_dim > WIDEST_BLOCK else 0
    dims = _first_block(case), beyond, _padded(case.value_head_dim)
    options = case.alibi, bool(case.softcap), case.sinks
    contiguous = all(_view(case, name)[1]["dim"] == 1 for name in ("q", "k", "v"))
    many_rows = case.group * case.q_len >= MANY_ROWS
    return (case.dtype, case.cache_dtype, *dims, *options, many_rows, contiguous, *_loads(case))


def _loads(case: Case) -> tuple[bool, bool]:
    """Whether rows are loaded in vectors, and V with K: what of a layout programs on a GPU have their shape from."""
    return _in_vectors(case), case.v_prefix_of_k and case.value_head_dim == _first_block(case)


def _first_block(case: Case) -> int:
    """The padded dims of K's rows that one block holds."""
    return _padded(min(case.head_dim, WIDEST_BLOCK))


def _in_vectors(case: Case) -> bool:
    """Whether all rows of q, K and V are made of whole vectors."""
    cache, q = (VECTOR_BYTES // ITEMSIZE.get(dtype, 1) for dtype in (case.cache_dtype or case.dtype, case.dtype))
    return all(_made_of(size, *_view(case, name)) for name, size in (("q", q), ("k", cache), ("v", cache)))


def _padded(dims: int) -> int:
    """The next power of two, from 16 on."""
    return max(16, 1 << (dims - 1).bit_length())


def _view(case: Case, name: str) -> tuple[dict[str, int], dict[str, int], int]:
    """Sizes and strides of the axes of q, K or V, and where its first element lies."""
    layouts = case.layouts()
    layout, sizes = layouts.get(name, layouts["k"])
    strides = layout.strides(sizes)
    start = layout.offset + case.layer * strides.get("layer", 0)
    if name == "v" and "v" not in layouts:
        start += strides.get("kv", 0)
    row = case.value_head_dim if name == "v" else case.head_dim
    inner = {axis: size for axis, size in sizes.items() if axis not in ("layer", "kv")}
    return {**inner, "dim": row}, strides, start


def _made_of(vector: int, sizes: Mapping[str, int], strides: Mapping[str, int], start: int) -> bool:
    """Whether rows are contiguous, and begin and end at multiples of `vector` elements."""
    steps = [strides[axis] for axis, size in sizes.items() if axis != "dim" and size > 1]
    return strides["dim"] == 1 and not any(number % vector for number in (start, sizes["dim"], *steps))
