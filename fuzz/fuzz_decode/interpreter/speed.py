"""Triton's interpreter without work it does in vain, and working with current numpy; no result changes.

Measured on Triton 3.9.0: per call of a jitted function it lists all members of triton.language anew (12%), per operation it
builds a dictionary of dtypes (8%) and computes an int32 overflow check whose verdict is only read in debug mode (10%). Up
to 3.6 it turns loop bounds into integers in a way that current numpy refuses. Versions whose interpreter is built otherwise
(before 3.5) get that repair only.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any


def mend_speed() -> None:
    """Patch triton.runtime.interpreter in this process."""
    from triton.runtime import interpreter

    interpreter._patch_lang_tensor = functools.partial(_patch_lang_tensor, interpreter._patch_lang_tensor)
    if "scope" not in inspect.signature(interpreter._patch_builtin).parameters:
        return
    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
    slow, fast = interpreter._get_np_dtype, functools.cache(interpreter._get_np_dtype)
    interpreter._get_np_dtype = lambda dtype: slow(dtype) if dtype.scalar.is_ptr() else fast(dtype.scalar)
    interpreter._patch_builtin = _patch_builtin


def _patch_builtin(package: Any, builder: Any, scope: Any) -> None:
    from triton.runtime import interpreter

    for name in _builtin_names(package):
        member = getattr(package, name)
        if interpreter.tl.core.is_builtin(member):  # a nested call finds it patched already
            interpreter._patch_attr(package, name, member, builder, scope)


@functools.cache
def _builtin_names(package: Any) -> tuple[str, ...]:
    from triton.runtime import interpreter

    return tuple(name for name, member in inspect.getmembers(package) if interpreter.tl.core.is_builtin(member))


def _patch_lang_tensor(original: Any, tensor: Any, *scope: Any) -> None:
    original(tensor, *scope)
    assign = scope[0].set_attr if scope else setattr
    assign(tensor, "__index__", lambda self: int(self.handle.data.item()))
