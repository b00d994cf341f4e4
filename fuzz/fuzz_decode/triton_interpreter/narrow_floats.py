"""bfloat16 and float8 in Triton's interpreter.

The interpreter keeps them as bit patterns in uint16 and uint8 arrays and hands those to numpy: products, sums, comparisons and
dots of bfloat16 operate on the patterns, float32 is truncated to bfloat16 instead of rounded to nearest even, subnormals are
wrong, and NaN codes of float8 become numbers (Triton 3.2 to 3.9). With this patch every such operation widens its operands to
float32, runs unchanged, and rounds the result once, as a GPU does. A sum in a narrow format rounds after every addition on a GPU;
here it adds half onto half and rounds each level.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Operation = Callable[..., Any]

ARITHMETIC = (
    *("fadd", "fsub", "fmul", "fdiv", "frem", "fneg", "fma", "clampf", "precise_divf", "approx_divf"),
    *("minimumf", "maximumf", "minnumf", "maxnumf"),
    *(f"fcmp{order}{relation}" for order in "OU" for relation in ("LT", "GT", "LE", "GE", "EQ", "NE")),
    *("exp", "exp2", "log", "log2", "sqrt", "precise_sqrt", "rsqrt", "sin", "cos", "floor", "ceil", "erf"),
)
FLOAT8 = {
    "fp8e4nv": torch.float8_e4m3fn,
    "fp8e5": torch.float8_e5m2,
    "fp8e4b8": torch.float8_e4m3fnuz,
    "fp8e5b16": torch.float8_e5m2fnuz,
}
BFLOAT16 = "bf16"
WITH_CODEC = {BFLOAT16, "fp16", "fp32", "fp64", *FLOAT8}
NARROW_SUMS = (BFLOAT16, "fp16")


def patch_narrow_floats() -> None:
    """Patch triton.runtime.interpreter in this process."""
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    builder.create_maxnumf = lambda self, a, b: self.binary_op(a, b, np.fmax)  # up to 3.7 the result is NaN, on a GPU the number
    builder.create_minnumf = lambda self, a, b: self.binary_op(a, b, np.fmin)
    for name in ARITHMETIC:
        if hasattr(builder, f"create_{name}"):
            setattr(builder, f"create_{name}", _in_float32(getattr(builder, f"create_{name}")))
    builder.create_dot = _dot_in_float32(builder.create_dot)
    builder.create_fp_to_fp = _convert(builder.create_fp_to_fp)
    builder.cast_impl = _cast(builder.cast_impl)
    builder.get_bf16 = lambda self, value: narrow(np.array([value], dtype=np.float32), interpreter.tl.bfloat16)
    builder.create_atomic_rmw = _no_bfloat16(builder.create_atomic_rmw)
    reduce, scan = interpreter.ReduceOps, interpreter.ScanOps
    reduce.sum, reduce.min_max = _sum_in_steps(reduce.sum), _reduce_in_float32(reduce.min_max)
    scan.cumsum, scan.cumprod = _reduce_in_float32(scan.cumsum), _reduce_in_float32(scan.cumprod)


def _in_float32(operation: Operation) -> Operation:
    """A builder method on handles; those in bfloat16 are widened for it, and what it returns is rounded back."""

    def widened(self: Any, *operands: Any) -> Any:
        if not any(map(_is_bfloat16, operands)):
            return operation(self, *operands)
        dtypes = [handle.dtype for handle in operands if _is_bfloat16(handle)]
        result = operation(self, *(wide(handle) if _is_bfloat16(handle) else handle for handle in operands))
        return result if result.data.dtype == np.bool_ else narrow(result.data, dtypes[0])

    return widened


def _dot_in_float32(dot: Operation) -> Operation:
    """Products of bfloat16 and float8 are exact in float32, which is what tensor cores accumulate in."""

    def widened(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        exact = [wide(handle) if _name(handle) in (BFLOAT16, *FLOAT8) else handle for handle in (a, b)]
        return dot(self, *exact, *rest)

    return widened


def _convert(original: Operation) -> Operation:
    """Float to float. Formats without a codec here, and rounding toward zero, are left to the interpreter."""
    from triton.runtime.interpreter import _ir

    def convert(self: Any, source: Any, wanted: Any, rounding: Any) -> Any:
        if rounding == _ir.ROUNDING_MODE.RTZ or not {_name(source), wanted.scalar.name} <= WITH_CODEC:
            return original(self, source, wanted, rounding)
        return narrow(wide(source).data, wanted.scalar)

    return convert


def _cast(original: Operation) -> Operation:
    """Casts from and to bfloat16, integers included; the rest is right."""

    def cast(self: Any, source: Any, wanted: Any) -> Any:
        if not _is_bfloat16(source) and wanted.scalar.name != BFLOAT16:
            return original(self, source, wanted)
        exact = wide(source) if _is_bfloat16(source) else source
        return narrow(exact.data, wanted.scalar) if wanted.scalar.is_floating() else original(self, exact, wanted)

    return cast


def _no_bfloat16(atomic: Operation) -> Operation:
    def refusing(self: Any, operation: Any, pointers: Any, values: Any, *rest: Any) -> Any:
        if _name(values) == BFLOAT16:
            raise NotImplementedError("atomic operations on bfloat16 in Triton's interpreter")
        return atomic(self, operation, pointers, values, *rest)

    return refusing


def _reduce_in_float32(method: Operation) -> Operation:
    """A method of ReduceOps or ScanOps on one tensor that picks or accumulates values."""

    def widened(self: Any, tensor: Any, *rest: Any, **options: Any) -> Any:
        tensor = tensor[0] if isinstance(tensor, tuple) else tensor
        if _name(tensor.handle) != BFLOAT16:
            return method(self, tensor, *rest, **options)
        result = method(self, _like(tensor, wide(tensor.handle)), *rest, **options)
        back = [_like(r, narrow(r.handle.data, tensor.dtype)) if _name(r.handle) == "fp32" else r for r in _several(result)]
        return type(result)(back) if isinstance(result, (tuple, list)) else back[0]

    return widened


def _sum_in_steps(method: Operation) -> Operation:
    """tl.sum in a 16-bit format: half onto half, rounded each time."""

    def stepwise(self: Any, tensor: Any) -> Any:
        if _name(tensor.handle) not in NARROW_SUMS:
            return method(self, tensor)
        data, dtype = wide(tensor.handle).data, tensor.dtype
        axis = 0 if self.axis is None else self.axis
        terms = np.moveaxis(data.reshape(-1) if self.axis is None else data, axis, 0)
        while len(terms) > 1:
            half = len(terms) // 2
            terms = wide(narrow(terms[:half] + terms[half : 2 * half], dtype)).data
        total = terms[0]
        if self.keep_dims:
            total = total.reshape((1,) * data.ndim) if self.axis is None else np.expand_dims(total, axis)
        return self.to_tensor(narrow(total, dtype).data, dtype)

    return stepwise


def _name(handle: Any) -> str:
    """The element type's name; empty for anything but a tensor handle."""
    dtype = getattr(handle, "dtype", None)
    return "" if dtype is None else str(dtype.scalar.name)


def _is_bfloat16(handle: Any) -> bool:
    """Called at every operation, so that the cheap test comes first: the name of a type, a block or a pointer included, that does
    not contain bf16 excludes it."""
    dtype = getattr(handle, "dtype", None)
    return dtype is not None and BFLOAT16 in dtype.name and dtype.scalar.name == BFLOAT16


def wide(handle: Any) -> Any:
    """The handle's values in float32 (float64 stays), exactly."""
    from triton.runtime.interpreter import TensorHandle, tl

    name, data = _name(handle), handle.data
    if name == "fp64":
        return handle
    if name == BFLOAT16:
        data = (data.astype(np.uint32) << 16).view(np.float32)
    elif name in FLOAT8:
        data = _float8_values(name)[data]
    return TensorHandle(data.astype(np.float32, copy=False), tl.float32)


def narrow(values: Any, dtype: Any) -> Any:
    """float32 or float64 values as a handle of `dtype`, rounded to nearest even."""
    from triton.runtime.interpreter import TensorHandle, _get_np_dtype

    values = np.asarray(values)
    if dtype.scalar.name == BFLOAT16:
        data = _to_bfloat16(values.astype(np.float32, copy=False))
    elif dtype.scalar.name in FLOAT8:
        data = _to_float8(values.astype(np.float32, copy=False), FLOAT8[dtype.scalar.name])
    else:
        data = values.astype(_get_np_dtype(dtype.scalar), copy=False)
    return TensorHandle(data, dtype.scalar)


def _to_bfloat16(values: Any) -> Any:
    bits = np.ascontiguousarray(values).reshape(values.shape).view(np.uint32)
    rounded = ((bits + ((bits >> 16) & 1) + np.uint32(0x7FFF)) >> 16).astype(np.uint16)
    nan = np.isnan(values)
    return np.where(nan, np.uint16(0x7FC0), rounded) if nan.any() else rounded


def _to_float8(values: Any, dtype: torch.dtype) -> Any:
    """Saturating: numbers beyond the largest become the largest, as in NVIDIA's and AMD's conversions."""
    largest = np.float32(torch.finfo(dtype).max)
    clipped = np.array(np.clip(values, -largest, largest))
    return torch.from_numpy(clipped).to(dtype).view(torch.uint8).numpy().reshape(values.shape)


@functools.cache
def _float8_values(name: str) -> Any:
    return torch.arange(256, dtype=torch.uint8).view(FLOAT8[name]).float().numpy()


def _like(tensor: Any, handle: Any) -> Any:
    from triton.runtime.interpreter import tl

    shape = list(tensor.shape)
    return tl.core.tensor(handle, tl.core.block_type(handle.dtype, shape) if shape else handle.dtype)


def _several(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
