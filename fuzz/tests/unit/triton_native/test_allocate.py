"""Places of buffers: those that are in use together never overlap."""

from __future__ import annotations

import random

import pytest

from fuzz_decode.triton_native.allocate import allocate, lifetimes
from fuzz_decode.triton_native.program import Program, Value, whole


def random_program(seed: int) -> Program:
    """Additions of values that live for a while, some of them in loops."""
    source, program = random.Random(seed), Program(frozenset({"add", "move"}))
    values: list[Value] = [program.constant("i32", bytes(4))]
    starts: list[int] = []
    for _ in range(60):
        if source.random() < 0.1:
            starts.append(len(program.instructions))
        a, b = (source.choice(values[-8:]) for _ in range(2))
        result = program.new("i32", source.choice((1, 16, 40)))
        program.emit("add", result, whole(a), whole(b))
        values.append(result)
        if starts and source.random() < 0.1:
            program.loops.append((starts.pop(), len(program.instructions) - 1))
    return program


@pytest.mark.parametrize("seed", range(20))
def test_buffers_in_use_together_do_not_overlap(seed: int) -> None:
    program = random_program(seed)

    frame = allocate(program)

    spans = lifetimes(program)
    for a, (first, last) in spans.items():
        for b, (start, end) in spans.items():
            if a < b and first <= end and start <= last:
                one, other = frame.offsets[a], frame.offsets[b]
                assert one + program.sizes[a] <= other or other + program.sizes[b] <= one
    assert all(frame.offsets[buffer] + program.sizes[buffer] <= frame.size for buffer in spans)


def carried(read_before_move: bool) -> Program:
    """A loop whose variable gets a new value; the old one is read after that is computed, or not."""
    program = Program(frozenset({"add", "move"}))
    start, variable, new = program.constant("i32", bytes(4)), program.new("i32", 1), program.new("i32", 1)
    program.move(variable, start)
    program.emit("add", new, whole(start), whole(start))
    if read_before_move:
        program.emit("add", program.new("i32", 1), whole(variable), whole(new))
    program.move(variable, new)
    program.loops.append((1, len(program.instructions) - 1))
    program.emit("add", program.new("i32", 1), whole(variable), whole(variable))
    return program


@pytest.mark.parametrize("read_before_move", [False, True])
def test_a_carried_value_is_computed_in_its_variable_unless_that_is_still_read(read_before_move: bool) -> None:
    program = carried(read_before_move)

    allocate(program)

    move = [instruction for instruction in program.instructions if instruction.name == "move"][-1]
    assert (move.out == move.operands[0]) == (not read_before_move)
