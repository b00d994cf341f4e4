"""The builder's commonest methods without what they do in vain: each does at once what it would do anyway with operands of a form
that is known beforehand, and leaves any other to the method that was there.

Results have the same bits and lie in memory in the same way, since numpy's sums and products of matrices hang on both. Each
shortcut is tried on samples before it is taken; where this Triton does anything else, it keeps its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzz_decode.interpreter.launches import another

Method = Callable[..., Any]

BINARY = (
    *("add", "sub", "mul", "srem", "urem", "shl", "lshr", "and", "or", "xor", "minsi", "minui", "maxsi", "maxui"),
    *("fadd", "fsub", "fmul", "fdiv", "frem", "minimumf", "maximumf", "minnumf", "maxnumf"),
    *(f"icmp{relation}" for relation in ("EQ", "NE", "SLT", "SLE", "SGT", "SGE", "ULT", "ULE", "UGT", "UGE")),
    *(f"fcmp{order}{relation}" for order in "OU" for relation in ("LT", "GT", "LE", "GE", "EQ", "NE")),
)
INTEGERS = "?bBiIlLqQ"  # numpy's types but uint16, which may be bfloat16
# no uint16 here, either
SAMPLED = ("int1", "int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")


def take_shortcuts(interpreter: Any) -> None:
    """Patch the builder of triton.runtime.interpreter."""
    builder, handle, tl = interpreter.InterpreterBuilder, interpreter.TensorHandle, interpreter.tl
    dtype_of, real = interpreter._get_np_dtype, interpreter.interpreter_builder
    samples = [handle(np.array(values).astype(dtype_of(t)), t) for t in (getattr(tl, n) for n in SAMPLED) for values in VALUES]
    pairs = list(zip(samples[::2], samples[1::2], strict=True))
    for name in BINARY:
        if original := getattr(builder, f"create_{name}", None):
            setattr(builder, f"create_{name}", _binary(original, handle, [(real, *pair) for pair in pairs]))
    pointers = [handle(np.array([64], np.uint64), tl.pointer_type(getattr(tl, name))) for name in ("int1", "float16", "float32")]
    offsets = [sample for sample in samples if sample.data.dtype.kind in "iu"]
    blocks = [tl.block_type(tl.float32, [4, 2])]
    reduce_or_scan, shapes = interpreter.ReduceOps.__base__, (np.ones((2, 2)), np.ones(2, np.int64), np.float32(1.0))
    for owner, name, shortcut, calls in (
        (builder, "create_expand_dims", _expand_dims(handle), [(real, s, axis) for s in samples for axis in (0, 1)]),
        (builder, "create_broadcast", _broadcast(handle), [(real, s, shape) for s in samples for shape in ((4,), (3, 4))]),
        (builder, "create_addptr", _addptr(handle), [(real, pointer, offset) for pointer in pointers for offset in offsets]),
        (builder, "create_splat", _splat(interpreter), [(real, block, offset) for block in blocks for offset in pointers]),
        (builder, "cast_impl", _cast(dtype_of, handle), [(real, s, wanted.dtype) for s in offsets for wanted in samples]),
        (reduce_or_scan, "to_tensor", _to_tensor(dtype_of, handle), [(None, s, t) for s in shapes for t in (tl.int32, tl.float32)]),
    ):
        original = getattr(owner, name)
        quick = shortcut(original)
        if _same(original, quick, calls * 2):  # the second time on what was remembered
            setattr(owner, name, quick)


VALUES = ((1, 0, 1, 0), (1, 1, 0, 0))


def _same(original: Method, quick: Method, calls: Iterable[tuple[Any, ...]]) -> bool:
    with np.errstate(all="ignore"):
        return all(_outcome(original, call) == _outcome(quick, call) for call in calls)


def _outcome(method: Method, call: tuple[Any, ...]) -> object:
    """All that there is to a handle or a tensor, or the kind of exception."""
    try:
        result = method(*call)
    except Exception as error:  # whatever it is, the other way must lead there, too
        return type(error)
    handle = getattr(result, "handle", result)
    data = handle.data
    return data.dtype, data.shape, data.strides, data.tobytes(), str(handle.dtype), str(getattr(result, "type", ""))


def _binary(original: Method, handle: Any, calls: list[tuple[Any, ...]]) -> Method:
    """Operands of one type mostly give a result of that type, or a truth: then there is nothing to round, and no width to check."""
    try:
        ufunc = original(SimpleNamespace(binary_op=lambda lhs, rhs, ufunc: ufunc), None, None)
    except AttributeError:  # it does more than that
        return original

    def at_once(self: Any, lhs: Any, rhs: Any) -> Any:
        return handle(ufunc(lhs.data, rhs.data), lhs.dtype.scalar)

    closed = frozenset(lhs.data.dtype for self, lhs, rhs in calls if _same(original, at_once, [(self, lhs, rhs), (self, rhs, rhs)]))

    def create(self: Any, lhs: Any, rhs: Any) -> Any:
        a, b = lhs.data, rhs.data
        if a.dtype is b.dtype and a.dtype in closed:
            return handle(ufunc(a, b), lhs.dtype.scalar)
        return original(self, lhs, rhs)

    return create


def _expand_dims(handle: Any) -> Callable[[Method], Method]:
    """As numpy.expand_dims does it, without its checks: the front end has made them."""

    def expand_dims(self: Any, arg: Any, axis: int) -> Any:
        shape = arg.data.shape
        return handle(arg.data.reshape((*shape[:axis], 1, *shape[axis:])), arg.dtype.scalar)

    return lambda original: expand_dims


def _broadcast(handle: Any) -> Callable[[Method], Method]:
    """As numpy.broadcast_to does it: the same iterator, the same view. Of arrays without gaps its strides are remembered."""
    strides: dict[Any, Any] = {}

    def broadcast(self: Any, arg: Any, shape: Any) -> Any:
        data = arg.data
        key = data.dtype, data.shape, data.strides, *shape
        known = strides.get(key)
        if known is not None and data.flags.c_contiguous:
            return handle(np.ndarray(shape, data.dtype, data, 0, known), arg.dtype.scalar)
        view = np.nditer(data, ["multi_index"], itershape=shape, order="C").itviews[0]
        strides[key] = view.strides
        return handle(view, arg.dtype.scalar)

    return lambda original: broadcast


def _addptr(handle: Any) -> Callable[[Method], Method]:
    """An element's size is looked up by the pointer's name."""
    sizes: dict[str, int] = {}

    def shortcut(original: Method) -> Method:
        def addptr(self: Any, pointer: Any, offset: Any) -> Any:
            size = sizes.get(pointer.dtype.name)
            if size is None:
                sizes[pointer.dtype.name] = max(1, pointer.get_element_ty().primitive_bitwidth // 8)
                return original(self, pointer, offset)
            return handle(pointer.data + size * offset.data.astype(np.uint64), pointer.dtype)

        return addptr

    return shortcut


def _splat(interpreter: Any) -> Callable[[Method], Method]:
    """As numpy.full does it."""
    handle, dtype_of, block_type = interpreter.TensorHandle, interpreter._get_np_dtype, interpreter.tl.block_type

    def shortcut(original: Method) -> Method:
        def splat(self: Any, ret_ty: Any, arg: Any) -> Any:
            if isinstance(arg.dtype, block_type):
                return original(self, ret_ty, arg)
            data = np.empty(ret_ty.shape, dtype_of(arg.dtype))
            np.copyto(data, arg.data, casting="unsafe")
            return handle(data, arg.dtype.scalar)

        return splat

    return shortcut


def _cast(dtype_of: Callable[[Any], Any], handle: Any) -> Callable[[Method], Method]:
    """Integers to integers and to float32 as the original casts them, without comparing types."""

    def shortcut(original: Method) -> Method:
        def cast(self: Any, source: Any, wanted: Any) -> Any:
            dtype = dtype_of(wanted)
            if source.data.dtype.char in INTEGERS and (dtype.char in INTEGERS or dtype.char == "f"):
                return handle(source.data.astype(dtype), wanted.scalar)
            return original(self, source, wanted)

        return cast

    return shortcut


def _to_tensor(dtype_of: Callable[[Any], Any], handle: Any) -> Callable[[Method], Method]:
    """The tensor of a reduction's or a scan's result; its type is found once for each shape."""
    first: dict[tuple[str, tuple[int, ...]], Any] = {}

    def shortcut(original: Method) -> Method:
        def to_tensor(self: Any, found: Any, dtype: Any) -> Any:
            if not getattr(found, "shape", ()):
                return original(self, found, dtype)
            key = dtype.name, found.shape
            if key not in first:
                first[key] = original(self, found, dtype)
                return first[key]
            return another(first[key], handle(found.astype(dtype_of(dtype)), dtype.scalar))

        return to_tensor

    return shortcut
