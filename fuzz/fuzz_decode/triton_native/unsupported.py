"""What the engine cannot run."""

from __future__ import annotations

from fuzz_decode.triton_native.locations import Line


class Unsupported(Exception):
    """The engine cannot run this kernel; one sentence names the operation and the line of the kernel."""

    def __init__(self, what: str, line: Line | None = None) -> None:
        where = f" ({line.file}, line {line.number})" if line and line.number else ""
        super().__init__(f"the native engine does not support {what}{where}")
