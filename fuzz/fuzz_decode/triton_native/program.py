"""A program of the machine under construction: instructions on numbered buffers, which have no place yet."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import NewType

from fuzz_decode.triton_native.locations import Line
from fuzz_decode.triton_native.operations import POINTER
from fuzz_decode.triton_native.unsupported import Unsupported

Label = NewType("Label", int)

SIZES = {
    **dict.fromkeys(("i1", "i8", "f8E4M3FN", "f8E5M2", "f8E4M3FNUZ", "f8E5M2FNUZ"), 1),
    **dict.fromkeys(("i16", "f16", "bf16"), 2),
    **dict.fromkeys(("i32", "f32"), 4),
    **dict.fromkeys(("i64", "f64", POINTER), 8),
}
OF_SIZE = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}
JUMPS = ("jump", "jump_unless")
PROGRAM_IDS = 0  # the buffer that the machine fills: six int32


@dataclass(frozen=True, slots=True)
class View:
    """Elements of a buffer that stand for a block of rows x columns: (r, c) is element r * row + c * column."""

    rows: int
    columns: int
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Value:
    """A block in a buffer: dense, or one element that stands for all (uniform), or seen through a view."""

    buffer: int
    dtype: str
    count: int
    uniform: bool = False
    view: View | None = None
    offset: int = 0
    """Of its first element, in bytes."""

    @property
    def size(self) -> int:
        return SIZES[self.dtype]

    @property
    def dense(self) -> bool:
        return self.count == 1 or (not self.uniform and self.view is None)

    @property
    def stored(self) -> int:
        """How many elements the buffer holds."""
        if self.uniform:
            return 1
        return self.count if self.view is None else (self.view.rows if self.view.row else self.view.columns)


@dataclass(frozen=True, slots=True)
class Operand:
    buffer: int
    offset: int
    row: int
    column: int
    size: int


@dataclass(slots=True)
class Instruction:
    name: str
    rows: int
    columns: int
    out: Operand | None
    operands: list[Operand | None]
    extra: list[int]
    line: Line

    @property
    def copies(self) -> bool:
        """Whether it only moves a whole buffer to another one."""
        return self.name == "move" and self.out is not None and self.operands[0] is not None and self.operands[0].offset == 0


@dataclass(slots=True)
class Program:
    operations: frozenset[str]
    """The names that the machine knows."""
    sizes: list[int] = field(default_factory=lambda: [24])
    """Bytes of each buffer."""
    instructions: list[Instruction] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    """Positions of instructions."""
    loops: list[tuple[int, int]] = field(default_factory=list)
    """First and last instruction of each."""
    tables: list[int] = field(default_factory=list)
    constants: dict[int, bytes] = field(default_factory=dict)
    """Contents of buffers that are written before the program starts."""
    parameters: dict[str, Value] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)
    """Of assertions, by their position."""
    scratch: int = 0
    """Bytes of float32 copies of the operands of a dot."""
    line: Line = field(default_factory=Line)
    """Of the operation that is being translated."""

    def new(self, dtype: str, count: int) -> Value:
        self.sizes.append(SIZES[dtype] * count)
        return Value(len(self.sizes) - 1, dtype, count)

    def constant(self, dtype: str, contents: bytes, count: int = 1) -> Value:
        value = self.new(dtype, count)
        self.constants[value.buffer] = contents
        return value

    def integer(self, number: int, dtype: str) -> Value:
        return self.constant(dtype, number.to_bytes(SIZES[dtype], "little", signed=number < 0))

    def table(self, numbers: list[int]) -> int:
        self.tables += numbers
        return len(self.tables) - len(numbers)

    def label(self) -> Label:
        self.labels.append(-1)
        return Label(len(self.labels) - 1)

    def place(self, label: Label) -> None:
        self.labels[label] = len(self.instructions)

    def emit(
        self,
        name: str,
        out: Value | None,
        *operands: Operand | None,
        shape: tuple[int, int] | None = None,
        extra: tuple[int, ...] = (),
    ) -> None:
        if name not in self.operations:
            raise Unsupported(name, self.line)
        rows, columns = shape or (1, out.stored if out else 1)
        target = whole(out) if out else None
        filled = [*operands, None, None, None][:3]
        self.instructions.append(Instruction(name, rows, columns, target, filled, [*extra], self.line))

    def jump(self, label: Label, unless: Value | None = None) -> None:
        self.emit("jump_unless" if unless else "jump", None, whole(unless) if unless else None, extra=(label,))

    def move(self, target: Value, source: Value) -> None:
        """Into a dense value's buffer."""
        if source.dense:
            self.emit("move", target, whole(source))
        else:
            view = source.view or View(1, source.count, 0, 0)
            table = self.table([2, view.rows, view.columns, view.row, view.column])
            self.emit("copy", target, whole(source), extra=(table, 0))

    def densely(self, value: Value) -> Value:
        if value.dense:
            return value
        result = self.new(value.dtype, value.count)
        self.move(result, value)
        return result

    def strided(self, value: Value, shape: list[int], strides: list[int], first: int = 0) -> Value:
        """A dense block whose element at each index of `shape` is that of the dense `value` at the index times `strides`."""
        count = 1
        for length in shape:
            count *= length
        result = self.new(value.dtype, count)
        kept = [(length, stride) for length, stride in zip(shape, strides, strict=True) if length > 1]
        table = self.table([len(kept), *(length for length, _ in kept), *(stride for _, stride in kept)])
        self.emit("copy", result, whole(value), extra=(table, first))
        return result


def whole(value: Value) -> Operand:
    """A value in one row."""
    return Operand(value.buffer, value.offset, 0, int(not value.uniform and value.count > 1), value.size)


def packed(dtype: str, number: float) -> bytes:
    """A number in an element's format."""
    if dtype in ("f16", "f32", "f64"):
        return struct.pack({"f16": "<e", "f32": "<f", "f64": "<d"}[dtype], number)
    if dtype == "bf16":
        return struct.pack("<f", number)[2:]
    if dtype.startswith("f8"):
        return _float8(dtype, number)
    return int(number).to_bytes(SIZES[dtype], "little", signed=number < 0)


def _float8(dtype: str, number: float) -> bytes:
    import torch

    formats = {
        "f8E4M3FN": torch.float8_e4m3fn,
        "f8E5M2": torch.float8_e5m2,
        "f8E4M3FNUZ": torch.float8_e4m3fnuz,
        "f8E5M2FNUZ": torch.float8_e5m2fnuz,
    }
    return bytes([int(torch.tensor(number).to(formats[dtype]).view(torch.uint8))])
