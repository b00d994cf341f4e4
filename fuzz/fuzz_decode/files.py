"""Small text files: written whole or not at all, and read up to a limit."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from fuzz_decode.errors import FileError, UsageError

MAX_BYTES = 2**20


def read_whole(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The contents of a regular file of at most `limit` bytes: a pipe or a device may never end. Raises FileError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(path, "is no regular file")
        with open(path, "rb") as file:
            data = file.read(limit + 1)  # not its size, which is 0 for files of /proc
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise FileError(path, f"is larger than {limit} bytes; such files are much smaller")
    return data


def write_whole(path: Path, text: str, *, durable: bool = True) -> None:
    """Write to a temporary file of the same folder, then rename it to `path`, even if that is a link. Raises FileError. What is
    not `durable` may be empty or torn after a power failure."""
    temporary = path.with_name(f".{path.name[:40]}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise FileError(path, f"cannot be written: {error.strerror}") from error


def sweep_temporary(folder: Path) -> None:
    """Remove the temporary files of `write_whole` in processes of this machine that were killed."""
    for path in folder.glob(f".*.{os.uname().nodename}.*.tmp"):
        writer = path.name.split(".")[-2]
        if writer.isdecimal() and not _is_alive(int(writer)):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def write_report(path: Path, text: str) -> None:
    """`write_whole` for a file that the user named, but write into a link, a pipe or /dev/stdout. Raises FileError."""
    if not path.is_symlink() and (path.is_file() or not path.exists()):
        write_whole(path, text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror}") from error


def corpus_must_be_writable(corpus: Path) -> None:
    """To find out before the campaign, not after. Raises UsageError if `corpus` is no folder that exists or can be made."""
    existing = next(folder for folder in (corpus, *corpus.absolute().parents) if os.path.lexists(folder))
    if not os.path.isdir(existing):
        kind = "a file" if os.path.exists(existing) else "a link to nothing"
        where = "" if existing == corpus else f": {existing}"
        raise UsageError(f"corpus {corpus}{where} is {kind}; it must be a folder, or not exist yet")
    if problem := _why_not_writable(existing):
        raise UsageError(f"corpus {corpus}: no file can be made in {existing}: {problem}")


def must_be_writable(option: str, path: Path | None) -> None:
    """To find out before the work, not after. Raises UsageError if `path` is given and cannot be written as a file."""
    if path is None:
        return
    if os.path.exists(path) and not os.path.isfile(path):
        refused = os.path.isdir(path) or not os.access(path, os.W_OK)  # a pipe or a device is written in place
    else:
        refused = bool(_why_not_writable(Path(os.path.realpath(path)).parent))
    if refused:
        raise UsageError(f"{option} {path}: must be a file in a folder that exists and can be written")


def _why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder; empty if one can. Permissions alone do not tell: nobody can make one in /proc."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__
