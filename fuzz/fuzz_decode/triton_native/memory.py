"""Loads, stores and atomic operations of Triton IR as instructions of the machine.

Programs run one after the other, so that atomic loads and stores are plain ones.
"""

from __future__ import annotations

import re

from fuzz_decode.triton_native.assemble import Scope, Translation
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import OF_SIZE, Operand, Program, Value, whole
from fuzz_decode.triton_native.unsupported import Unsupported


def load(scope: Scope, operation: Operation) -> list[Value]:
    program, type = scope.program, operation.types[0]
    pointers, *rest = scope.operands(operation)
    result = program.new(type.dtype, type.count)
    covered = [_either(program, value) for value in rest]
    program.emit(f"load.{OF_SIZE[result.size]}", result, whole(program.densely(pointers)), *covered)
    return [result]


def _either(program: Program, value: Value) -> Operand:
    """Dense, or one element for all."""
    return whole(value if value.uniform else program.densely(value))


def store(scope: Scope, operation: Operation) -> None:
    program = scope.program
    pointers, value, *mask = scope.operands(operation)
    pointers = program.densely(pointers)
    operands = [whole(pointers), _either(program, value), *(_either(program, each) for each in mask)]
    program.emit(f"store.{OF_SIZE[value.size]}", None, *operands, shape=(1, pointers.count))


def update(scope: Scope, operation: Operation) -> list[Value]:
    program, type = scope.program, operation.types[0]
    pointers, value, *mask = scope.operands(operation)
    found = re.match(r"\s*(\w+)", operation.text)
    result = program.new(type.dtype, type.count)
    operands = [_either(program, each) for each in (value, *mask)]
    program.emit(f"atomic.{found[1] if found else ''}.{type.dtype}", result, whole(program.densely(pointers)), *operands)
    return [result]


def exchange(scope: Scope, operation: Operation) -> list[Value]:
    program, type = scope.program, operation.types[0]
    pointers, expected, value = scope.operands(operation)
    if value.size not in (2, 4, 8):
        raise Unsupported(f"tl.atomic_cas of {type.dtype}", operation.line)
    result = program.new(type.dtype, type.count)
    operands = [whole(program.densely(pointers)), _either(program, expected), _either(program, value)]
    program.emit(f"atomic.cas.{OF_SIZE[value.size]}", result, *operands)
    return [result]


TRANSLATIONS: dict[str, Translation] = {
    "tt.load": load,
    "tt.store": store,
    "tt.atomic_load": load,
    "tt.atomic_store": store,
    "tt.atomic_rmw": update,
    "tt.atomic_cas": exchange,
}
