"""Faults of the interpreter in Triton 3.2 and 3.3 that later releases mended. A release without a fault is left as it is."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

WARP_SPECIALISATION = ("num_buffers_warp_spec", "num_consumer_groups", "reg_dec_producer", "reg_inc_consumer")


def patch_older_releases(interpreter: Any) -> None:
    """Patch triton.runtime.interpreter in this process."""
    if hasattr(interpreter, "RESERVED_KWS"):  # an autotuned kernel would get these as arguments (3.2)
        interpreter.RESERVED_KWS += [name for name in WARP_SPECIALISATION if name not in interpreter.RESERVED_KWS]
    if "block_type" not in inspect.getsource(interpreter._patch_lang_tensor):  # `tensor.T` would have a scalar's type (3.2)
        interpreter._patch_lang_tensor = _with_transposed_type(interpreter._patch_lang_tensor)
    builder = interpreter.InterpreterBuilder
    if not hasattr(builder, "get_int1_ty"):  # `not x` could not be built (3.2)
        builder.get_int1_ty = lambda self: interpreter.tl.int1
        builder.get_all_ones_value = _with_true(interpreter, builder.get_all_ones_value)


def _with_true(interpreter: Any, all_ones: Any) -> Any:
    def get_all_ones_value(self: Any, type: Any) -> Any:
        if type.scalar == interpreter.tl.int1:
            return interpreter.TensorHandle(np.full(1, True), type.scalar)
        return all_ones(self, type)

    return get_all_ones_value


def _with_transposed_type(patch: Any) -> Any:
    def patch_lang_tensor(tensor: Any, *scope: Any) -> None:
        patch(tensor, *scope)
        untyped = tensor.T.fget
        tensor.T = property(lambda self: _transposed(untyped(self), self))

    return patch_lang_tensor


def _transposed(result: Any, source: Any) -> Any:
    """The transpose as a block; `result` has its handle."""
    *outer, rows, columns = source.type.shape
    return type(source)(result.handle, type(source.type)(source.dtype, [*outer, columns, rows]))
