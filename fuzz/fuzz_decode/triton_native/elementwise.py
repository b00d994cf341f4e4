"""Elementwise operations of Triton IR as instructions of the machine."""

from __future__ import annotations

from dataclasses import replace

from fuzz_decode.triton_native.program import SIZES, Operand, Program, Value, View, packed, whole
from fuzz_decode.triton_native.unsupported import Unsupported

NARROW = ("f16", "bf16", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ")
NONE_DECIDES, ZERO_DECIDES, ONES_DECIDE, ONE_DECIDES, FLOAT_ZERO_DECIDES = range(5)  # as in machine.h


def apply(program: Program, name: str, dtype: str, *values: Value, extra: tuple[int, ...] = ()) -> Value:
    """One instruction on values of the same count, or uniform ones; its result has this dtype."""
    spread = [value for value in values if not value.uniform and value.count > 1]
    if not spread:
        result = program.new(dtype, 1)
        program.emit(name, result, *map(whole, values), extra=extra)
        count = max(value.count for value in values)
        return result if count == 1 else Value(result.buffer, dtype, count, uniform=True)
    views = {value.view for value in spread}
    if len(views) == 1:
        return _within(program, name, dtype, values, spread[0], extra)
    grid = next(view for view in views if view)
    operands = [_seen(program, value, grid) for value in values]
    result = program.new(dtype, spread[0].count)
    program.emit(name, result, *operands, shape=(grid.rows, grid.columns), extra=extra)
    return result


def _within(program: Program, name: str, dtype: str, values: tuple[Value, ...], like: Value, extra: tuple[int, ...]) -> Value:
    """All operands are seen in the same way, so that what is stored of them is computed and seen in that way."""
    stored = program.new(dtype, like.stored)
    operands = [
        Operand(value.buffer, value.offset, 0, int(not value.uniform and value.count > 1), value.size) for value in values
    ]
    program.emit(name, stored, *operands, shape=(1, like.stored), extra=extra)
    return Value(stored.buffer, dtype, like.count, view=like.view)


def _seen(program: Program, value: Value, grid: View) -> Operand:
    """An operand of an instruction that runs over the rows and columns of `grid`."""
    if value.uniform or value.count == 1:
        return Operand(value.buffer, value.offset, 0, 0, value.size)
    if value.view and (value.view.rows, value.view.columns) == (grid.rows, grid.columns):
        return Operand(value.buffer, value.offset, value.view.row, value.view.column, value.size)
    value = program.densely(value)
    return Operand(value.buffer, value.offset, grid.columns, 1, value.size)


def convert(program: Program, value: Value, dtype: str, rounding: str = "convert") -> Value:
    """A float in another format; `rounding` is "convert" (to nearest even) or "truncate" (toward zero)."""
    if value.dtype == dtype:
        return value
    if value.dtype in NARROW:
        value = apply(program, f"convert.{value.dtype}.f32", "f32", value)
    elif value.dtype == "f64" and dtype in NARROW:
        value = apply(program, "odd.f64.f32", "f32", value)
    return value if value.dtype == dtype else apply(program, f"{rounding}.{value.dtype}.{dtype}", dtype, value)


def arithmetic(program: Program, name: str, *values: Value) -> Value:
    """Operands and result have the same type."""
    dtype = values[0].dtype
    if dtype in NARROW:
        return convert(program, arithmetic(program, name, *(convert(program, value, "f32") for value in values)), dtype)
    return apply(program, f"{name}.{_scalar(dtype)}", dtype, *values, extra=(_decides(name, dtype),))


def _scalar(dtype: str) -> str:
    return "i64" if dtype == "pointer" else dtype


def _decides(name: str, dtype: str) -> int:
    """Which operand, if it is defined, makes the result defined whatever the other is."""
    if name in ("andi", "muli"):
        return ZERO_DECIDES
    if name in ("mulf", "fma"):
        return FLOAT_ZERO_DECIDES
    return NONE_DECIDES if name != "ori" else ONE_DECIDES if dtype == "i1" else ONES_DECIDE


def compare(program: Program, name: str, a: Value, b: Value) -> Value:
    """`name`: cmpi.slt, cmpf.olt, ..."""
    if a.dtype in NARROW:
        a, b = convert(program, a, "f32"), convert(program, b, "f32")
    return apply(program, f"{name}.{_scalar(a.dtype)}", "i1", a, b)


def select(program: Program, condition: Value, a: Value, b: Value) -> Value:
    return apply(program, f"select.i{8 * a.size}", a.dtype, condition, a, b)


def integer_to_float(program: Program, name: str, value: Value, dtype: str) -> Value:
    """`name`: sitofp, uitofp"""
    wide = "f64" if dtype in NARROW else dtype
    return convert(program, apply(program, f"{name}.{value.dtype}.{wide}", wide, value), dtype)


def float_to_integer(program: Program, name: str, value: Value, dtype: str) -> Value:
    """`name`: fptosi, fptoui"""
    wide = convert(program, value, "f32") if value.dtype in NARROW else value
    return apply(program, f"{name}.{wide.dtype}.{dtype}", dtype, wide)


def resize(program: Program, name: str, value: Value, dtype: str) -> Value:
    """`name`: extsi, extui, trunci"""
    return value if value.dtype == dtype else apply(program, f"{name}.{value.dtype}.{dtype}", dtype, value)


def reinterpret(program: Program, value: Value, dtype: str) -> Value:
    """The same bits as another type."""
    if SIZES[dtype] != value.size:
        raise Unsupported(f"a bitcast from {value.dtype} to {dtype}, which has another size", program.line)
    return replace(value, dtype=dtype)


def add_pointer(program: Program, pointer: Value, offset: Value, size: int) -> Value:
    """The pointer moved by `offset` elements of `size` bytes."""
    if offset.dtype not in ("i32", "i64"):
        offset = resize(program, "extsi", offset, "i32")
    return apply(program, f"addptr.{offset.dtype}", "pointer", pointer, offset, extra=(NONE_DECIDES, size))


def number(program: Program, dtype: str, value: float) -> Value:
    return program.constant(dtype, packed(dtype, value))
