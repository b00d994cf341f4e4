"""The machine as a shared library: compiled once on a computer by its C compiler, and kept in a cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.triton_native.unsupported import Unsupported

SOURCES = Path(__file__).parent / "machine"
COMMON = ("-std=gnu11", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
FOR_THIS_CPU = (  # the first that the compiler takes; vectorised remainders of loops cost gcc half of its time, and gain nothing
    ("-march=native", "--param=vect-epilogues-nomask=0"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
VECTORISED, SHORT = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic"), ("-Og",)
UNITS = {
    "machine.c": (*VECTORISED, "-ffp-contract=fast"),  # products of dots are fused
    "fast.c": VECTORISED,
    "plain.c": SHORT,
    "atomics.c": SHORT,
}
COMPILERS = ("cc", "gcc", "clang")


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


def compiler() -> str | None:
    """The path of the C compiler, $CC first."""
    return next((path for name in (os.environ.get("CC", ""), *COMPILERS) if name and (path := shutil.which(name))), None)


def _library() -> Path:
    path = cache_folder() / f"machine-{_digest_of_build()}.so"
    if not path.exists():
        _build(path)
    return path


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


def _build(target: Path) -> None:
    path = compiler()
    if path is None:
        raise Unsupported("this computer: no C compiler was found (cc, gcc or clang, or the one that CC names)")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for native in FOR_THIS_CPU:
            error = _try_to_build(path, native, Path(folder))
            if error is None:
                break
        else:
            raise Unsupported(f"the C compiler {path}, which fails: {error}")
        os.replace(Path(folder) / "machine.so", target)


def _try_to_build(path: str, native: tuple[str, ...], folder: Path) -> str | None:
    """What the compiler says if it fails."""
    flags = [*COMMON, *native]
    commands = [
        [path, *flags, *levels, "-c", str(SOURCES / name), "-o", str(folder / f"{name}.o")] for name, levels in UNITS.items()
    ]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in running:
        _, error = process.communicate()
        if process.returncode:
            for other in running:
                other.kill()
                other.wait()
            return (error.strip().splitlines() or ["no message"])[0]
    link = [path, "-shared", *(str(folder / f"{name}.o") for name in UNITS), "-lm", "-o", str(folder / "machine.so")]
    done = subprocess.run(link, stderr=subprocess.PIPE, text=True)
    return done.stderr.strip() if done.returncode else None
