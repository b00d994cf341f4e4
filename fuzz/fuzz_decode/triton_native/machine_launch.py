"""A launch of the machine: its frame, the storages of its arguments, and what it reports."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fuzz_decode.launches.record import OutOfBoundsAccess, Place, UndefinedUse, UnwrittenRead
from fuzz_decode.triton_native.allocations import UNDEFINED_STORED, machine_allocations
from fuzz_decode.triton_native.code import Code
from fuzz_decode.triton_native.launch_report import LaunchReport
from fuzz_decode.triton_native.library import machine
from fuzz_decode.triton_native.program import SIZES, packed

ADDRESS_BITS = 48
MASKS = {dtype: 1 if dtype == "i1" else (1 << 8 * size) - 1 for dtype, size in SIZES.items() if not dtype.startswith(("f", "bf"))}
USES = ("store", "address", "mask", "branch")  # in the order of machine.h
MOST_USES, UNWRITTEN = 8, 2  # as in machine.h


class _Use(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("use", "pointer", "program", "instruction", "origin")]


class _Report(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outside_elements", "outside_pointer", "outside_program", "outside_instruction")),
        *((name, ctypes.c_int64) for name in ("outside_size", "outside_stored", "undefined_elements", "undefined_uses")),
        ("undefined", _Use * MOST_USES),
        ("assertion", ctypes.c_int64),
    ]


class _Machine(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("code", "tables", "frame", "shadow", "flags", "starts", "ends", "allocations")),
        *((name, ctypes.c_int64) for name in ("tensors", "storages")),
        ("order", ctypes.c_void_p),
        ("programs", ctypes.c_int64),
        ("grid", ctypes.c_int32 * 3),
        ("keep_reads", ctypes.c_int32),
        ("reads", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("reads_count", "reads_capacity")),
        ("report", _Report),
        ("scratch", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("program", "next", "recent_start", "recent_bytes", "frame_bytes", "flags_bytes")),
        *((name, ctypes.c_int64) for name in ("interleaved", "turn", "resumed_at", "jumps_left", "switches_left")),
    ]


class Launch:
    def __init__(self, memory: Memory, arguments: Mapping[str, Any], grid: tuple[int, int, int], others: Iterable[Any]) -> None:
        self._code, self._memory, self._grid = memory.code, memory, grid
        self._names: list[str] = []
        tensors: list[Any] = []
        for name, offset, dtype in memory.code.parameters:
            argument = arguments[name]
            if hasattr(argument, "data_ptr"):
                self._names.append(name)
                tensors.append(argument)
                memory.write(offset, _pointer(argument, len(tensors)))
            else:
                memory.write(offset, _element(dtype, argument))
        tensors += others
        self._tensors = tensors
        self._starts, self._ends = _storages(tensors)
        self._machine = machine = _Machine.from_buffer_copy(memory.machine)
        machine.grid[:] = grid
        machine.programs = grid[0] * grid[1] * grid[2]
        machine.tensors, machine.storages = len(self._names), len(tensors)
        machine.starts, machine.ends = self._starts.buffer_info()[0], self._ends.buffer_info()[0]
        self._allocations = machine_allocations(self._starts)
        if self._allocations is not None:
            machine.allocations = ctypes.addressof(self._allocations)

    def order(self, order: str | int) -> None:
        """ "forward", "backward", or the seed of a random order, in which programs are interleaved, too."""
        if order == "forward":
            return  # the machine's own order
        programs = np.arange(self._machine.programs, dtype=np.int64)[::-1].copy()
        if order != "backward":
            np.random.default_rng(int(order)).shuffle(programs)
            self._machine.interleaved = True
        self._order = programs
        self._machine.order = programs.ctypes.data

    def run(self, keep_reads: bool) -> None:
        self._machine.keep_reads = keep_reads
        machine().library.machine_run(ctypes.byref(self._machine))

    def report(self) -> LaunchReport:
        found, reads = self._machine.report, self._reads()
        return LaunchReport(
            outside=self._outside(found) if found.outside_elements else None,
            outside_elements=found.outside_elements,
            undefined=tuple(map(self._undefined, found.undefined[: found.undefined_uses])),
            undefined_elements=found.undefined_elements,
            failed_assertion=self._code.messages[str(found.assertion - 1)] if found.assertion else None,
            reads=reads,
        )

    def _reads(self) -> Any:
        if not self._machine.keep_reads:
            return None
        count = self._machine.reads_count
        pointer = ctypes.cast(self._machine.reads or 0, ctypes.POINTER(ctypes.c_int64))
        reads = np.unique(np.ctypeslib.as_array(pointer, (count,))) if count else np.zeros(0, np.int64)
        machine().library.machine_free(ctypes.byref(self._machine))
        return reads

    def _outside(self, found: _Report) -> OutOfBoundsAccess:
        pointer, size = found.outside_pointer, found.outside_size
        number = self._nearest(pointer, size)
        start, end = self._starts[number], self._ends[number]
        address = pointer - (pointer >> ADDRESS_BITS << ADDRESS_BITS)
        before = address < start
        gap = address - start if before else address + size - end
        return OutOfBoundsAccess(
            tensor=self._name(number),
            elements=gap // size if before else -(-gap // size),
            bytes=gap,
            stored=bool(found.outside_stored),
            place=self._place(found.outside_program, found.outside_instruction),
        )

    def _nearest(self, pointer: int, size: int) -> int:
        """The number of the tensor that the pointer was made from, or else of the nearest one."""
        number = pointer >> ADDRESS_BITS
        if 0 < number <= len(self._names) or len(self._starts) < 2:
            return number
        gaps = [max(start - pointer, pointer + size - end) for start, end in zip(self._starts[1:], self._ends[1:], strict=True)]
        return 1 + int(np.argmin(gaps))

    def _undefined(self, found: _Use) -> UndefinedUse:
        return UndefinedUse(
            use=USES[found.use],
            tensor=self._name(found.pointer >> ADDRESS_BITS),
            place=self._place(found.program, found.instruction),
            unwritten=self._unwritten(found.origin - UNWRITTEN) if found.origin >= UNWRITTEN else None,
        )

    def _unwritten(self, number: int) -> UnwrittenRead:
        tensor, load = self._tensors[number - 1], self._allocations[number]
        words = f"{self._name(number) or 'memory'}, {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        return UnwrittenRead(words, self._place(load.program, load.instruction), stored=load.mark == UNDEFINED_STORED)

    def _name(self, number: int) -> str:
        return self._names[number - 1] if 0 < number <= len(self._names) else ""

    def _place(self, program: int, instruction: int) -> Place:
        x, y, _ = self._grid
        file, line = self._code.lines[instruction]
        return Place(self._code.files[file], line, (program % x, program // x % y, program // (x * y)))


class Memory:
    """The frame of a kernel with its constants, its shadow, and its other memory. Launches use it one after the other."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._words, self._tables = np.frombuffer(code.words, np.int32), np.frombuffer(code.tables + b"\0" * 4, np.int32)
        self._frame, self._shadow, self._scratch = (_aligned(size) for size in (code.frame, code.frame, code.scratch))
        self._flags = np.zeros(code.flags, np.uint8)
        self._bytes = memoryview(self._frame)
        for offset, contents in code.constants:
            self.write(offset, bytes.fromhex(contents))
        self.machine = _Machine(
            code=self._words.ctypes.data,
            tables=self._tables.ctypes.data,
            frame=self._frame.ctypes.data,
            shadow=self._shadow.ctypes.data,
            flags=self._flags.ctypes.data,
            scratch=self._scratch.ctypes.data,
            frame_bytes=code.frame,
            flags_bytes=code.flags,
        )
        """What the machines of all launches begin with."""

    def write(self, offset: int, contents: bytes) -> None:
        self._bytes[offset : offset + len(contents)] = contents


def _pointer(tensor: Any, number: int) -> bytes:
    """A tensor as the kernel finds it: a pointer with the tensor's number."""
    return int(tensor.data_ptr() + (number << ADDRESS_BITS)).to_bytes(8, "little")


def _element(dtype: str, argument: Any) -> bytes:
    """A number as the kernel finds it."""
    if dtype in MASKS:
        return (int(argument or 0) & MASKS[dtype]).to_bytes(SIZES[dtype], "little")
    return packed(dtype, float(np.float32(argument)) if dtype in ("f32", "bf16") else float(argument))


def _aligned(size: int) -> Any:
    """Bytes from an address on that suits vector instructions."""
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


def _storages(tensors: Iterable[Any]) -> tuple[array[int], array[int]]:
    """First addresses and those behind the last one, from number 1 on."""
    starts, ends = array("q", [0]), array("q", [0])
    for start, end in map(_range, tensors):
        starts.append(start)
        ends.append(end)
    return starts, ends


def _range(tensor: Any) -> tuple[int, int]:
    tensor = getattr(tensor, "base", tensor) if not hasattr(tensor, "untyped_storage") else tensor
    storage = tensor.untyped_storage()
    start = storage.data_ptr()
    return start, start + storage.nbytes()
