"""The builder's commonest methods without what they do in vain: each is asked for what it would do anyway, in a form that is known
beforehand, and anything else goes to the method that was there.

Results have the same bits and lie in memory in the same way, since numpy's sums and products of matrices hang on both.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Method = Callable[..., Any]

BINARY = (
    *("add", "sub", "mul", "srem", "urem", "shl", "lshr", "and", "or", "xor", "minsi", "minui", "maxsi", "maxui"),
    *("fadd", "fsub", "fmul", "fdiv", "frem", "minimumf", "maximumf", "minnumf", "maxnumf"),
    *(f"icmp{relation}" for relation in ("EQ", "NE", "SLT", "SLE", "SGT", "SGE", "ULT", "ULE", "UGT", "UGE")),
    *(f"fcmp{order}{relation}" for order in "OU" for relation in ("LT", "GT", "LE", "GE", "EQ", "NE")),
)
NUMBERS = "bBhiIlLqQefd"  # numpy's types, but those that stand for another one: uint16 may be bfloat16
INTEGERS = "bBiIlLqQ"
TRUTH = {np.bitwise_and, np.bitwise_or, np.bitwise_xor}  # what of bool may be left to numpy: True + True is not True


def take_shortcuts(interpreter: Any) -> None:
    """Patch the builder of triton.runtime.interpreter."""
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    for name in BINARY:
        original = getattr(builder, f"create_{name}", None)
        if original and isinstance(ufunc := _ufunc(original), np.ufunc):
            setattr(builder, f"create_{name}", _binary(original, ufunc, handle))
    builder.create_expand_dims, builder.create_broadcast = _expand_dims, _broadcast
    builder.create_addptr = _addptr(builder.create_addptr, handle)
    builder.cast_impl = _cast(builder.cast_impl, interpreter._get_np_dtype, handle)


def _ufunc(method: Method) -> Any:
    """What a method hands to the interpreter's `binary_op`."""
    return method(SimpleNamespace(binary_op=lambda lhs, rhs, ufunc: ufunc), None, None)


def _binary(original: Method, ufunc: Any, handle: Any) -> Method:
    """Operands of one type give a result of that type, or a truth: then there is nothing to round, and no width to check."""
    closed = frozenset(
        np.dtype(c) for c in NUMBERS + "?" * (ufunc in TRUTH) if {f"{c}{c}->{c}", f"{c}{c}->?"} & set(ufunc.types)
    )

    def create(self: Any, lhs: Any, rhs: Any) -> Any:
        a, b = lhs.data, rhs.data
        if a.dtype is b.dtype and a.dtype in closed:
            return handle(ufunc(a, b), lhs.dtype.scalar)
        return original(self, lhs, rhs)

    return create


def _expand_dims(self: Any, handle: Any, axis: int) -> Any:
    """As numpy.expand_dims does it, without its checks: the front end has made them."""
    shape = handle.data.shape
    return type(handle)(handle.data.reshape((*shape[:axis], 1, *shape[axis:])), handle.dtype.scalar)


def _broadcast(self: Any, handle: Any, shape: Any) -> Any:
    """As numpy.broadcast_to does it: the same iterator, the same view."""
    view = np.nditer(handle.data, ["multi_index"], itershape=shape, order="C").itviews[0]
    return type(handle)(view, handle.dtype.scalar)


def _addptr(original: Method, handle: Any) -> Method:
    """An element's size is looked up by the pointer's name."""
    sizes: dict[str, int] = {}

    def addptr(self: Any, pointer: Any, offset: Any) -> Any:
        size = sizes.get(pointer.dtype.name)
        if size is None:
            sizes[pointer.dtype.name] = max(1, pointer.get_element_ty().primitive_bitwidth // 8)
            return original(self, pointer, offset)
        return handle(pointer.data + size * offset.data.astype(np.uint64), pointer.dtype)

    return addptr


def _cast(original: Method, dtype_of: Callable[[Any], Any], handle: Any) -> Method:
    """Integers to integers as the original casts them, without comparing types, and to float32; others may be bfloat16."""

    def cast(self: Any, source: Any, wanted: Any) -> Any:
        dtype, given = dtype_of(wanted), source.data.dtype.char
        if (given in INTEGERS or given == "?") and (dtype.char in INTEGERS or dtype.char in "?f"):
            return handle(source.data.astype(dtype), wanted.scalar)
        return original(self, source, wanted)

    return cast
