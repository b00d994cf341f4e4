"""Errors of Triton's compiler in words. Their own text is an excerpt of the kernel, with the reason at its end or in a cause."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

Place = tuple[str, int]  # file and line


def is_compile_error(error: BaseException) -> bool:
    return type(error).__module__ == "triton.compiler.errors" and hasattr(error, "node")


def reason(error: BaseException) -> str:
    """Why the kernel does not compile: the message of the innermost error."""
    innermost = list(_chain(error))[-1]
    message = getattr(innermost, "error_message", None) if is_compile_error(innermost) else str(innermost)
    return f"{type(error).__module__}.{type(error).__name__}: {message or 'no reason is given'}"


def places(error: BaseException) -> list[Place]:
    """The lines of the kernel and of the functions that it calls, the innermost last."""
    generators = [generator for link in _chain(error) for generator in _generators(link)]
    found = (_place(link, generators) for link in _chain(error) if is_compile_error(link))
    return list(dict.fromkeys(place for place in found if place))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: each function that calls another one adds a link."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _generators(error: BaseException) -> Iterator[Any]:
    """The compiler's code generators, one for each function of the kernel, from the frames of a traceback."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        generator = frame.f_locals.get("self")
        if hasattr(generator, "begin_line") and hasattr(generator, "jit_fn"):
            yield generator


def _place(error: Any, generators: list[Any]) -> Place | None:
    for generator in generators:
        if generator.jit_fn.src == error.src and hasattr(error.node, "lineno"):
            return generator.file_name, generator.begin_line + error.node.lineno
    return None
