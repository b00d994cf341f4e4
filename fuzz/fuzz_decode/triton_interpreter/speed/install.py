"""Puts the acceleration in place: nearly all of the interpreter's time is Python around numpy, most of it in the front end.

What this version of Triton does not have stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any

from fuzz_decode.triton_interpreter.speed.launches import speed_up_launches
from fuzz_decode.triton_interpreter.speed.traced_operations import Operations, truth

NEEDED = (
    *("_patch_lang", "_patch_builtin", "_patch_lang_tensor", "_get_np_dtype", "_implicit_cvt", "interpreter_builder"),
    *(
        "InterpreterBuilder.cast_impl",
        "GridExecutor._init_args_hst",
        "GridExecutor._restore_args_dev",
        "TensorHandle",
        "ReduceOps",
    ),
)


def is_known(interpreter: Any) -> bool:
    """Whether this Triton's interpreter has all parts that are patched for speed."""
    try:
        return all(operator.attrgetter(name)(interpreter) for name in NEEDED)
    except AttributeError:
        return False


def install_speedups() -> None:
    """Patch triton.runtime.interpreter in this process."""
    from triton.runtime import interpreter

    options = interpreter.interpreter_builder.options
    if hasattr(options, "sanitize_overflow"):  # a check whose result is used in debug mode only
        interpreter.interpreter_builder.options = dataclasses.replace(options, sanitize_overflow=False)
    interpreter._patch_builtin = functools.partial(_patch_builtin, Operations(interpreter))
    interpreter._patch_lang_tensor = functools.partial(_patch_lang_tensor, interpreter._patch_lang_tensor)
    interpreter._get_np_dtype = _by_name(interpreter._get_np_dtype)
    if hasattr(interpreter.TensorHandle, "__post_init__"):
        interpreter.TensorHandle.__init__ = _handle(interpreter.tl.pointer_type)
    speed_up_launches(interpreter)


def _patch_builtin(operations: Operations, package: Any, builder: Any, *scope: Any) -> None:
    assign = scope[0].set_attr if scope else setattr
    for name, member in inspect.getmembers(package, operations.tl.core.is_builtin):
        assign(package, name, operations.made_by(member))


def _patch_lang_tensor(original: Any, tensor: Any, *scope: Any) -> None:
    original(tensor, *scope)
    assign = scope[0].set_attr if scope else setattr
    assign(tensor, "__bool__", truth(tensor.__bool__))


def _by_name(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """numpy's dtype for Triton's, remembered by the name of the type, which determines it."""
    known: dict[str, Any] = {}

    def dtype_of(wanted: Any) -> Any:
        if wanted.name not in known:
            known[wanted.name] = original(wanted)
        return known[wanted.name]

    return dtype_of


def _handle(pointer: type) -> Callable[..., None]:
    """TensorHandle.__init__ from 3.6 on, without its check of widths where the data cannot be too wide."""

    def init(self: Any, data: Any, dtype: Any, attr: Any = None) -> None:
        self.data, self.dtype, self.attr = data, dtype, {} if attr is None else attr
        if dtype.__class__ is not pointer and data.itemsize > 1 and data.itemsize * 8 > dtype.primitive_bitwidth:
            self.__post_init__()

    return init
