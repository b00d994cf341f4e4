"""The machine as a shared library: compiled once on a computer, and kept in a cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.triton_native.build import COMMON, SOURCES, UNITS, Build, begin
from fuzz_decode.triton_native.unsupported import Unsupported


@dataclass(frozen=True, slots=True)
class Machine:
    library: ctypes.CDLL
    opcodes: dict[str, int]


@functools.cache
def machine() -> Machine:
    """The library and its operations. Raises Unsupported."""
    try:
        library = ctypes.CDLL(str(_library()))
    except OSError as error:
        raise Unsupported(f"this computer: its library cannot be built or loaded ({error})") from error
    library.machine_operation.restype = ctypes.c_char_p
    library.machine_run.argtypes = library.machine_free.argtypes = [ctypes.c_void_p]
    library.machine_run.restype = library.machine_free.restype = None
    opcodes: dict[str, int] = {}
    number = 0
    while name := library.machine_operation(number):
        opcodes.setdefault(name.decode(), number)
        number += 1
    return Machine(library, opcodes)


def cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "fuzz-decode" / "native"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        folder = Path(tempfile.gettempdir()) / f"fuzz-decode-native-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise Unsupported(f"the cache folder {folder}, which belongs to another user")
    return folder


@functools.cache
def source_digest() -> str:
    """Of this package: what a cached kernel or library depends on."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".c", ".h"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


_begun: list[Build] = []  # at most one


def begin_build() -> None:
    """Have the machine compiled, unless it is, or another process is at it: for the time in which a process imports torch.
    `machine` waits for it, and says what went wrong."""
    with contextlib.suppress(Unsupported, OSError):
        if not _begun and (build := begin(_path(), wait=False)):
            _begun.append(build)


def _library() -> Path:
    path = _path()
    if build := _begun.pop() if _begun else begin(path, wait=True):
        build.finish()
    return path


def _path() -> Path:
    return cache_folder() / f"machine-{_digest_of_build()}.so"


def _digest_of_build() -> str:
    """Of the sources, and of the CPU that they are compiled for: a home folder may be shared by several computers."""
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.read_bytes())
    digest.update(repr((COMMON, UNITS, platform.machine(), _cpu())).encode())
    return digest.hexdigest()[:24]


def _cpu() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    return sorted({line for line in lines if line.lower().startswith(("flags", "features", "model name", "cpu part"))})
