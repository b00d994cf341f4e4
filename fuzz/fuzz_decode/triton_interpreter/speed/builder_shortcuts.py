"""The builder's most frequent methods without redundant work: for operands of a form that is known beforehand, each returns at
once what the original would return, and it leaves all others to the original.

Results have the same bits and the same memory layout, since numpy's sums and matrix products depend on both. Each shortcut is
compared with the original on samples before it is installed; where this Triton does anything else, the original stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzz_decode.triton_interpreter.speed.launches import another

Method = Callable[..., Any]

BINARY = (
    *("add", "sub", "mul", "srem", "urem", "shl", "lshr", "and", "or", "xor", "minsi", "minui", "maxsi", "maxui"),
    *("fadd", "fsub", "fmul", "fdiv", "frem", "minimumf", "maximumf", "minnumf", "maxnumf"),
    *(f"icmp{relation}" for relation in ("EQ", "NE", "SLT", "SLE", "SGT", "SGE", "ULT", "ULE", "UGT", "UGE")),
    *(f"fcmp{order}{relation}" for order in "OU" for relation in ("LT", "GT", "LE", "GE", "EQ", "NE")),
)
INTEGERS = "?bBiIlLqQ"  # numpy's types but uint16, which may be bfloat16
# without uint16, for the same reason
SAMPLED = ("int1", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")


def install_builder_shortcuts(interpreter: Any) -> None:
    """Patch the builder of triton.runtime.interpreter."""
    builder, samples = interpreter.InterpreterBuilder, Samples(interpreter)
    for name in BINARY:
        if original := getattr(builder, f"create_{name}", None):
            setattr(builder, f"create_{name}", _binary(original, interpreter.TensorHandle, samples))
    for owner, name, shortcut, calls in (
        (builder, "create_expand_dims", _expand_dims, samples.calls((0, 1))),
        (builder, "create_broadcast", _broadcast, samples.calls(((4,), (3, 4)))),
        (builder, "create_addptr", _addptr, [(samples.builder, p, n) for p in samples.pointers for n in samples.numbers]),
        (builder, "create_splat", _splat, [(samples.builder, samples.block, p) for p in samples.pointers]),
        (builder, "cast_impl", _cast, samples.calls([number.dtype for number in samples.numbers])),
        (interpreter.ReduceOps.__base__, "to_tensor", _to_tensor, samples.reductions),
    ):
        original = getattr(owner, name)
        quick = shortcut(original, interpreter)
        if _same(original, quick, calls * 2):  # twice: the second time with what the shortcut remembers
            setattr(owner, name, quick)


class Samples:
    """What shortcuts are compared on: four numbers of every type, pointers, a block type, results of reductions with dtypes."""

    def __init__(self, interpreter: Any) -> None:
        handle, tl, dtype_of = interpreter.TensorHandle, interpreter.tl, interpreter._get_np_dtype
        self.builder = interpreter.interpreter_builder
        types = [getattr(tl, name) for name in SAMPLED]
        self.numbers = [handle(np.array([1, 0, 1, 0]).astype(dtype_of(t)), t) for t in types]
        self.pairs = [(n, handle(np.array([1, 1, 0, 0]).astype(n.data.dtype), n.dtype)) for n in self.numbers]
        pointees = [tl.int1, tl.float16, tl.float32, tl.int64]
        self.pointers = [handle(np.array([64], np.uint64), tl.pointer_type(pointee)) for pointee in pointees]
        self.block = tl.block_type(tl.float32, [4, 2])
        results = np.ones((2, 2), np.float32), np.ones(2, np.int64), np.float32(1.0)
        self.reductions = [(None, result, dtype) for result in results for dtype in (tl.int32, tl.float32)]

    def calls(self, arguments: Iterable[Any]) -> list[tuple[Any, ...]]:
        """Each number with each of the arguments."""
        return [(self.builder, number, argument) for number in self.numbers for argument in arguments]


def _same(original: Method, quick: Method, calls: Iterable[tuple[Any, ...]]) -> bool:
    with np.errstate(all="ignore"):
        return all(_outcome(original, call) == _outcome(quick, call) for call in calls)


def _outcome(method: Method, call: tuple[Any, ...]) -> object:
    """Everything about a handle or a tensor, or the kind of exception."""
    try:
        result = method(*call)
    except Exception as error:  # whatever it is, the other method must raise it, too
        return type(error)
    handle: Any = getattr(result, "handle", result)
    data = handle.data
    return data.dtype, data.shape, data.strides, data.tobytes(), str(handle.dtype), str(getattr(result, "type", ""))


def _binary(original: Method, handle: Any, samples: Samples) -> Method:
    """Operands of one type mostly give a result of that type, or bool: then nothing needs rounding or a check of its width."""
    try:
        ufunc = original(SimpleNamespace(binary_op=lambda lhs, rhs, ufunc: ufunc), None, None)
    except AttributeError:  # the method does more than call a ufunc
        return original

    def at_once(self: Any, lhs: Any, rhs: Any) -> Any:
        return handle(ufunc(lhs.data, rhs.data), lhs.dtype.scalar)

    calls = {lhs.data.dtype: [(samples.builder, lhs, rhs), (samples.builder, rhs, rhs)] for lhs, rhs in samples.pairs}
    closed = frozenset(dtype for dtype in calls if _same(original, at_once, calls[dtype]))

    def create(self: Any, lhs: Any, rhs: Any) -> Any:
        a, b = lhs.data, rhs.data
        if a.dtype is b.dtype and a.dtype in closed:
            return handle(ufunc(a, b), lhs.dtype.scalar)
        return original(self, lhs, rhs)

    return create


def _expand_dims(original: Method, interpreter: Any) -> Method:
    """As numpy.expand_dims, without its checks, which the front end has made."""
    handle = interpreter.TensorHandle

    def expand_dims(self: Any, arg: Any, axis: int) -> Any:
        shape = arg.data.shape
        return handle(arg.data.reshape((*shape[:axis], 1, *shape[axis:])), arg.dtype.scalar)

    return expand_dims


def _broadcast(original: Method, interpreter: Any) -> Method:
    """As numpy.broadcast_to: the same iterator, the same view. For contiguous arrays the strides are remembered."""
    handle, strides = interpreter.TensorHandle, dict[Any, Any]()

    def broadcast(self: Any, arg: Any, shape: Any) -> Any:
        data = arg.data
        key = data.dtype, data.shape, data.strides, *shape
        known = strides.get(key)
        if known is not None and data.flags.c_contiguous:
            return handle(np.ndarray(shape, data.dtype, data, 0, known), arg.dtype.scalar)
        view = np.nditer(data, ["multi_index"], itershape=shape, order="C").itviews[0]
        strides[key] = view.strides
        return handle(view, arg.dtype.scalar)

    return broadcast


def _addptr(original: Method, interpreter: Any) -> Method:
    """The element size is remembered by the name of the pointer's type."""
    handle = interpreter.TensorHandle
    sizes: dict[str, int] = {}

    def addptr(self: Any, pointer: Any, offset: Any) -> Any:
        size = sizes.get(pointer.dtype.name)
        if size is None:
            sizes[pointer.dtype.name] = max(1, pointer.get_element_ty().primitive_bitwidth // 8)
            return original(self, pointer, offset)
        return handle(pointer.data + size * offset.data.astype(np.uint64), pointer.dtype)

    return addptr


def _splat(original: Method, interpreter: Any) -> Method:
    """As numpy.full."""
    handle, dtype_of, block_type = interpreter.TensorHandle, interpreter._get_np_dtype, interpreter.tl.block_type

    def splat(self: Any, ret_ty: Any, arg: Any) -> Any:
        if isinstance(arg.dtype, block_type):
            return original(self, ret_ty, arg)
        data = np.empty(ret_ty.shape, dtype_of(arg.dtype))
        np.copyto(data, arg.data, casting="unsafe")
        return handle(data, arg.dtype.scalar)

    return splat


def _cast(original: Method, interpreter: Any) -> Method:
    """Integers to integers and to float32 as the original casts them, without comparing types."""
    handle, dtype_of = interpreter.TensorHandle, interpreter._get_np_dtype

    def cast(self: Any, source: Any, wanted: Any) -> Any:
        dtype = dtype_of(wanted)
        if source.data.dtype.char in INTEGERS and (dtype.char in INTEGERS or dtype.char == "f"):
            return handle(source.data.astype(dtype), wanted.scalar)
        return original(self, source, wanted)

    return cast


def _to_tensor(original: Method, interpreter: Any) -> Method:
    """The tensor of a reduction's or a scan's result; its type is built once for each dtype and shape."""
    handle, dtype_of = interpreter.TensorHandle, interpreter._get_np_dtype
    first: dict[tuple[str, tuple[int, ...]], Any] = {}

    def to_tensor(self: Any, found: Any, dtype: Any) -> Any:
        if not getattr(found, "shape", ()):
            return original(self, found, dtype)
        key = dtype.name, found.shape
        if key not in first:
            first[key] = original(self, found, dtype)
            return first[key]
        return another(first[key], handle(found.astype(dtype_of(dtype)), dtype.scalar))

    return to_tensor
