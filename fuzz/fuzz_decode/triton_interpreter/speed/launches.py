"""What the interpreter repeats at each launch, and at each call of a function by a kernel, although it does not change."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

CONVERTED = 4096  # integers whose tensors are remembered
PLAIN = {int, float, bool, type(None), str}


def speed_up_launches(interpreter: Any) -> None:
    """Patch triton.runtime.interpreter."""
    interpreter._patch_lang = _once(interpreter._patch_lang, interpreter.tl)
    interpreter._implicit_cvt = _remembering(interpreter._implicit_cvt, interpreter.TensorHandle)
    signatures = functools.cache(inspect.getfullargspec)
    interpreter.inspect = SimpleNamespace(
        **{**vars(inspect), "getfullargspec": signatures, "getcallargs": functools.partial(_call_args, signatures)}
    )
    executor = interpreter.GridExecutor
    executor._init_args_hst = _in_place(executor._init_args_hst)
    executor._restore_args_dev = _unless_in_place(executor._restore_args_dev)
    executor.__call__ = _without_warnings(executor.__call__)


def another(tensor: Any, handle: Any) -> Any:
    """A tensor like this one with another handle."""
    made = object.__new__(tensor.__class__)
    made.__dict__.update(tensor.__dict__, handle=handle)
    return made


def _once(patch: Callable[[Any], Any], tl: Any) -> Callable[[Any], Any]:
    """triton.language is patched when the first kernel needs it, and stays patched, as up to Triton 3.5:
    later versions patch and restore it at each launch."""
    patched: list[Any] = []
    sizes: dict[Any, int] = {}  # function -> how many globals its module had when it was patched
    nothing = SimpleNamespace(restore=lambda: None)

    def patch_once(function: Any) -> Any:
        names = function.__globals__
        if sizes.get(function) != len(names):  # a module may import triton.language later
            seen = [value for value in names.values() if value is tl or value is tl.core]
            if not seen or any(value not in patched for value in seen):
                patch(function)
                patched.extend(seen)
            sizes[function] = len(names)
        return nothing

    return patch_once


def _remembering(convert: Callable[[Any], Any], handle: Any) -> Callable[[Any], Any]:
    """Keeps converted arguments: integers, mostly the same ones again, and pointers, whose type depends on the dtype alone."""
    converted = functools.lru_cache(CONVERTED)(convert)
    pointers: dict[torch.dtype, Any] = {}

    def convert_quickly(argument: Any) -> Any:
        if argument.__class__ is int:
            known = converted(argument)
            return another(known, handle(known.handle.data, known.handle.dtype))
        if argument.__class__ is not torch.Tensor:
            return convert(argument)
        if argument.dtype not in pointers:
            pointers[argument.dtype] = convert(argument)
        known = pointers[argument.dtype]
        return another(known, handle(np.array([argument.data_ptr()], np.uint64), known.handle.dtype))

    return convert_quickly


def _call_args(signatures: Callable[[Any], Any], function: Any, /, *positional: Any, **named: Any) -> dict[str, Any]:
    """As inspect.getcallargs, which still binds whatever is not simple, and raises what is wrong."""
    spec = signatures(function)
    defaults = spec.defaults or ()
    given = dict(zip(spec.args, positional, strict=False))
    found = {**dict(zip(spec.args[len(spec.args) - len(defaults) :], defaults, strict=True)), **given, **named}
    simple = not (spec.varargs or spec.varkw or spec.kwonlyargs) and len(given) == len(positional) and not given.keys() & named
    if simple and found.keys() == set(spec.args):
        return found
    return inspect.getcallargs(function, *positional, **named)


def _in_place(copy: Callable[..., Any]) -> Callable[..., Any]:
    """Tensors that are on the CPU are not copied there."""

    def arguments(self: Any, positional: Any, named: Any) -> Any:
        if all(_is_on_cpu(argument) for argument in (*positional, *named.values())):
            return positional, named
        return copy(self, positional, named)

    return arguments


def _unless_in_place(restore: Callable[..., None]) -> Callable[..., None]:
    def restored(self: Any, args_dev: Any, args_hst: Any, kwargs: Any, kwargs_hst: Any) -> None:
        if args_dev is not args_hst:
            restore(self, args_dev, args_hst, kwargs, kwargs_hst)

    return restored


def _is_on_cpu(argument: Any) -> bool:
    kind = argument.__class__
    return kind in PLAIN or (kind is torch.Tensor and argument.device.type == "cpu")


def _without_warnings(launch: Callable[..., None]) -> Callable[..., None]:
    """Floats overflow, and logarithms of 0 are infinite, without a warning of numpy, as on a GPU."""

    def launched(self: Any, *args: Any, **options: Any) -> None:
        with np.errstate(all="ignore"):
            launch(self, *args, **options)

    return launched
