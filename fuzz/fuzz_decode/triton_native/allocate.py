"""Places in the machine's frame for the buffers of a program. Buffers that are not in use at the same time share a place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from fuzz_decode.triton_native.program import Instruction, Operand, Program

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Frame:
    offsets: list[int]
    """Of each buffer, in bytes."""
    size: int


def allocate(program: Program) -> Frame:
    merge_carried(program)
    fixed = {0, *program.constants, *(value.buffer for value in program.parameters.values())}
    offsets, end = [0] * len(program.sizes), 0
    for buffer in sorted(fixed):
        offsets[buffer], end = end, end + _rounded(program.sizes[buffer])
    used = {buffer: span for buffer, span in lifetimes(program).items() if buffer not in fixed}
    size, active = end, list[tuple[int, int, int]]()  # offset, end, last use
    for buffer, (first, last) in sorted(used.items(), key=lambda item: item[1]):
        active = sorted(place for place in active if place[2] >= first)
        length, offset = _rounded(program.sizes[buffer]), end
        for start, stop, _ in active:
            if start - offset >= length:
                break
            offset = max(offset, stop)
        offsets[buffer] = offset
        active.append((offset, offset + length, last))
        size = max(size, offset + length)
    return Frame(offsets, size)


def lifetimes(program: Program) -> dict[int, tuple[int, int]]:
    """The first and the last instruction that needs each buffer. What a loop finds there, it finds in each round."""
    first, last = dict[int, int](), dict[int, int]()
    for position, buffers in enumerate(map(_buffers, program.instructions)):
        for buffer in buffers:
            first.setdefault(buffer, position)
            last[buffer] = position
    for start, stop in sorted(program.loops, key=lambda loop: loop[1] - loop[0]):
        for buffer, position in last.items():
            if first[buffer] < start <= position < stop:
                last[buffer] = stop
    return {buffer: (first[buffer], last[buffer]) for buffer in first}


def merge_carried(program: Program) -> None:
    """A value that is only computed to be moved into a loop's variable is computed in its place.

    That holds where nothing reads the variable between the value's first instruction and the move.
    """
    spans, touched = lifetimes(program), defaultdict[int, list[int]](list)
    for position, instruction in enumerate(program.instructions):
        for buffer in _buffers(instruction):
            touched[buffer].append(position)
    renamed = dict[int, int]()
    fixed = {0, *program.constants, *(value.buffer for value in program.parameters.values())}
    for position, instruction in enumerate(program.instructions):
        if not instruction.copies or instruction.out is None or instruction.operands[0] is None:
            continue
        target, source = instruction.out.buffer, instruction.operands[0].buffer
        if source in renamed or target in renamed or {source, target} & fixed or program.sizes[source] != program.sizes[target]:
            continue
        begin, end = spans[source]
        if end != position or not _in_same_loops(program, begin, position):
            continue
        if not any(begin <= other < position for other in touched[target]):
            renamed[source] = target
            touched[target] += touched[source]
            spans[target] = min(begin, spans[target][0]), max(end, spans[target][1])
    for instruction in program.instructions:
        instruction.out = _renamed(instruction.out, renamed)
        instruction.operands = [_renamed(operand, renamed) for operand in instruction.operands]


def _in_same_loops(program: Program, a: int, b: int) -> bool:
    return all((start <= a <= stop) == (start <= b <= stop) for start, stop in program.loops)


def _renamed(operand: Operand | None, names: dict[int, int]) -> Operand | None:
    if operand is None or operand.buffer not in names:
        return operand
    return _renamed(Operand(names[operand.buffer], operand.offset, operand.row, operand.column, operand.size), names)


def _buffers(instruction: Instruction) -> Iterator[int]:
    return (operand.buffer for operand in (instruction.out, *instruction.operands) if operand)


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
