"""Triton's interpreter without work it does in vain, and working with current numpy; no result changes.

Of the time that it takes nearly all is Python around an operation, not numpy. `recordings` spares it most of that; here is the rest:
per call of a jitted function it patches all of triton.language anew, per operation it builds a dictionary of dtypes, and
numpy's expand_dims is written in Python. Up to 3.6 it turns loop bounds into integers in a way that current numpy refuses. What
a version does not have is left alone.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from fuzz_decode.interpreter.recordings import Operations, truth


def mend_speed() -> None:
    """Patch triton.runtime.interpreter in this process."""
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    if hasattr(builder.options, "sanitize_overflow"):  # its verdict is only read in debug mode
        builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
    interpreter._patch_lang_tensor = functools.partial(_patch_lang_tensor, interpreter._patch_lang_tensor)
    interpreter._patch_lang = _once(interpreter._patch_lang)
    interpreter._patch_builtin = functools.partial(_patch_builtin, Operations(interpreter))
    interpreter._get_np_dtype = _by_name(interpreter._get_np_dtype)
    if hasattr(interpreter.TensorHandle, "__post_init__"):
        interpreter.TensorHandle.__init__ = _handle(interpreter.tl.pointer_type)
    interpreter.InterpreterBuilder.create_expand_dims = _expand_dims
    interpreter.InterpreterBuilder.create_broadcast = _broadcast
    interpreter.InterpreterBuilder.cast_impl = _cast(interpreter.InterpreterBuilder.cast_impl)


def _once(patch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The language stays patched, as it did up to 3.5: nothing else runs in this process."""
    from triton.runtime.interpreter import tl

    patched: list[Any] = []
    nothing = SimpleNamespace(restore=lambda: None)

    def patch_once(function: Any) -> Any:
        seen = [value for value in function.__globals__.values() if value is tl or value is tl.core]
        if not seen or any(value not in patched for value in seen):
            patch(function)
            patched.extend(seen)
        return nothing

    return patch_once


def _patch_builtin(operations: Operations, package: Any, builder: Any, *scope: Any) -> None:
    assign = scope[0].set_attr if scope else setattr
    for name in _builtin_names(package):
        member = getattr(package, name)
        if operations.tl.core.is_builtin(member):  # a nested call finds it patched already
            assign(package, name, operations.operation(member))


@functools.cache
def _builtin_names(package: Any) -> tuple[str, ...]:
    from triton.runtime import interpreter

    return tuple(name for name, member in inspect.getmembers(package) if interpreter.tl.core.is_builtin(member))


def _patch_lang_tensor(original: Any, tensor: Any, *scope: Any) -> None:
    original(tensor, *scope)
    assign = scope[0].set_attr if scope else setattr
    assign(tensor, "__index__", lambda self: int(self.handle.data.item()))
    assign(tensor, "__bool__", truth(tensor.__bool__))


def _by_name(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """numpy's dtype for Triton's: that of a pointer is in its name, too."""
    known: dict[str, Any] = {}

    def dtype_of(wanted: Any) -> Any:
        if wanted.name not in known:
            known[wanted.name] = original(wanted)
        return known[wanted.name]

    return dtype_of


def _expand_dims(self: Any, handle: Any, axis: int) -> Any:
    shape = handle.data.shape
    return type(handle)(handle.data.reshape((*shape[:axis], 1, *shape[axis:])), handle.dtype.scalar)


def _broadcast(self: Any, handle: Any, shape: Any) -> Any:
    view = np.nditer(handle.data, ["multi_index"], itershape=shape, order="C").itviews[0]
    return type(handle)(view, handle.dtype.scalar)


def _cast(original: Callable[..., Any]) -> Callable[..., Any]:
    from triton.runtime import interpreter

    def cast(self: Any, handle: Any, wanted: Any) -> Any:
        if "bf16" in handle.dtype.name or "bf16" in wanted.name:
            return original(self, handle, wanted)
        return type(handle)(handle.data.astype(interpreter._get_np_dtype(wanted)), wanted.scalar)

    return cast


def _handle(pointer: type) -> Callable[..., None]:
    """TensorHandle.__init__, which checks the width of the data; what looks too wide it leaves to Triton to judge."""

    def init(self: Any, data: Any, dtype: Any, attr: Any = None) -> None:
        self.data, self.dtype, self.attr = data, dtype, {} if attr is None else attr
        if data.itemsize > 1 and dtype.__class__ is not pointer and data.itemsize * 8 > dtype.primitive_bitwidth:
            self.__post_init__()

    return init
