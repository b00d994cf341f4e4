"""Operations of Triton IR that move elements: most of them only change how a buffer is seen."""

from __future__ import annotations

import math
import re

from fuzz_decode.triton_native import elementwise
from fuzz_decode.triton_native.assemble import Scope, Translation
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import Value, View, whole
from fuzz_decode.triton_native.unsupported import Unsupported

KEEP_VIEWS = ("tt.expand_dims", "tt.reshape", "tt.addptr", "tt.fp_to_fp", "tt.bitcast", "tt.clampf")


def make_range(scope: Scope, operation: Operation) -> list[Value]:
    result = scope.variable(operation.types[0])
    scope.program.emit("range", result, extra=(operation.integer("start"),))
    return [result]


def splat(scope: Scope, operation: Operation) -> list[Value]:
    value, count = scope.operands(operation)[0], operation.types[0].count
    return [_uniform(value, count)]


def _uniform(value: Value, count: int) -> Value:
    return value if count == 1 else Value(value.buffer, value.dtype, count, uniform=True, offset=value.offset)


def same(scope: Scope, operation: Operation) -> list[Value]:
    return scope.operands(operation)


def broadcast(scope: Scope, operation: Operation) -> list[Value]:
    value, shape, wanted = scope.operands(operation)[0], operation.shape, operation.types[0].shape or ()
    count = math.prod(wanted)
    if value.uniform or value.count == 1:
        return [_uniform(value, count)]
    if value.count == count:
        return [value]
    value = scope.program.densely(value)
    view = _view(shape, wanted)
    if view and all(_keeps_views(user) for user in scope.users.get(operation.results[0], ())):
        return [Value(value.buffer, value.dtype, count, view=view, offset=value.offset)]
    strides = [0 if length == 1 else math.prod(shape[axis + 1 :]) for axis, length in enumerate(shape)]
    return [scope.program.strided(value, list(wanted), strides)]


def _view(shape: tuple[int, ...], wanted: tuple[int, ...]) -> View | None:
    """A broadcast along all first axes, or along all last ones."""
    kept = [axis for axis in range(len(shape)) if shape[axis] > 1]
    spread = [axis for axis in range(len(shape)) if shape[axis] < wanted[axis]]
    inner, outer = math.prod(wanted[axis] for axis in kept), math.prod(wanted[axis] for axis in spread)
    if max(spread) < min(kept):
        return View(outer, inner, 0, 1)
    return View(inner, outer, 1, 0) if max(kept) < min(spread) else None


def _keeps_views(user: str) -> bool:
    return user.startswith(("arith.", "math.")) or user in KEEP_VIEWS


def transpose(scope: Scope, operation: Operation) -> list[Value]:
    value, shape = scope.operands(operation)[0], operation.shape
    found = re.search(r"order = array<i32: ([\d, ]+)>", operation.text)
    if found is None:
        raise Unsupported("tt.trans without an order", operation.line)
    order = [int(axis) for axis in found[1].split(",")]
    moved = [axis for axis in order if shape[axis] > 1]
    if value.uniform or moved == sorted(moved):
        return [value]
    strides = [math.prod(shape[axis + 1 :]) for axis in order]
    return [scope.program.strided(scope.program.densely(value), [shape[axis] for axis in order], strides)]


def concatenate(scope: Scope, operation: Operation) -> list[Value]:
    a, b = map(scope.program.densely, scope.operands(operation))
    result = scope.variable(operation.types[0])
    scope.program.emit("concat", result, whole(a), whole(b), extra=(a.count,))
    return [result]


def join(scope: Scope, operation: Operation) -> list[Value]:
    a, b = map(scope.program.densely, scope.operands(operation))
    result = scope.variable(operation.types[0])
    scope.program.emit("interleave", result, whole(a), whole(b))
    return [result]


def split(scope: Scope, operation: Operation) -> list[Value]:
    value, count = scope.operands(operation)[0], operation.types[0].count
    if value.uniform:
        return [_uniform(Value(value.buffer, value.dtype, 1, offset=value.offset), count)] * 2
    value = scope.program.densely(value)
    if count == 1:
        return [Value(value.buffer, value.dtype, 1, offset=value.offset + half * value.size) for half in (0, 1)]
    return [scope.program.strided(value, [count], [2], first=half) for half in (0, 1)]


def gather(scope: Scope, operation: Operation) -> list[Value]:
    source, index = map(scope.program.densely, scope.operands(operation))
    axis, shape, wanted = operation.integer("axis"), operation.shape, operation.types[0].shape or ()
    result = scope.variable(operation.types[0])
    extra = (shape[axis], wanted[axis], math.prod(wanted[axis + 1 :]))
    if shape[:axis] + shape[axis + 1 :] != wanted[:axis] + wanted[axis + 1 :]:
        raise Unsupported("tl.gather of blocks that differ along other axes", operation.line)
    scope.program.emit("gather", result, whole(source), whole(index), extra=extra)
    return [result]


def histogram(scope: Scope, operation: Operation) -> list[Value]:
    values, *mask = scope.operands(operation)
    values = elementwise.resize(scope.program, "extsi", values, "i32") if values.size < 4 else values
    values = scope.program.densely(values)
    result = scope.variable(operation.types[0])
    covered = [whole(each if each.uniform else scope.program.densely(each)) for each in mask]
    scope.program.emit("histogram", result, whole(values), *covered, extra=(values.count,))
    return [result]


TRANSLATIONS: dict[str, Translation] = {
    "tt.make_range": make_range,
    "tt.splat": splat,
    "tt.unsplat": same,
    "tt.expand_dims": same,
    "tt.reshape": same,
    "tt.broadcast": broadcast,
    "tt.trans": transpose,
    "tt.cat": concatenate,
    "tt.join": join,
    "tt.split": split,
    "tt.gather": gather,
    "tt.histogram": histogram,
}
