"""What a target prints: its worker's streams are a pipe, of which the parent keeps the end."""

from __future__ import annotations

import contextlib
import os
import threading
from multiprocessing.connection import Connection

LIMIT = 2**16  # bytes that are kept
BEGIN = b"\0fuzz-decode: the next case\0\n"  # in the pipe, before what a case prints


def begin_output(output: Connection) -> None:
    """Send to `output` what is printed from now on, and mark that what came before belongs to another case."""
    with contextlib.suppress(OSError):  # a target closed it
        for stream in (1, 2):  # each time: a target may have closed or redirected them
            os.dup2(output.fileno(), stream)
        os.write(output.fileno(), BEGIN)


class OutputTail:
    """The end of what arrives in a pipe. A thread empties it, so that nobody who prints has to wait for the parent; it ends when
    the last process that can print has ended."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._tail = pipe, b""
        self._thread = threading.Thread(target=self._collect, name="fuzz-decode-output", daemon=True)
        self._thread.start()

    def text(self, seconds: float) -> str:
        """What the last case printed. To be called when the process has ended; waits at most `seconds` for what is under way."""
        self._thread.join(seconds)
        return self._tail.rpartition(BEGIN)[2].decode(errors="replace").replace("\0", "").strip()

    def _collect(self) -> None:
        with self._pipe:
            while new := os.read(self._pipe.fileno(), LIMIT):
                self._tail = (self._tail + new)[-LIMIT:]
