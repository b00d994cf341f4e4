"""Operations of Triton IR that compute blocks, each as instructions of the machine."""

from __future__ import annotations

import re
import struct

from fuzz_decode.triton_native import elementwise, memory, reductions, shapes
from fuzz_decode.triton_native.assemble import CONTROL, Scope, Translation
from fuzz_decode.triton_native.operations import Operation, Type
from fuzz_decode.triton_native.program import PROGRAM_IDS, SIZES, Value, packed, whole
from fuzz_decode.triton_native.unsupported import Unsupported


def constant(scope: Scope, operation: Operation) -> list[Value]:
    type, text = operation.types[0], operation.text.strip()
    if found := re.match(r"dense<(.*)>$", text):
        text = found[1]
    if text.startswith("["):
        numbers = [_element(type.dtype, part) for part in re.findall(r"[^\[\], ]+", text)]
        return [scope.program.constant(type.dtype, b"".join(numbers), type.count)]
    if text.startswith('"'):
        return [scope.program.constant(type.dtype, bytes.fromhex(text.strip('"').removeprefix("0x")), type.count)]
    value = scope.program.constant(type.dtype, _element(type.dtype, text))
    return [Value(value.buffer, type.dtype, type.count, uniform=True) if type.count > 1 else value]


def _element(dtype: str, text: str) -> bytes:
    if text in ("true", "false"):
        return bytes([text == "true"])
    if text.startswith("0x"):
        return int(text, 16).to_bytes(SIZES[dtype], "little")
    try:
        return packed(dtype, float(text) if "." in text or "e" in text else int(text))
    except (ValueError, OverflowError, struct.error):
        raise Unsupported(f"the constant {text} of type {dtype}") from None


def arithmetic(scope: Scope, operation: Operation) -> list[Value]:
    """arith.* and math.*"""
    program, name, type = scope.program, operation.name.split(".")[1], operation.types[0]
    values = scope.operands(operation)
    if name in ("cmpi", "cmpf"):
        return [elementwise.compare(program, f"{name}.{operation.text.split(',')[0].strip()}", *values[:2])]
    if name == "select":
        return [elementwise.select(program, *values[:3])]
    if name in ("extsi", "extui", "trunci"):
        return [elementwise.resize(program, name, values[0], type.dtype)]
    if name == "index_cast":
        wider = SIZES[type.dtype] > values[0].size
        return [elementwise.resize(program, "extsi" if wider else "trunci", values[0], type.dtype)]
    if name in ("extf", "truncf"):
        return [elementwise.convert(program, values[0], type.dtype)]
    if name in ("sitofp", "uitofp"):
        return [elementwise.integer_to_float(program, name, values[0], type.dtype)]
    if name in ("fptosi", "fptoui"):
        return [elementwise.float_to_integer(program, name, values[0], type.dtype)]
    if name == "bitcast":
        return [reinterpreted(values[0], type, operation)]
    return [elementwise.arithmetic(program, name, *values)]


def reinterpreted(value: Value, type: Type, operation: Operation) -> Value:
    if SIZES[type.dtype] != value.size:
        raise Unsupported(f"{operation.name} to a type of another size", operation.line)
    return Value(value.buffer, type.dtype, value.count, value.uniform, value.view, value.offset)


def bitcast(scope: Scope, operation: Operation) -> list[Value]:
    return [reinterpreted(scope.operands(operation)[0], operation.types[0], operation)]


def convert(scope: Scope, operation: Operation) -> list[Value]:
    rounding = "truncate" if "rounding = rtz" in operation.text else "convert"
    return [elementwise.convert(scope.program, scope.operands(operation)[0], operation.types[0].dtype, rounding)]


def clamp(scope: Scope, operation: Operation) -> list[Value]:
    name = "clampf_nan" if "propagateNan = all" in operation.text else "clampf"
    return [elementwise.arithmetic(scope.program, name, *scope.operands(operation))]


def _named(name: str) -> Translation:
    return lambda scope, operation: [elementwise.arithmetic(scope.program, name, *scope.operands(operation))]


SAME_NAME = (
    *(
        "exp",
        "exp2",
        "exp10",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "rsqrt",
        "cbrt",
        "erf",
        "erfc",
        "lgamma",
        "tgamma",
    ),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("pow", "atan2", "hypot", "fdim", "copysign", "floor", "ceil", "trunc", "rint", "round", "fma"),
)
OTHER_NAMES = (
    *("fabs absf", "fmod remf", "fmax maxnumf", "fmin minnumf", "nearbyint rint", "abs absi", "llabs absi"),
    *("fast_exp exp", "fast_exp10 exp10", "fast_log log", "fast_log2 log2", "fast_log10 log10", "fast_pow pow"),
    *("fast_sin sin", "fast_cos cos", "fast_tan tan", "fast_tanh tanh", "fast_fdivide divf", "fast_divide divf"),
    *("mulhi mulhisi", "umulhi mulhiui", "mul64hi mulhisi", "umul64hi mulhiui", "popc ctpop", "clz ctlz"),
)
ROUNDED_NAMES = ("div divf", "add addf", "mul mulf", "sub subf", "sqrt sqrt", "rcp rcp", "fma fma", "rsqrt rsqrt")
LIBDEVICE = {**dict(zip(SAME_NAME, SAME_NAME, strict=True)), **dict(pair.split() for pair in OTHER_NAMES)}
ROUNDED = dict(pair.split() for pair in ROUNDED_NAMES)


def library_function(scope: Scope, operation: Operation) -> list[Value]:
    """libdevice: `__nv_expf`, `__nv_exp`, `__nv_fast_expf`, `__nv_fdiv_rn`, ..."""
    found = re.search(r'symbol = "([^"]*)"', operation.text)
    symbol = (found[1] if found else "").removeprefix("__nv_").removeprefix("__ocml_")
    if rounded := re.fullmatch(r"[fd]?(\w+)_rn", symbol):
        name = ROUNDED.get(rounded[1])
    else:
        name = LIBDEVICE.get(symbol) or LIBDEVICE.get(re.sub(r"f$|_f32$|_f64$|ll$", "", symbol))
    if name is None:
        raise Unsupported(f"the library function {symbol or operation.text}", operation.line)
    return [elementwise.arithmetic(scope.program, name, *scope.operands(operation))]


def add_pointer(scope: Scope, operation: Operation) -> list[Value]:
    pointer, offset = scope.operands(operation)
    size = SIZES.get(operation.types[0].pointee)
    if size is None:
        raise Unsupported(f"pointers to {operation.types[0].pointee}", operation.line)
    return [elementwise.add_pointer(scope.program, pointer, offset, size)]


def program_id(scope: Scope, operation: Operation) -> list[Value]:
    axis = "xyz".index(operation.text.strip()[0])
    place = axis + 3 * (operation.name == "tt.get_num_programs")
    return [Value(PROGRAM_IDS, "i32", 1, offset=4 * place)]


def dot(scope: Scope, operation: Operation) -> list[Value]:
    program, type = scope.program, operation.types[0]
    a, b, c = scope.operands(operation)
    a, b = program.densely(a), program.densely(b)
    c = c if c.uniform else program.densely(c)
    *outer, rows, columns = type.shape or ()
    batch = 1
    for length in outer:
        batch *= length
    inner = a.count // (batch * rows)
    result = program.new(type.dtype, type.count)
    kind, factors = DOT_KINDS.get(type.dtype, ("dot.floats", DOT_FLOATS))
    if not {a.dtype, b.dtype} <= set(factors):
        raise Unsupported(f"tl.dot of {a.dtype} and {b.dtype}", operation.line)
    accumulator = DOT_FLOATS.index(c.dtype) if c.dtype in DOT_FLOATS else 0
    table = [batch, rows, inner, columns, DOT_TYPES.index(a.dtype), DOT_TYPES.index(b.dtype), accumulator]
    program.scratch = max(program.scratch, 4 * (rows * inner + inner * columns + rows * columns))
    program.emit(kind, result, whole(a), whole(b), whole(c), extra=(program.table(table),))
    return [result]


DOT_FLOATS = ("f16", "bf16", "f32", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ")
DOT_TYPES = (*DOT_FLOATS, "f64", "i8")  # as in blocks.h
DOT_KINDS = {"f64": ("dot.doubles", ("f64",)), "i32": ("dot.integers", ("i8",))}


def assertion(scope: Scope, operation: Operation) -> None:
    condition = scope.operands(operation)[0]
    message = re.search(r'"([^"]*)"', operation.text)
    scope.program.messages[len(scope.program.instructions)] = message[1] if message else ""
    condition = condition if condition.uniform else scope.program.densely(condition)
    scope.program.emit("assert", None, whole(condition), shape=(1, 1 if condition.uniform else condition.count))


def nothing(scope: Scope, operation: Operation) -> None:
    """tt.print"""


TRANSLATIONS: dict[str, Translation] = {
    **CONTROL,
    **memory.TRANSLATIONS,
    **reductions.TRANSLATIONS,
    **shapes.TRANSLATIONS,
    "arith.constant": constant,
    "arith": arithmetic,
    "math": arithmetic,
    "tt.bitcast": bitcast,
    "tt.int_to_ptr": bitcast,
    "tt.ptr_to_int": bitcast,
    "tt.fp_to_fp": convert,
    "tt.clampf": clamp,
    "tt.mulhiui": _named("mulhiui"),
    "tt.precise_sqrt": _named("sqrt"),
    "tt.precise_divf": _named("divf"),
    "tt.extern_elementwise": library_function,
    "tt.addptr": add_pointer,
    "tt.get_program_id": program_id,
    "tt.get_num_programs": program_id,
    "tt.dot": dot,
    "tt.assert": assertion,
    "tt.print": nothing,
}
