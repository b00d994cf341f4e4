"""Finds stored cases by name, and decides on which target a stored case may run."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

from fuzz_decode.corpus.entry import Entry
from fuzz_decode.errors import UsageError
from fuzz_decode.outcome import Outcome
from fuzz_decode.targets.names import imports_user_code


def with_outcome(entry: Entry, outcome: Outcome, target: str) -> Entry:
    """A stored entry with the failure that a new run of its case on `target` showed."""
    return dataclasses.replace(entry, target=target, signature=outcome.signature, finding=outcome.findings[0].to_json())


def find_files(names: list[str], folder: Path) -> list[Path]:
    """The case files that names stand for: a file, a folder of files, or a digest in `folder`; without names, the whole folder.

    Raises UsageError for a name that is none of these.
    """
    found: list[Path] = []
    if not names and not os.path.exists(folder):
        raise UsageError(f"there is no corpus {folder}; name the folder with --corpus DIR, or name case files")
    for name in names or [str(folder)]:
        if os.path.isdir(name):  # unlike methods of Path, these answer False to a name that is too long or has a null byte
            found += sorted(Path(name).glob("*.json"))
        elif os.path.isfile(name):
            found.append(Path(name))
        else:
            matches = sorted(folder.glob(f"{name}*.json")) if name.isalnum() else []
            if len(matches) != 1:
                what = "matches several files" if matches else "is no file, folder or digest"
                raise UsageError(f"{name} {what} in {folder}")
            found += matches
    return found


def target_of(entry: Entry, chosen: str | None) -> str:
    """The target to run a stored case on: the chosen one, else the one in the file if that is built in.

    Running a target means importing it, and an untrusted file must not decide what is imported. Raises UsageError.
    """
    if chosen is None and imports_user_code(entry.target):
        quoted = shlex.quote(entry.target)
        raise UsageError(f"no code is imported because a file names it; if you trust this target, say --target {quoted}")
    return entry.target if chosen is None else chosen
