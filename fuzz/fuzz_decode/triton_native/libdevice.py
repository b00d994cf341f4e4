"""Functions of libdevice: `__nv_expf`, `__nv_exp`, `__nv_fast_expf`, `__nv_fdiv_rn`, `__nv_float2int_rz`, ..."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial, reduce

from fuzz_decode.triton_native import elementwise
from fuzz_decode.triton_native.assemble import Scope
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import Program, Value
from fuzz_decode.triton_native.unsupported import Unsupported

SAME_NAMES = (
    "exp exp2 exp10 expm1 log log2 log10 log1p logb sqrt rsqrt cbrt erf erfc lgamma tgamma",
    "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh",
    "pow atan2 hypot fdim copysign nextafter remainder floor ceil trunc rint round fma",
)
OTHER_NAMES = (
    *("fabs absf", "fmod remf", "fmax maxnumf", "fmin minnumf", "nearbyint rint", "abs absi", "llabs absi"),
    *("fast_exp exp", "fast_exp10 exp10", "fast_log log", "fast_log2 log2", "fast_log10 log10", "fast_pow pow"),
    *("fast_sin sin", "fast_cos cos", "fast_tan tan", "fast_tanh tanh", "fast_fdivide divf", "fast_divide divf"),
    *("mulhi mulhisi", "umulhi mulhiui", "mul64hi mulhisi", "umul64hi mulhiui", "popc ctpop", "clz ctlz"),
)
ROUNDED_NAMES = ("div divf", "add addf", "mul mulf", "sub subf", "sqrt sqrt", "rcp rcp", "fma fma", "rsqrt rsqrt")
NAMES = {**{name: name for names in SAME_NAMES for name in names.split()}, **dict(pair.split() for pair in OTHER_NAMES)}
ROUNDED = dict(pair.split() for pair in ROUNDED_NAMES)
ROUNDINGS = {"rn": "rint", "rz": "trunc", "rd": "floor", "ru": "ceil"}
CONVERSION = re.compile(r"(float|double|int|uint|ll|ull)2(float|double|int|uint|ll|ull)_(rn|rz|rd|ru)")
REINTERPRETATION = re.compile(r"(?:float|double|int|uint|longlong)_as_(?:float|double|int|uint|longlong)")
Function = Callable[[Program, list[Value], str], Value]  # of the operands and the result's type


def library_function(scope: Scope, operation: Operation) -> list[Value]:
    found = re.search(r'symbol = "([^"]*)"', operation.text)
    symbol = (found[1] if found else "").removeprefix("__nv_").removeprefix("__ocml_")
    function = _function(symbol)
    if function is None:
        raise Unsupported(f"the library function {symbol or operation.text}", operation.line)
    return [function(scope.program, scope.operands(operation), operation.types[0].dtype)]


def _function(symbol: str) -> Function | None:
    if conversion := CONVERSION.fullmatch(symbol):
        return _conversion(*conversion.groups())
    if REINTERPRETATION.fullmatch(symbol):
        return lambda program, values, dtype: elementwise.reinterpret(program, values[0], dtype)
    if symbol.endswith("_rn"):
        name = symbol.removesuffix("_rn")
        return _named(next((ROUNDED[each] for each in (name, name[1:], name.removesuffix("f")) if each in ROUNDED), None))
    plain = re.sub(r"_f32$|_f64$|ll$", "", symbol)
    for name in (symbol, plain, plain.removesuffix("f"), plain.removesuffix("d")):
        if function := COMPOSED.get(name) or _named(NAMES.get(name)):
            return function
    return None


def _named(name: str | None) -> Function | None:
    return None if name is None else lambda program, values, dtype: elementwise.arithmetic(program, name, *values)


def _conversion(source: str, target: str, rounding: str) -> Function | None:
    floats = ("float", "double")
    if source in floats and target not in floats:
        return partial(_to_integer, "fptoui" if target.startswith("u") else "fptosi", ROUNDINGS[rounding])
    if rounding != "rn" and (source, target) not in (("int", "double"), ("uint", "double")):  # these are exact
        return None
    if source in floats:
        return lambda program, values, dtype: elementwise.convert(program, values[0], dtype)
    name = "uitofp" if source.startswith("u") else "sitofp"
    return lambda program, values, dtype: elementwise.integer_to_float(program, name, values[0], dtype)


def _to_integer(name: str, rounding: str, program: Program, values: list[Value], dtype: str) -> Value:
    whole = elementwise.arithmetic(program, rounding, values[0])
    return elementwise.float_to_integer(program, name, whole, dtype)


def _number(program: Program, like: Value, number: float) -> Value:
    return elementwise.number(program, like.dtype, number)


def _truth(program: Program, relation: str, a: Value, b: Value, dtype: str) -> Value:
    return elementwise.resize(program, "extui", elementwise.compare(program, relation, a, b), dtype)


def _is_nan(program: Program, values: list[Value], dtype: str) -> Value:
    return _truth(program, "cmpf.uno", values[0], values[0], dtype)


def _is_infinite(relation: str, program: Program, values: list[Value], dtype: str) -> Value:
    size = elementwise.arithmetic(program, "absf", values[0])
    return _truth(program, relation, size, _number(program, size, math.inf), dtype)


def _sign(program: Program, values: list[Value], dtype: str) -> Value:
    bits = elementwise.reinterpret(program, values[0], f"i{8 * values[0].size}")
    return _truth(program, "cmpi.slt", bits, _number(program, bits, 0), dtype)


def _saturated(program: Program, values: list[Value], dtype: str) -> Value:
    zero, one = (_number(program, values[0], number) for number in (0.0, 1.0))
    return elementwise.arithmetic(program, "clampf", values[0], zero, one)


def _scaled(program: Program, values: list[Value], dtype: str) -> Value:
    """a * 2**b, rounded once; float64 has room for every float32."""
    a = elementwise.convert(program, values[0], "f64")
    power = elementwise.arithmetic(program, "exp2", elementwise.integer_to_float(program, "sitofp", values[1], "f64"))
    return elementwise.convert(program, elementwise.arithmetic(program, "mulf", a, power), dtype)


def _inverse(name: str, program: Program, values: list[Value], dtype: str) -> Value:
    return elementwise.arithmetic(program, "rcp", elementwise.arithmetic(program, name, *values))


def _norm(program: Program, values: list[Value], dtype: str) -> Value:
    squares = [elementwise.arithmetic(program, "mulf", value, value) for value in values]
    return elementwise.arithmetic(program, "sqrt", reduce(partial(elementwise.arithmetic, program, "addf"), squares))


def _inverse_norm(program: Program, values: list[Value], dtype: str) -> Value:
    return elementwise.arithmetic(program, "rcp", _norm(program, values, dtype))


def _normal_distribution(program: Program, values: list[Value], dtype: str) -> Value:
    a = elementwise.convert(program, values[0], "f64")
    tail = elementwise.arithmetic(program, "erfc", elementwise.arithmetic(program, "mulf", a, _number(program, a, -(0.5**0.5))))
    return elementwise.convert(program, elementwise.arithmetic(program, "mulf", tail, _number(program, a, 0.5)), dtype)


def _average(name: str, rounding: int, program: Program, values: list[Value], dtype: str) -> Value:
    """(a + b + rounding) / 2 without overflow; `name`: extsi, extui."""
    a, b = (elementwise.resize(program, name, value, "i64") for value in values)
    total = reduce(partial(elementwise.arithmetic, program, "addi"), [a, b, _number(program, a, rounding)])
    return elementwise.resize(program, "trunci", elementwise.arithmetic(program, "shrsi", total, _number(program, a, 1)), dtype)


def _first_set(program: Program, values: list[Value], dtype: str) -> Value:
    """The place of the lowest bit that is set, from 1 on; 0: none is."""
    a = values[0]
    place = elementwise.arithmetic(program, "addi", elementwise.arithmetic(program, "cttz", a), _number(program, a, 1))
    is_zero = elementwise.compare(program, "cmpi.eq", a, _number(program, a, 0))
    return elementwise.resize(program, "trunci", elementwise.select(program, is_zero, _number(program, a, 0), place), dtype)


COMPOSED: dict[str, Function] = {
    **dict.fromkeys(("isnan", "isnand"), _is_nan),
    **dict.fromkeys(("isinf", "isinfd"), partial(_is_infinite, "cmpf.oeq")),
    **dict.fromkeys(("finite", "isfinited"), partial(_is_infinite, "cmpf.olt")),
    "signbit": _sign,
    "saturate": _saturated,
    **dict.fromkeys(("ldexp", "scalbn"), _scaled),
    **dict.fromkeys(("llrint", "llrintf"), partial(_to_integer, "fptosi", "rint")),
    **dict.fromkeys(("llround", "llroundf"), partial(_to_integer, "fptosi", "round")),
    "ilogb": partial(_to_integer, "fptosi", "logb"),
    "rcbrt": partial(_inverse, "cbrt"),
    "rhypot": partial(_inverse, "hypot"),
    **dict.fromkeys(("norm3d", "norm4d"), _norm),
    **dict.fromkeys(("rnorm3d", "rnorm4d"), _inverse_norm),
    "normcdf": _normal_distribution,
    "hadd": partial(_average, "extsi", 0),
    "rhadd": partial(_average, "extsi", 1),
    "uhadd": partial(_average, "extui", 0),
    "urhadd": partial(_average, "extui", 1),
    "ffs": _first_set,
}
