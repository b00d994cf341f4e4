"""The folder in which multiprocessing makes its sockets. Their paths may have some 100 bytes, and TMPDIR alone may have more."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir

from fuzz_decode.errors import UsageError

LONGEST = 103  # bytes of a socket's path: 107 on Linux, 103 on macOS
IN_BASE = len("/pymp-12345678/listener-12345678")
IN_FOLDER = len("/listener-12345678")
BASES = ("/tmp", "/var/tmp")  # whose paths are short enough


def socket_folder() -> str:
    """multiprocessing's own folder in this process, which removes it at its end. Raises UsageError if its path is too long."""
    with _short_base():
        folder = get_temp_dir()  # makes it in the first call
    if _is_too_long(folder, IN_FOLDER):
        limit = LONGEST - IN_BASE
        raise UsageError(f"TMPDIR: sockets cannot be made in {folder}; set it to a folder whose path has at most {limit} bytes")
    return folder


@contextlib.contextmanager
def _short_base() -> Iterator[None]:
    """Meanwhile temporary folders are made where TMPDIR says, or in a folder with a shorter path if that one is too long."""
    base = tempfile.gettempdir()
    if _is_too_long(base, IN_BASE):
        tempfile.tempdir = next((short for short in BASES if os.access(short, os.W_OK | os.X_OK)), base)
    try:
        yield
    finally:
        tempfile.tempdir = base


def _is_too_long(folder: str, more: int) -> bool:
    return len(os.fsencode(folder)) + more > LONGEST
