"""The arguments of an operation of triton.language as a key: all that its front end can see before the program runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PLAIN = frozenset({int, bool, str, type(None)})


class Signatures:
    """Keys of calls. Equal ones have tensors of equal types at the same places, and the same constants."""

    def __init__(self, tl: Any) -> None:
        self._tensor = tl.tensor
        self._types: dict[int, Any] = {}  # by id, which no other object gets while these are kept alive
        self._alike: dict[str, list[Any]] = {}
        self._constants: dict[type, Callable[[Any, list[Any], list[Any]], None]] = {
            tl.tensor: self._of_tensor,
            tl.constexpr: self._of_constexpr,
            float: _of_float,
            slice: _of_whole,
            **dict.fromkeys((list, tuple), self._of_several),
            **dict.fromkeys((tl.dtype, tl.pointer_type, tl.block_type), self._of_type),
        }
        for value in vars(tl).values():  # tl.float32 itself rather than its equal
            if isinstance(value, tl.dtype):
                self.known(value)

    def of_call(self, args: tuple[Any, ...], options: dict[str, Any], inputs: list[Any]) -> tuple[Any, ...]:
        """The key of a call, whose tensors are added to `inputs`. Equal calls have equal keys only if all their types are known.
        Raises KeyError if an argument is anything but a tensor or a plain constant."""
        key: list[Any] = []
        tensor = self._tensor
        for arg in args:
            if arg.__class__ is tensor:  # inlined: most arguments are
                inputs.append(arg)
                key.append(id(arg.type))
            else:
                self._add(arg, key, inputs)
        for name, value in options.items():
            key.append(name)
            self._add(value, key, inputs)
        return tuple(key)

    def of_known(self, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """The key of a call once the types of its tensors are known."""
        inputs: list[Any] = []
        self.of_call(args, options, inputs)
        for tensor in inputs:
            tensor.type = self.known(tensor.type)
        return self.of_call(args, options, [])

    def known(self, found: Any) -> Any:
        """The representative of all types that equal this one: comparing ids is much cheaper than comparing types."""
        if id(found) in self._types:
            return found
        alike = self._alike.setdefault(str(found), [])
        for other in alike:
            if other.__class__ is found.__class__ and other == found:
                return other
        alike.append(found)
        self._types[id(found)] = found
        return found

    def _add(self, value: Any, key: list[Any], inputs: list[Any]) -> None:
        """A tensor's part of a key is its type's id; that of anything else begins with its class."""
        kind = value.__class__
        if kind in PLAIN:
            key += kind, value
        else:
            self._constants[kind](value, key, inputs)

    def _of_tensor(self, value: Any, key: list[Any], inputs: list[Any]) -> None:
        inputs.append(value)
        key.append(id(value.type))

    def _of_constexpr(self, value: Any, key: list[Any], inputs: list[Any]) -> None:
        key.append(value.__class__)
        given = len(inputs)
        self._add(value.value, key, inputs)
        if len(inputs) > given:  # no constant
            raise KeyError

    def _of_type(self, value: Any, key: list[Any], _: list[Any]) -> None:
        key += value.__class__, id(self.known(value))

    def _of_several(self, values: Any, key: list[Any], inputs: list[Any]) -> None:
        key += values.__class__, len(values)
        for value in values:
            self._add(value, key, inputs)


def _of_float(value: float, key: list[Any], _: list[Any]) -> None:
    """0.0 is not -0.0, and NaN is NaN."""
    key += float, value if value and value == value else value.hex()


def _of_whole(value: slice, key: list[Any], _: list[Any]) -> None:
    """`:` and no other slice."""
    if not value.start is value.stop is value.step is None:
        raise KeyError
    key.append(slice)
