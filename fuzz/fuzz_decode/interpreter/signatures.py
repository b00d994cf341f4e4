"""What an operation of triton.language is given, as a key: all that its front end can see before the program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signatures:
    """Keys of calls. Equal ones have tensors of equal types at the same places, and the same constants."""

    def __init__(self, tl: Any) -> None:
        self._tensor = tl.tensor
        self._types: dict[int, Any] = {}  # by id, which no other object gets while they are here
        self._alike: dict[str, list[Any]] = {}
        self._constants: dict[type, Callable[[Any, list[Any]], Any]] = {
            **dict.fromkeys((int, bool, str, type(None)), lambda value, _: (value.__class__, value)),
            float: lambda value, _: (float, value.hex()),  # 0.0 is not -0.0, and NaN is NaN
            slice: _of_whole,
            tl.constexpr: lambda value, inputs: (tl.constexpr, self._of(value.value, inputs)),
            **dict.fromkeys((list, tuple), self._of_several),
            **dict.fromkeys((tl.dtype, tl.pointer_type, tl.block_type), lambda value, _: (tl.dtype, id(self.known(value)))),
        }
        for value in vars(tl).values():  # tl.float32 itself rather than its equal
            if isinstance(value, tl.dtype):
                self.known(value)

    def of_call(self, args: tuple[Any, ...], options: dict[str, Any], inputs: list[Any]) -> tuple[Any, ...]:
        """The key of a call, whose tensors are added to `inputs`. Raises KeyError if it is given anything but tensors and plain
        constants."""
        key: list[Any] = []
        for arg in args:
            if arg.__class__ is self._tensor and id(arg.type) in self._types:  # spelled out: most arguments are
                inputs.append(arg)
                key.append(id(arg.type))
            else:
                key.append(self._of(arg, inputs))
        for name, value in options.items():
            key += name, self._of(value, inputs)
        return tuple(key)

    def known(self, found: Any) -> Any:
        """The one that stands for all types that equal this one."""
        if id(found) in self._types:
            return found
        alike = self._alike.setdefault(str(found), [])
        for other in alike:
            if other.__class__ is found.__class__ and other == found:
                return other
        alike.append(found)
        self._types[id(found)] = found
        return found

    def _of(self, value: Any, inputs: list[Any]) -> Any:
        if value.__class__ is not self._tensor:
            return self._constants[value.__class__](value, inputs)
        value.type = self.known(value.type)
        inputs.append(value)
        return id(value.type)

    def _of_several(self, values: Any, inputs: list[Any]) -> Any:
        return values.__class__, *[self._of(value, inputs) for value in values]


def _of_whole(value: slice, _: list[Any]) -> Any:
    """`:` and no other slice."""
    if value.start is value.stop is value.step is None:
        return slice
    raise KeyError
