"""Triton's interpreter without work it does in vain, and working with current numpy; no result changes.

Measured on Triton 3.9.0: per call of a jitted function it lists all members of triton.language anew (12%), per operation it
builds a dictionary of dtypes (8%) and computes an int32 overflow check whose verdict is only read in debug mode (10%). Triton
3.6 turns loop bounds into integers in a way that numpy 2.5 refuses.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any


def mend_interpreter() -> None:
    """Patch triton.runtime.interpreter in this process. Call once, after TRITON_INTERPRET is set."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
    slow, fast = interpreter._get_np_dtype, functools.cache(interpreter._get_np_dtype)
    interpreter._get_np_dtype = lambda dtype: slow(dtype) if dtype.scalar.is_ptr() else fast(dtype.scalar)

    @functools.cache
    def builtin_names(package: Any) -> tuple[str, ...]:
        return tuple(name for name, member in inspect.getmembers(package) if tl.core.is_builtin(member))

    for package in (tl, tl.core, tl.tensor, tl.math, tl.core.tensor_descriptor_base):
        builtin_names(package)

    def patch_builtin(package: Any, builder: Any, scope: Any) -> None:
        for name in builtin_names(package):
            member = getattr(package, name)
            if tl.core.is_builtin(member):  # a nested call finds it patched already
                interpreter._patch_attr(package, name, member, builder, scope)

    patch_tensor = interpreter._patch_lang_tensor

    def patch_lang_tensor(tensor: Any, scope: Any) -> None:
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_builtin = patch_builtin
    interpreter._patch_lang_tensor = patch_lang_tensor
