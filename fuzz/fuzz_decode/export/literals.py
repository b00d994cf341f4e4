"""Numbers and strings as Python text, readable where they are short, and safe with untrusted contents."""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

LINE_WIDTH = 130
MAX_WRITTEN_OUT = 80  # characters of a list; a longer one is packed
MAX_COMPARED = 10_000  # numbers; a longer list is packed without trying to write it out
MIN_RUN = 4  # numbers in a row that are written as a range
Constants = dict[str, str]  # name -> literal of packed numbers, for the top of the script


def quoted(text: str) -> str:
    """A string literal, in double quotes if they need no escapes."""
    literal = repr(text)
    return literal if "'" in text or '"' in text else f'"{literal[1:-1]}"'


def number(value: float) -> str:
    """A number's literal."""
    return repr(value).replace("e+", "e")


def rounded_up(value: float) -> float:
    """The value rounded up to two digits."""
    nearest = float(f"{value:.1e}")
    return nearest if nearest >= value else float(f"{nearest + 10.0 ** (math.floor(math.log10(value)) - 1):.1e}")


def listed(values: list[Any]) -> str:
    """A list of numbers, or of such lists, with runs of whole numbers as ranges."""
    if values and isinstance(values[0], list):
        return f"[{', '.join(map(listed, values))}]"
    return f"[{', '.join(_runs(values))}]"


def array(name: str, numbers: Tensor, constants: Constants) -> str:
    """An expression for a tensor of these numbers. Many are packed into a constant, named after `name`."""
    if numbers.numel() <= MAX_COMPARED and len(text := f"torch.tensor({listed(numbers.tolist())})") <= MAX_WRITTEN_OUT:
        return text
    data = numbers.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    literal = quoted(base64.b64encode(zlib.compress(data, 9)).decode())
    key = next((key for key, known in constants.items() if known == literal), f"{name.upper()}_{len(constants) + 1}")
    constants[key] = literal
    return f"unpack({', '.join([key, str(numbers.dtype), *map(str, numbers.shape)])})"


def wrapped(head: str, arguments: list[str], width: int, tail: str = ")") -> list[str]:
    """`head`, which ends with a bracket, arguments and `tail`: in one line, or wrapped as formatters do."""
    line, inner = f"{head}{', '.join(arguments)}{tail}", f"    {', '.join(arguments)}"
    if len(line) <= width:
        return [line]
    return [head, *([inner] if len(inner) <= width else [f"    {argument}," for argument in arguments]), tail]


def assigned(name: str, literal: str) -> list[str]:
    """An assignment, in brackets where formatters add them: if the literal fits into a line only then."""
    line = f"{name} = {literal}"
    return [f"{name} = (", f"    {literal}", ")"] if len(line) > LINE_WIDTH >= len(literal) + 4 else [line]


def _runs(values: list[Any]) -> Iterator[str]:
    """Texts of the list's elements: `*range(0, 9)` and `*[7] * 9` where there are MIN_RUN or more such numbers in a row."""
    while values:
        for step in (1, 0):
            expected = itertools.count(values[0], step) if isinstance(values[0], int) else iter(())
            length = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(values, expected, strict=False)))
            if length >= MIN_RUN:
                yield f"*range({values[0]}, {values[0] + length})" if step else f"*[{values[0]}] * {length}"
                break
        else:
            length = 1
            yield number(values[0])
        values = values[length:]
