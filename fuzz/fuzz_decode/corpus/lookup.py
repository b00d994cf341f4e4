"""From names to stored cases, and from a stored case to the target that it may run on."""

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
    """A stored entry with what a run of its case on some target found."""
    return dataclasses.replace(entry, target=target, signature=outcome.signature, finding=outcome.findings[0].to_json())


def find_files(names: list[str], folder: Path) -> list[Path]:
    """Case files that the names mean: a file, a folder of files, or a digest in `folder`; no name means the whole folder.

    Raises UsageError for a name that is none of these.
    """
    found: list[Path] = []
    for name in names or [str(folder)]:
        if os.path.isdir(name):  # unlike those of Path, these take a name that cannot be looked up for one that is not there
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
    """The target to run a stored case on: the one chosen, else the one in the file if that is built in.

    A file must not decide which code is imported: raises UsageError if its target is the user's code.
    """
    if chosen is None and imports_user_code(entry.target):
        named = shlex.quote(entry.target)
        raise UsageError(f"no code is imported because a file names it; if you trust this target, say --target {named}")
    return entry.target if chosen is None else chosen
