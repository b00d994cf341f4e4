"""Errors whose text is meant for the person at the terminal."""

from __future__ import annotations

import sys


class UsageError(Exception):
    """Bad input: one sentence that names what was wrong and what would be right. The command line exits with 2."""


class CaseError(UsageError):
    """A case or case file that does not describe a decode problem; the sentence names the field."""


class TargetError(UsageError):
    """A target that cannot be imported, found or called."""


class HarnessError(Exception):
    """A fault of fuzz-decode itself, with its traceback as text. Never blamed on a target; the command line exits with 2."""


def complain(error: object) -> None:
    """One line on stderr, for a person."""
    print(f"fuzz-decode: error: {' '.join(str(error).split())}", file=sys.stderr)
