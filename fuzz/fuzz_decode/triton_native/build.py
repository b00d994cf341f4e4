"""Compiles the machine with this computer's C compiler. Who begins it can do something else until it has to be finished."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

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
PREFIX, ABANDONED = "build-", 3600.0  # of folders; seconds


def compiler() -> str | None:
    """The path of the C compiler, $CC first."""
    return next((path for name in (os.environ.get("CC", ""), *COMPILERS) if name and (path := shutil.which(name))), None)


@dataclass(frozen=True, slots=True)
class Build:
    """Compilers at work, one for each unit, in a folder of their own next to the library's place."""

    target: Path
    compiler: str
    folder: Path
    running: list[subprocess.Popen[str]]
    lock: BinaryIO
    """Open, and so locked, until the library is there: other processes wait for it."""

    def finish(self) -> None:
        """Wait for them, and put the library in its place. Raises Unsupported if no way of compiling works."""
        with self.lock:
            try:
                error = _failure(self.running) or _link(self.compiler, self.folder)
                for flags in FOR_THIS_CPU[1:]:
                    if error is None:
                        break
                    error = _failure(_compile(self.compiler, flags, self.folder)) or _link(self.compiler, self.folder)
                if error is not None:
                    raise Unsupported(f"the C compiler {self.compiler}, which fails: {error}")
                os.replace(self.folder / "machine.so", self.target)
            finally:
                shutil.rmtree(self.folder, ignore_errors=True)


def begin(target: Path, *, wait: bool) -> Build | None:
    """Start compiling. None if the library is there, or if another process is at it, for which it may wait. Raises Unsupported if
    there is no compiler."""
    if target.exists():
        return None
    path = compiler()
    if path is None:
        raise Unsupported("this computer: no C compiler was found (cc, gcc or clang, or the one that CC names)")
    lock = _lock(target.parent, wait=wait)
    if lock is None:
        return None
    if target.exists():
        lock.close()
        return None
    _remove_abandoned(target.parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
    return Build(target, path, folder, _compile(path, FOR_THIS_CPU[0], folder), lock)


def _lock(folder: Path, *, wait: bool) -> BinaryIO | None:
    """A file that is locked while it is open; None if another process has it."""
    lock = open(folder / "build.lock", "wb")  # noqa: SIM115  # closed by whoever gets it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        lock.close()
        return None
    except OSError:
        pass  # a file system without locks: several processes compile the same
    return lock


def _remove_abandoned(parent: Path) -> None:
    """Folders of processes that were killed."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)


def _compile(path: str, flags: tuple[str, ...], folder: Path) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [path, *COMMON, *flags, *levels, "-c", str(SOURCES / name), "-o", str(folder / f"{name}.o")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, levels in UNITS.items()
    ]


def _failure(running: list[subprocess.Popen[str]]) -> str | None:
    """What the first compiler that failed said."""
    said = [process.communicate()[1] for process in running]
    failed = (text.strip().splitlines() for text, process in zip(said, running, strict=True) if process.returncode)
    return next(((lines or ["no message"])[0] for lines in failed), None)


def _link(path: str, folder: Path) -> str | None:
    """What the compiler says if it fails."""
    link = [path, "-shared", *(str(folder / f"{name}.o") for name in UNITS), "-lm", "-o", str(folder / "machine.so")]
    done = subprocess.run(link, stderr=subprocess.PIPE, text=True)
    return (done.stderr.strip() or "no message") if done.returncode else None
