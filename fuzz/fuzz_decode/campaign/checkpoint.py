"""Where a campaign is, in a small file beside the cases that it has found, so that one that was killed goes on from there.

The file is replaced as a whole, a few times a minute, and gone once the campaign is over. Findings are in the corpus before they
are in here; what was run since the last time is run again.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.errors import FileError, UsageError
from fuzz_decode.files import read_whole, write_whole

NAME = ".campaign"  # unlike case files it does not end in .json
SECONDS = 2.0  # between two writes
SHARE = 50  # of the time, at most, that writing takes: what is covered grows with the campaign
LIMIT = 2**26  # bytes
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
    """Keeps a campaign's `state` in `path`, together with what identifies its cases: `of`, plain data by name."""

    path: Path
    of: dict[str, Any]
    _due: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    _made: bool = False

    def read(self) -> dict[str, Any] | None:
        """The state; None if there is none. Raises UsageError if it is another campaign's."""
        if not self.path.exists():
            return None
        try:
            data = json.loads(read_whole(self.path, LIMIT))
            of, state = data["of"], data["state"]
            differing = [name for name in self.of if of[name] != self.of[name]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileError(self.path, f"is not what a campaign wrote: {str(error)[:120]}; remove it") from error
        for name in differing:
            there, here = f"{name} {of[name]}"[:200], f"{name} {self.of[name]}"[:200]
            again = "give the options that it was started with, or leave --resume out to begin anew"
            raise UsageError(f"--resume: {self.path} is of a campaign with {there}, not {here}; {again}")
        return dict(state)

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    def write(self, state: dict[str, Any]) -> None:
        started = time.monotonic()
        self._made = self._made or not self.path.parent.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps({"of": self.of, "state": state}, sort_keys=True) + "\n")
        now = time.monotonic()
        self._due = now + max(SECONDS, SHARE * (now - started))

    def remove(self) -> None:
        """The campaign is over. A folder that was made for the journal alone goes, too."""
        self.path.unlink(missing_ok=True)
        if self._made:
            with contextlib.suppress(OSError):  # cases are in there
                self.path.parent.rmdir()


def as_text(space: CaseSpace) -> dict[str, str]:
    """The limits of a target's space, the same text in every process and version: checkpoints are compared by it."""
    values = {name: getattr(space, name) for name in OF_A_TARGET}
    texts = {
        name: str(sorted(value) if isinstance(value, frozenset) else value) for name, value in values.items() if value is not None
    }
    return texts | {"strides": texts["strides"].replace("StrideRules(", "Strides(")}  # the name in every checkpoint
