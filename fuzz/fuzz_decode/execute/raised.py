"""An exception of a target in words: what was raised, and the lines of the target that led to it."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from fuzz_decode.execute.compile_errors import is_compile_error, places, reason
from fuzz_decode.text import one_line

MAX_MESSAGE, MAX_LINE, MAX_NAME = 300, 120, 60  # characters
LISTED_CALLS = 12
BETWEEN = ("ast", "contextlib", "functools", "torch", "triton")  # decorators, interpreter, compiler: among the lines of a target


def unwrapped(error: BaseException) -> BaseException:
    """What a kernel raised, without the errors that Triton's interpreter wraps around it."""
    return _chain(error)[-1]


def raised(error: BaseException, *, first_line: bool = False) -> str:
    """The exception and the line of the target that led to it: `KeyError: 3 at kernel.py:12: tl.load(x)`."""
    innermost = unwrapped(error)
    text = reason(innermost) if is_compile_error(innermost) else "".join(traceback.format_exception_only(innermost))
    text = text.splitlines()[0] if first_line else " ".join(text.split())
    place = "".join(f" at {line}" for line in target_lines(error)[-1:])
    return one_line(text, MAX_MESSAGE - len(place)) + place


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as other:  # an exception's own method may raise
        return f"<its text raised {type_name(other)}>"


def type_name(value: object) -> str:
    """The name of its type, as far as it looks like a name: it becomes part of a signature."""
    name: str = type.__dict__["__name__"].__get__(type(value))  # a metaclass may have another
    return re.sub(r"\W", "_", name)[:MAX_NAME]


def calls_to(error: BaseException) -> str:
    """The target's lines that led to an exception, a line each; empty if there is one alone; of many, the last ones."""
    lines = target_lines(error)
    more = ["..."] if len(lines) > LISTED_CALLS else []
    return "\n".join([*more, *lines[-LISTED_CALLS:]]) if len(lines) > 1 else ""


def target_lines(error: BaseException) -> list[str]:
    """The lines of the target that were active when it was raised, the innermost last: `kernel.py:12: tl.load(x)`.

    Without any, the line that raised it.
    """
    frames = list(_frames(error))
    own = [_line(*frame) for frame in frames if not _is_foreign(frame[0])]
    if is_compile_error(innermost := unwrapped(error)) and (compiled := places(innermost)):
        return [*own, *(_source_line(file, number) for file, number in compiled)]
    return own or [_line(*frame) for frame in frames[-1:]]


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and those that Triton's interpreter wrapped, the innermost last."""
    chain = [error]
    while type(chain[-1]).__name__ == "InterpreterError" and chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Frame and line number of each call, from the harness inwards."""
    for each in _chain(error):
        yield from traceback.walk_tb(each.__traceback__)


def _is_foreign(frame: FrameType) -> bool:
    package, _, module = str(frame.f_globals.get("__name__", "")).partition(".")
    return package in BETWEEN or (package == "fuzz_decode" and not module.startswith("targets"))


def _line(frame: FrameType, number: int) -> str:
    return _source_line(frame.f_code.co_filename, number, frame.f_globals)


def _source_line(name: str, number: int, names: dict[str, Any] | None = None) -> str:
    source = linecache.getline(name, number, names).strip()[:MAX_LINE]
    return f"{name.rsplit('/', 1)[-1]}:{number}" + (f": {source}" if source else "")
