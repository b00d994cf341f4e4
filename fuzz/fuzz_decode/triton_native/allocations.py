"""What the machine knows of memory that the target allocated: the marks of bytes that nothing wrote (machine/unwritten.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from fuzz_decode.launches.unwritten import allocations

NEVER_WRITTEN, UNDEFINED_STORED = b"\1", 2  # marks


class MachineAllocation(ctypes.Structure):
    _fields_ = [
        ("marks", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("fill", "mark", "program", "instruction")),
    ]


def machine_allocations(starts: Sequence[int]) -> Any:
    """An array by the numbers of storages, from their first addresses; None: all of them are written."""
    known = allocations()
    found = {number: known.unwritten_at(start) for number, start in enumerate(starts) if start in known} if known else {}
    if not any(found.values()):
        return None
    array = (MachineAllocation * len(starts))()
    for number, allocation in found.items():
        if allocation is not None:
            if allocation.marks is None:
                allocation.marks = (ctypes.c_uint8 * allocation.bytes).from_buffer(bytearray(NEVER_WRITTEN) * allocation.bytes)
            array[number].marks, array[number].fill = ctypes.addressof(allocation.marks), allocation.fill
    return array
