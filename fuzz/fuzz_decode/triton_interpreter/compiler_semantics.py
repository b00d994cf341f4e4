"""Python constructs mean in the interpreter what Triton's compiler makes of them.

The interpreter runs a kernel's body as Python. The compiler translates the same text otherwise (compiler/code_generator.py):

- a parameter annotated with a width (`stride: tl.int64`) has that width; the interpreter derives one from the value;
- a float argument is a float32 scalar, so that `float16 block * scale` is float32; the interpreter leaves it a Python number,
  which takes no part in promotion, and treats the numbers of `n, top = 0, 0.0` likewise;
- the variable of a `range` loop is an integer as wide as the widest bound; the interpreter leaves it a Python number;
- `a and b`, `a or b`, `not a` and chained comparisons of runtime values are element-wise, and both sides are evaluated; Python
  evaluates `a and b` to one of the two;
- `total: tl.float32 = 0.0` is an assignment like any other, whose annotation says nothing; the interpreter leaves it a number;
- a number in `x if condition else y` is a scalar where the condition is known at run time only; the interpreter leaves it a
  number;
- a block is no condition of `if`, `while` and `x if condition else y`: that does not compile, and the interpreter takes it as
  true;
- `int`, `float`, `bool` and `in` take nothing that is known at run time only: that does not compile, and the interpreter takes a
  scalar's value;
- a loop carries variables whose type stays the same (`loop_carried`);
- the builtins `max` and `min` of runtime values are `tl.maximum` and `tl.minimum`; Python compares the blocks' truth.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzz_decode.triton_interpreter.compiler_constructs import (
    ASSIGNED,
    BOOLEAN,
    CONDITION,
    CONVERSION,
    EXTREMUM,
    MEMBERSHIP,
    NEGATION,
    TERNARY,
    with_compiler_constructs,
)
from fuzz_decode.triton_interpreter.loop_carried import CARRIED, LOOP, refuse_changed_types


def patch_compiler_semantics(interpreter: Any) -> None:
    """Patch triton.runtime.interpreter in this process, before any kernel runs."""
    tl = interpreter.tl
    interpreter.FunctionRewriter.ast_transformer = with_compiler_constructs(interpreter.FunctionRewriter.ast_transformer)
    # a rewritten function finds the names of this module among its globals
    setattr(interpreter, BOOLEAN, functools.partial(_boolean, tl))
    setattr(interpreter, NEGATION, functools.partial(_negated, tl))
    setattr(interpreter, EXTREMUM, functools.partial(_extremum, tl))
    setattr(interpreter, ASSIGNED, functools.partial(_assigned, interpreter))
    setattr(interpreter, LOOP, functools.partial(_loop, interpreter))
    setattr(interpreter, CARRIED, functools.partial(refuse_changed_types, tl))
    setattr(interpreter, CONDITION, functools.partial(_condition, tl))
    setattr(interpreter, CONVERSION, functools.partial(_conversion, tl))
    setattr(interpreter, MEMBERSHIP, functools.partial(_membership, tl))
    setattr(interpreter, TERNARY, functools.partial(_ternary, interpreter))
    interpreter.inspect = SimpleNamespace(
        **{**vars(interpreter.inspect), "getcallargs": _with_widths(interpreter.inspect.getcallargs, interpreter)}
    )
    interpreter._implicit_cvt = _converting(interpreter._implicit_cvt, interpreter)


def _boolean(tl: Any, conjunction: bool, *operands: Callable[[], Any]) -> Any:
    """`and` or `or`: compile-time values decide as in Python, runtime values are combined element by element."""
    dynamic, value = [], None
    for operand in operands:
        value = operand()
        if isinstance(value, tl.tensor):
            dynamic.append(value)
        elif bool(value) != conjunction:
            return value
    if not dynamic:
        return value
    combine = tl.tensor.logical_and if conjunction else tl.tensor.logical_or
    return functools.reduce(combine, dynamic)


def _negated(tl: Any, value: Any) -> Any:
    return value.__not__() if isinstance(value, tl.tensor) else not value


def _condition(tl: Any, value: Any) -> Any:
    """What `if`, `while` and a ternary test."""
    if isinstance(value, tl.tensor) and value.handle.data.size > 1:
        raise TypeError("the condition of `if`, `while` or a ternary is a block; Triton's compiler takes scalars only")
    return value


def _conversion(tl: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """`int`, `float` or `bool`, if it is Python's own, for numbers known at compile time."""
    if function not in (int, float, bool):
        return function

    def convert(*values: Any) -> Any:
        if any(isinstance(value, tl.tensor) for value in values):
            name = function.__name__
            raise TypeError(f"{name}() of a value known at run time only; Triton's compiler takes `.to(...)` for that")
        return function(*values)

    return convert


def _membership(tl: Any, side: Any) -> Any:
    """What stands on a side of `in`."""
    if isinstance(side, tl.tensor) or (isinstance(side, tuple) and any(isinstance(each, tl.tensor) for each in side)):
        raise TypeError("`in` with a value known at run time only; Triton's compiler takes `==` for that")
    return side


def _extremum(tl: Any, function: Callable[..., Any], *values: Any, **options: Any) -> Any:
    """`max(...)` or `min(...)`, if that is Python's own function and a value is known at run time only."""
    of_tensors = {builtins.max: tl.maximum, builtins.min: tl.minimum}
    if function not in of_tensors or not any(isinstance(value, tl.tensor) for value in values):
        return function(*values, **options)
    return functools.reduce(of_tensors[function], values)


def _assigned(interpreter: Any, value: Any) -> Any:
    """What a name gets: numbers, those of a tuple, too, become tensors."""
    if value.__class__ is interpreter.tl.tensor:  # most are
        return value
    if type(value) is tuple:
        return tuple(_assigned(interpreter, each) for each in value)
    if isinstance(value, interpreter.tl.constexpr):
        return _assigned(interpreter, value.value)
    return _tensor(interpreter, value, _type_of_number(interpreter.tl, value)) if _is_number(value) else value


def _loop(interpreter: Any, numbers: Iterable[int], *bounds: Any) -> Iterator[Any]:
    """The loop's variable in each round."""
    tl = interpreter.tl
    types = [bound.dtype if isinstance(bound, tl.tensor) else _type_of_number(tl, int(bound)) for bound in bounds]
    widest = max(types, key=lambda dtype: (dtype.int_bitwidth, dtype.is_int_unsigned()))  # integer promotion, as in C
    return (_tensor(interpreter, number, widest) for number in numbers)


def _ternary(interpreter: Any, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """One of the two, which alone is evaluated."""
    value = then() if _condition(interpreter.tl, condition) else otherwise()
    return _assigned(interpreter, value) if isinstance(condition, interpreter.tl.tensor) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _type_of_number(tl: Any, number: float) -> Any:
    """The type that the compiler gives to a number (language/semantic.py, to_tensor)."""
    if isinstance(number, bool):
        return tl.int1
    if isinstance(number, int):
        fitting = [dtype for dtype in (tl.int32, tl.uint32, tl.int64, tl.uint64) if _holds(dtype, number)]
        if not fitting:
            raise ValueError(f"the integer {number} has more than 64 bits; Triton's compiler takes at most those")
        return fitting[0]
    normal = number != number or number in (0.0, math.inf, -math.inf) or 2.0**-126 <= abs(number) <= (2 - 2.0**-23) * 2.0**127
    return tl.float32 if normal else tl.float64


def _holds(dtype: Any, number: int) -> bool:
    signed = not dtype.is_int_unsigned()
    bits: int = dtype.int_bitwidth - signed
    return bool(-(2**bits) * signed <= number < 2**bits)


def _tensor(interpreter: Any, number: float, dtype: Any) -> Any:
    data = np.array([number]).astype(interpreter._get_np_dtype(dtype))
    return interpreter.tl.tensor(interpreter.TensorHandle(data, dtype), dtype)


@dataclass(frozen=True, slots=True)
class _Annotated:
    """A scalar argument with the type that its parameter is annotated with."""

    value: int | float | bool
    dtype: Any


def _with_widths(getcallargs: Callable[..., Any], interpreter: Any) -> Callable[..., Any]:
    """The arguments of a launch by name, scalars of annotated parameters with their type."""
    types_of = functools.lru_cache(None)(functools.partial(_annotated_types, interpreter))

    def call_args(function: Any, /, *positional: Any, **named: Any) -> Any:
        found = getcallargs(function, *positional, **named)
        for name, dtype in types_of(function).items():
            if isinstance(found[name], (bool, int, float)):
                found[name] = _Annotated(found[name], dtype)
        return found

    return call_args


def _annotated_types(interpreter: Any, function: Any) -> dict[str, Any]:
    """Parameters to the scalar types of their annotations, read as Triton's launcher reads them (runtime/jit.py, KernelParam)."""
    from triton.runtime.jit import KernelParam

    found = {}
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        name = KernelParam(number, parameter, False, False).annotation_type
        if name and not name.startswith("*"):
            found[parameter.name] = interpreter.tl.dtype(_spelled_out(name))
    return found


def _spelled_out(name: str) -> str:
    """`int32` for `i32`: a dtype's name for that in a launch's signature."""
    return re.sub(r"^(u?)i?(?=\d)", r"\1int", name) if name != "u1" else "int1"


def _converting(convert: Callable[[Any], Any], interpreter: Any) -> Callable[[Any], Any]:
    """Arguments of a launch as tensors: Triton's conversion, but for numbers of a declared width, and floats."""

    def implicit_cvt(argument: Any) -> Any:
        if argument.__class__ is _Annotated:
            return _tensor(interpreter, argument.value, argument.dtype)
        if argument.__class__ is float:
            return _tensor(interpreter, argument, interpreter.tl.float32)
        return convert(argument)

    return implicit_cvt
