"""tl.dot and tl.dot_scaled as instructions of the machine."""

from __future__ import annotations

import math
import re

from fuzz_decode.triton_native import elementwise
from fuzz_decode.triton_native.assemble import Scope, Translation
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import Program, Value, packed, whole
from fuzz_decode.triton_native.unsupported import Unsupported

DOT_FLOATS = ("f16", "bf16", "f32", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ")
DOT_TYPES = (*DOT_FLOATS, "f64", "i8")  # as in blocks.h
DOT_KINDS = {"f64": ("dot.doubles", ("f64",)), "i32": ("dot.integers", ("i8",))}
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # without the sign, which is bit 3
FORMATS = {"e4m3": "f8E4M3FN", "e5m2": "f8E5M2"}


def dot(scope: Scope, operation: Operation) -> list[Value]:
    program, type = scope.program, operation.types[0]
    a, b, c = scope.operands(operation)
    kind, factors = DOT_KINDS.get(type.dtype, ("dot.floats", DOT_FLOATS))
    if not {a.dtype, b.dtype} <= set(factors):
        raise Unsupported(f"tl.dot of {a.dtype} and {b.dtype}", operation.line)
    return [_product(program, kind, type.shape or (), type.dtype, a, b, c)]


def _product(program: Program, kind: str, shape: tuple[int, ...], dtype: str, a: Value, b: Value, c: Value) -> Value:
    a, b = program.densely(a), program.densely(b)
    c = c if c.uniform else program.densely(c)
    *outer, rows, columns = shape
    batch = math.prod(outer)
    inner = a.count // (batch * rows)
    accumulator = DOT_FLOATS.index(c.dtype) if c.dtype in DOT_FLOATS else 0
    table = [batch, rows, inner, columns, DOT_TYPES.index(a.dtype), DOT_TYPES.index(b.dtype), accumulator]
    program.scratch = max(program.scratch, 4 * (rows * inner + inner * columns + rows * columns))
    result = program.new(dtype, math.prod(shape))
    program.emit(kind, result, whole(a), whole(b), whole(c), extra=(program.table(table),))
    return result


def dot_scaled(scope: Scope, operation: Operation) -> list[Value]:
    """Operands are multiplied by their scales in float32; `a scale s, b scale t, c lhs = e4m3 rhs = e2m1 {...}`."""
    program, type, text = scope.program, operation.types[0], operation.text
    if "k_pack = false" in text:
        raise Unsupported("tl.dot_scaled of operands that are packed along M or N", operation.line)
    values = iter(scope.operands(operation))
    given = [part.count("scale") for part in text.split(",")[:2]]
    (a, a_scale), (b, b_scale) = ((next(values), next(values) if scaled else None) for scaled in given)
    accumulator = next(values)
    formats = dict(re.findall(r"(lhs|rhs) = (\w+)", text))
    *outer, rows, columns = type.shape or ()
    batch = math.prod(outer)
    left = _widened(program, a, formats["lhs"])
    inner = left.count // (batch * rows)
    left = _scaled(program, left, a_scale, (batch * rows, inner))
    right = _turned(program, b, batch, b.count // (batch * columns), columns)
    right = _scaled(program, _widened(program, right, formats["rhs"]), b_scale, (batch * columns, inner))
    right = _turned(program, right, batch, columns, inner)
    return [_product(program, "dot.floats", type.shape or (), type.dtype, left, right, accumulator)]


def _turned(program: Program, value: Value, batch: int, rows: int, columns: int) -> Value:
    """[batch, rows, columns] as [batch, columns, rows]."""
    return program.strided(program.densely(value), [batch, columns, rows], [rows * columns, 1, columns])


def _widened(program: Program, value: Value, format: str) -> Value:
    """An operand in float32; two of e2m1 are in a byte, the first in its lower half."""
    if format != "e2m1":
        value = elementwise.reinterpret(program, value, FORMATS[format]) if format in FORMATS else value
        return program.densely(elementwise.convert(program, value, "f32"))
    value = program.densely(value)
    low = elementwise.arithmetic(program, "andi", value, elementwise.number(program, "i8", 15))
    high = elementwise.arithmetic(program, "shrui", value, elementwise.number(program, "i8", 4))
    result = program.new("f32", 2 * value.count)
    program.emit("interleave", result, whole(_looked_up(program, low)), whole(_looked_up(program, high)))
    return result


def _looked_up(program: Program, codes: Value) -> Value:
    numbers = b"".join(packed("f32", sign * number) for sign in (1.0, -1.0) for number in E2M1)
    result = program.new("f32", codes.count)
    program.emit("gather", result, whole(program.constant("f32", numbers, 16)), whole(codes), extra=(16, codes.count, 1))
    return result


def _scaled(program: Program, value: Value, scale: Value | None, shape: tuple[int, int]) -> Value:
    """[rows, columns] times scales of [rows, columns / group]."""
    if scale is None:
        return value
    rows, columns = shape
    factors = program.densely(_power(program, scale) if scale.dtype == "i8" else elementwise.convert(program, scale, "f32"))
    groups = scale.count // rows
    spread = program.strided(factors, [rows, groups, columns // groups], [groups, 1, 0])
    return elementwise.arithmetic(program, "mulf", value, spread)


def _power(program: Program, scale: Value) -> Value:
    """e8m0: 2 ** (scale - 127); 255 is NaN."""
    code = elementwise.resize(program, "extui", scale, "i32")
    exponent = elementwise.arithmetic(program, "subi", code, elementwise.number(program, "i32", 127))
    power = elementwise.arithmetic(program, "exp2", elementwise.integer_to_float(program, "sitofp", exponent, "f32"))
    is_nan = elementwise.compare(program, "cmpi.eq", code, elementwise.number(program, "i32", 255))
    return elementwise.select(program, is_nan, elementwise.number(program, "f32", math.nan), power)


TRANSLATIONS: dict[str, Translation] = {"tt.dot": dot, "tt.dot_scaled": dot_scaled}
