"""What the interpreter does anew at each launch, and at each call of a function by a kernel, and could know from the last one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

CONVERTED = 4096  # integers whose tensors are remembered


def quicken_launches(interpreter: Any) -> None:
    """Patch triton.runtime.interpreter."""
    interpreter._patch_lang = _once(interpreter._patch_lang, interpreter.tl)
    interpreter._implicit_cvt = _remembering(interpreter._implicit_cvt, interpreter.TensorHandle)
    signatures = functools.cache(inspect.getfullargspec)
    interpreter.inspect = SimpleNamespace(
        **{**vars(inspect), "getfullargspec": signatures, "getcallargs": functools.partial(_call_args, signatures)}
    )
    interpreter.GridExecutor.__call__ = _silently(interpreter.GridExecutor.__call__)


def another(tensor: Any, handle: Any) -> Any:
    """A tensor like this one with another handle."""
    made = object.__new__(tensor.__class__)
    made.__dict__.update(tensor.__dict__, handle=handle)
    return made


def _once(patch: Callable[[Any], Any], tl: Any) -> Callable[[Any], Any]:
    """triton.language is patched when a kernel or a function that it calls needs it, and stays patched, as it did up to 3.5."""
    patched: list[Any] = []
    looked_at: dict[Any, int] = {}
    nothing = SimpleNamespace(restore=lambda: None)

    def patch_once(function: Any) -> Any:
        names = function.__globals__
        if looked_at.get(function) != len(names):  # an import may come late
            seen = [value for value in names.values() if value is tl or value is tl.core]
            if not seen or any(value not in patched for value in seen):
                patch(function)
                patched.extend(seen)
            looked_at[function] = len(names)
        return nothing

    return patch_once


def _remembering(convert: Callable[[Any], Any], handle: Any) -> Callable[[Any], Any]:
    """Integers among a launch's arguments: mostly the same ones again."""
    converted = functools.lru_cache(CONVERTED, typed=True)(convert)

    def convert_quickly(argument: Any) -> Any:
        if argument.__class__ is not int:
            return convert(argument)
        known = converted(argument)
        return another(known, handle(known.handle.data, known.handle.dtype))

    return convert_quickly


def _call_args(signatures: Callable[[Any], Any], function: Any, /, *positional: Any, **named: Any) -> dict[str, Any]:
    """As inspect.getcallargs, which is asked where arguments do not fit simply."""
    spec = signatures(function)
    defaults = spec.defaults or ()
    given = dict(zip(spec.args, positional, strict=False))
    found = {**dict(zip(spec.args[len(spec.args) - len(defaults) :], defaults, strict=True)), **given, **named}
    simple = not (spec.varargs or spec.varkw or spec.kwonlyargs) and len(given) == len(positional) and not given.keys() & named
    if simple and found.keys() == set(spec.args):
        return found
    return inspect.getcallargs(function, *positional, **named)


def _silently(launch: Callable[..., None]) -> Callable[..., None]:
    """Floats overflow, and logarithms of 0 are infinite, without a word from numpy, as on a GPU."""

    def launched(self: Any, *args: Any, **options: Any) -> None:
        with np.errstate(all="ignore"):
            launch(self, *args, **options)

    return launched
