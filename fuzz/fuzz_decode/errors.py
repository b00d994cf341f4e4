"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from fuzz_decode.text import one_line

MAX_REASON = 300  # characters that say what is wrong with a file


class UsageError(Exception):
    """Wrong input: one sentence that names what is wrong and what would be right. The command line exits with 2."""

    findings: tuple[object, ...] = ()
    """what the Python API found before: of type fuzz_decode.Finding"""


class CaseError(UsageError):
    """A case that describes no decode problem, or a case file that holds none; the sentence names the field."""


class FileError(UsageError):
    """A file that cannot be read or written, or whose contents are wrong; the sentence begins with its path."""

    def __init__(self, path: Path, what: object) -> None:
        super().__init__(f"{path}: {one_line(what, MAX_REASON)}")
        self.path = path


class TargetError(UsageError):
    """A target that cannot be imported, found or called."""


class UnsupportedKernel(UsageError):
    """A kernel that the native engine cannot run; `reason` names the operation and its line."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; engine interpreter may run this kernel")
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnsupportedKernel], tuple[str]]:
        return UnsupportedKernel, (self.reason,)


class HarnessError(Exception):
    """A fault of fuzz-decode itself, with its traceback as text; never a finding. The command line exits with 2."""

    findings: tuple[object, ...] = ()
    """what the Python API found before: of type fuzz_decode.Finding"""


def raise_all(errors: Sequence[HarnessError]) -> None:
    """Raise faults that were put off until the work was done, as one; do nothing if there are none."""
    if errors:
        raise HarnessError("\n\n".join(str(error).strip() for error in errors))


def print_error(error: object) -> None:
    """Print one line to stderr, if that can be written. GitHub's runner obeys ##[word] as a command wherever it stands in a line,
    so it is broken up."""
    line = one_line(" ".join(str(error).split())).replace("##[", "# #[")
    with contextlib.suppress(OSError):
        print(f"fuzz-decode: error: {line}", file=sys.stderr, flush=True)
