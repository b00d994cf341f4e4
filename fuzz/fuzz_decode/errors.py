"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz_decode.text import one_line

SHORT = 300  # characters of what is wrong with a file


class UsageError(Exception):
    """Bad input: one sentence that names what was wrong and what would be right. The command line exits with 2."""


class CaseError(UsageError):
    """A case or case file that does not describe a decode problem; the sentence names the field."""


class FileError(UsageError):
    """A file that does not load; the sentence begins with its name."""

    def __init__(self, path: Path, what: object) -> None:
        super().__init__(f"{path}: {one_line(what, SHORT)}")
        self.path = path


class TargetError(UsageError):
    """A target that cannot be imported, found or called."""


class HarnessError(Exception):
    """A fault of fuzz-decode itself, with its traceback as text. Never blamed on a target; the command line exits with 2."""


def raise_all(errors: Sequence[HarnessError]) -> None:
    """Raise faults that were put off until the work was done, as one; do nothing if there are none."""
    if errors:
        raise HarnessError("\n\n".join(str(error).strip() for error in errors))


def complain(error: object) -> None:
    """One line on stderr, for a person. GitHub's runner would take ##[word] for a command wherever it stands in a line."""
    line = one_line(" ".join(str(error).split())).replace("##[", "# #[")
    print(f"fuzz-decode: error: {line}", file=sys.stderr)
