"""tl.reduce and tl.associative_scan: the function that combines two elements is applied to whole parts of the blocks.

A reduction combines the first half of the axis with the second one, and so on; a scan combines each element with that 1, 2, 4,
... places before it. So a block costs the logarithm of the axis' length in instructions, whatever the function is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fuzz_decode.triton_native.assemble import Scope, Translation
from fuzz_decode.triton_native.lanewise import applied
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import Value, whole
from fuzz_decode.triton_native.unsupported import Unsupported


@dataclass(frozen=True, slots=True)
class Axis:
    """A block's shape as [outer, length, inner]."""

    outer: int
    length: int
    inner: int

    @property
    def others(self) -> int:
        return self.outer * self.inner


def _axis(operation: Operation, shape: tuple[int, ...]) -> Axis:
    axis = operation.integer("axis")
    return Axis(math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))


def reduce(scope: Scope, operation: Operation) -> list[Value]:
    axis = _axis(operation, operation.shape)
    parts = [_first_axis(scope, value, axis, reverse=False) for value in scope.operands(operation)]
    length = axis.length
    while length > 1:
        if length % 2:
            raise Unsupported(f"a reduction over {axis.length} elements", operation.line)
        length //= 2
        count = length * axis.others
        parts = applied(
            scope, operation, [*(_part(part, 0, count) for part in parts), *(_part(part, count, count) for part in parts)]
        )
    return parts


def scan(scope: Scope, operation: Operation) -> list[Value]:
    program, axis = scope.program, _axis(operation, operation.shape)
    reverse = "reverse = true" in operation.text
    parts = [_first_axis(scope, value, axis, reverse) for value in scope.operands(operation)]
    distance = 1
    while distance < axis.length:
        kept = distance * axis.others
        count = axis.length * axis.others - kept
        results = applied(
            scope, operation, [*(_part(part, 0, count) for part in parts), *(_part(part, kept, count) for part in parts)]
        )
        for number, (part, result) in enumerate(zip(parts, results, strict=True)):
            parts[number] = program.new(part.dtype, part.count)
            program.emit("concat", parts[number], whole(_part(part, 0, kept)), whole(program.densely(result)), extra=(kept,))
        distance *= 2
    if axis.outer == 1 and not reverse:
        return parts
    step = axis.others * (-1 if reverse else 1)
    first = (axis.length - 1) * axis.others if reverse else 0
    back = [axis.outer, axis.length, axis.inner], [axis.inner, step, 1]
    return [program.strided(part, *back, first=first) for part in parts]


def _first_axis(scope: Scope, value: Value, axis: Axis, reverse: bool) -> Value:
    """The block as [length, outer, inner]."""
    value = scope.program.densely(value)
    if axis.outer == 1 and not reverse:
        return value
    step, first = (-axis.inner, (axis.length - 1) * axis.inner) if reverse else (axis.inner, 0)
    strides = [step, axis.length * axis.inner, 1]
    return scope.program.strided(value, [axis.length, axis.outer, axis.inner], strides, first=first)


def _part(value: Value, first: int, count: int) -> Value:
    return replace(value, offset=value.offset + first * value.size, count=count)


TRANSLATIONS: dict[str, Translation] = {
    "tt.reduce": reduce,
    "tt.scan": scan,
}
