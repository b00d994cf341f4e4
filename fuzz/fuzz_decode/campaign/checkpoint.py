"""How far a campaign is, in a small file beside its findings, so that a campaign that was killed can be resumed.

The file is replaced as a whole, some times a minute, and removed when the campaign is over. Findings reach the corpus before they
are listed in this file; cases run since the last write are run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.errors import FileError, UsageError
from fuzz_decode.files import read_whole, write_whole

NAME = ".campaign"  # unlike case files it does not end in .json
SECONDS = 2.0  # between two writes
SHARE = 50  # times as long as a write took until the next one: the state grows with the campaign
MAX_BYTES = 2**26

OF_A_TARGET = (  # fields of a CaseSpace that depend on the target
    "head_dims",
    "value_head_dims",
    "block_sizes",
    "groups",
    "num_kv_heads",
    "dtypes",
    "cache_dtypes",
    "options",
    "min_seq_len",
    "strides",
)


@dataclass(slots=True)
class Checkpoint:
    """Keeps the state of one campaign in a file."""

    path: Path
    identity: dict[str, Any]
    """name to value of all that decides which cases are drawn; a campaign with other values is not resumed"""
    _due: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    _made_folder: bool = False
    _lock: int | None = None
    """descriptor of the folder, locked as long as it is open: a campaign that is killed leaves no lock"""

    def claim(self) -> bool:
        """Whether the file is this campaign's: no other campaign that runs keeps its own there. Makes its folder.

        Raises FileError if that cannot be.
        """
        while self._lock is None:
            self._make_folder()
            with contextlib.suppress(FileNotFoundError):  # another campaign has ended and removed it meanwhile
                if not self._lock_folder():
                    return False
        return True

    def _make_folder(self) -> None:
        folder = self.path.parent
        self._made_folder = self._made_folder or not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(self.path, f"cannot be written: {error.strerror}") from error

    def _lock_folder(self) -> bool:
        """Lock the folder, unless another campaign has. Raises FileNotFoundError if it is gone."""
        with contextlib.ExitStack() as undo:
            folder = os.open(self.path.parent, os.O_RDONLY)
            undo.callback(os.close, folder)
            if not _lock(folder):
                return False
            if os.path.samestat(os.fstat(folder), self.path.parent.stat()):  # not removed and made again
                self._lock = folder
                undo.pop_all()
        return True

    def read(self) -> dict[str, Any] | None:
        """The state that was written; None if there is no file. Raises UsageError if it is the state of another campaign."""
        if not self.path.exists():
            return None
        try:
            data = json.loads(read_whole(self.path, MAX_BYTES))
            identity, state = data["of"], data["state"]
            differing = [name for name in self.identity if identity[name] != self.identity[name]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileError(self.path, f"is not what a campaign wrote: {str(error)[:120]}; remove it") from error
        for name in differing:
            stored, given = f"{name} {identity[name]}"[:200], f"{name} {self.identity[name]}"[:200]
            remedy = "give the options that it was started with, or leave --resume out to begin anew"
            raise UsageError(f"--resume: {self.path} is of a campaign with {stored}, not {given}; {remedy}")
        return dict(state)

    @property
    def due(self) -> bool:
        """Whether it is time for the next write."""
        return time.monotonic() >= self._due

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file, unless it is another campaign's. Raises FileError if it cannot be written."""
        started = time.monotonic()
        if not self.claim():
            return
        write_whole(self.path, json.dumps({"of": self.identity, "state": state}, sort_keys=True) + "\n")
        now = time.monotonic()
        self._due = now + max(SECONDS, SHARE * (now - started))

    def remove(self) -> None:
        """The campaign is over: remove the file."""
        if self.claim():
            with contextlib.suppress(OSError):  # there is none, or it may not be removed
                self.path.unlink()

    def close(self) -> None:
        """Let others have the file, and remove its folder if that was made for this file and holds nothing."""
        if self._made_folder:
            with contextlib.suppress(OSError):  # it holds findings
                self.path.parent.rmdir()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _lock(folder: int) -> bool:
    """Lock an open folder, unless another process has. Where the file system has no locks, all have it."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def as_text(space: CaseSpace) -> dict[str, str]:
    """The limits of a target's space, the same text in every process and version: checkpoints are compared by it."""
    values = {name: getattr(space, name) for name in OF_A_TARGET}
    texts = {
        name: str(sorted(value) if isinstance(value, frozenset) else value) for name, value in values.items() if value is not None
    }
    finite = {"finite": str(space.finite)} if space.finite else {}  # older checkpoints have none
    return texts | finite | {"strides": texts["strides"].replace("StrideRules(", "Strides(")}  # the name in every checkpoint
