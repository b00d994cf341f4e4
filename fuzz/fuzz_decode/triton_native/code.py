"""Programs as the machine takes them: every buffer has a place, every label is a position, every name an opcode."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_decode.errors import FileError
from fuzz_decode.files import write_whole
from fuzz_decode.triton_native.allocate import Frame, allocate
from fuzz_decode.triton_native.assemble import Scope
from fuzz_decode.triton_native.library import cache_folder, machine, source_digest
from fuzz_decode.triton_native.parameters import Kind, parameters
from fuzz_decode.triton_native.program import JUMPS, Instruction, Operand, Program
from fuzz_decode.triton_native.translations import TRANSLATIONS
from fuzz_decode.triton_native.ttir import parse


@dataclass(frozen=True, slots=True)
class Code:
    words: bytes
    """Instructions of 24 int32 each, as in machine.h."""
    tables: bytes
    frame: int
    """Bytes of the frame, which has all blocks."""
    scratch: int
    flags: int
    constants: tuple[tuple[int, str], ...]
    """Offset and hexadecimal contents."""
    parameters: tuple[tuple[str, int, str], ...]
    """Name, offset and type of an element."""
    files: tuple[str, ...]
    lines: tuple[tuple[int, int], ...]
    """File and line of each instruction."""
    messages: dict[str, str]
    """Of assertions, by their position."""


def assembled(text: str, kinds: Mapping[str, Kind]) -> Program:
    """The program of a module in Triton IR; up to Triton 3.6 that has no names of the parameters."""
    kernel, *others = parse(text)
    program = Program(frozenset(machine().opcodes))
    scope = Scope(program, {function.name: function for function in others}, TRANSLATIONS)
    for name, type in zip(parameters(kinds, len(kernel.types)), kernel.types, strict=True):
        program.parameters[name] = program.new(type.dtype, 1)
    scope.body(kernel, list(program.parameters.values()))
    return program


def encode(program: Program) -> Code:
    frame, opcodes = allocate(program), machine().opcodes
    fixed = {0, *program.constants, *(value.buffer for value in program.parameters.values())}  # without a flag
    kept = [number for number, instruction in enumerate(program.instructions) if not _is_idle(instruction)]
    positions = {old: new for new, old in enumerate(kept)}
    ends = [0] * (len(program.instructions) + 1)  # where an instruction, or the next one that is kept, went
    ends[-1] = len(kept)
    for old in reversed(range(len(program.instructions))):
        ends[old] = positions.get(old, ends[old + 1])
    words, files, lines = array("i"), dict[str, int](), []
    for instruction in (program.instructions[number] for number in kept):
        extra = list(instruction.extra)
        if instruction.name in JUMPS:
            extra[0] = ends[program.labels[extra[0]]]
        words.extend(_words(instruction, extra, frame, fixed, opcodes))
        lines.append((files.setdefault(instruction.line.file, len(files)), instruction.line.number))
    return Code(
        words=words.tobytes(),
        tables=array("i", program.tables).tobytes(),
        frame=frame.size,
        scratch=program.scratch,
        flags=len(program.sizes) + 1,
        constants=tuple((frame.offsets[buffer], contents.hex()) for buffer, contents in program.constants.items()),
        parameters=tuple((name, frame.offsets[value.buffer], value.dtype) for name, value in program.parameters.items()),
        files=tuple(files),
        lines=tuple(lines),
        messages={str(positions[position]): message for position, message in program.messages.items()},
    )


def _is_idle(instruction: Instruction) -> bool:
    """A move of a buffer to itself, which is left where a value was computed in its variable's place."""
    return instruction.copies and instruction.operands[0] == instruction.out


def _words(instruction: Instruction, extra: list[int], frame: Frame, fixed: set[int], opcodes: dict[str, int]) -> list[int]:
    blocks = [instruction.out, *instruction.operands]
    size = sum(block.size << 8 * place for place, block in enumerate(blocks) if block)
    words = [opcodes[instruction.name], size, instruction.rows, instruction.columns]
    for block in blocks:
        words += _operand(block, frame, fixed)
    return words + [*extra, 0, 0, 0, 0][:4]


def _operand(block: Operand | None, frame: Frame, fixed: set[int]) -> list[int]:
    if block is None:
        return [-1, 0, 0, 0]
    flag = 0 if block.buffer in fixed else block.buffer + 1
    return [frame.offsets[block.buffer] + block.offset, flag, block.row, block.column]


def kept(key: str, make: Callable[[], Code]) -> Code:
    """The code under this key on disk, or a new one, which is stored there."""
    path = cache_folder() / f"{hashlib.sha256((key + source_digest()).encode()).hexdigest()[:32]}.json"
    if (code := _read(path)) is None:
        code = make()
        with contextlib.suppress(FileError):
            write_whole(path, json.dumps(_to_json(code)), durable=False)
    return code


def _read(path: Path) -> Code | None:
    try:
        return _from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _to_json(code: Code) -> dict[str, Any]:
    fields = {name: getattr(code, name) for name in Code.__slots__}
    return {**fields, **{name: base64.b64encode(fields[name]).decode() for name in ("words", "tables")}}


def _from_json(fields: dict[str, Any]) -> Code:
    return Code(
        words=base64.b64decode(fields["words"]),
        tables=base64.b64decode(fields["tables"]),
        frame=int(fields["frame"]),
        scratch=int(fields["scratch"]),
        flags=int(fields["flags"]),
        constants=tuple((int(offset), str(contents)) for offset, contents in fields["constants"]),
        parameters=tuple((str(name), int(offset), str(dtype)) for name, offset, dtype in fields["parameters"]),
        files=tuple(fields["files"]),
        lines=tuple((int(file), int(line)) for file, line in fields["lines"]),
        messages=dict(fields["messages"]),
    )
