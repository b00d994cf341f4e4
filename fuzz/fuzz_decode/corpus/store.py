"""Findings on disk: one readable JSON file for each, `<digest>.json`, written whole or not at all.

docs/reference/case-file.md describes the format: no pickle, no code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz_decode.cases.call_sequence import CallSequence, sort_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.errors import FileError, UsageError
from fuzz_decode.files import write_whole


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What stayed of several entries of one bug."""

    path: Path
    entry: Entry
    removed: tuple[Path, ...]
    """files of the others"""


class NotSaved(UsageError):
    """A finding that could not be written; the sentence says why."""

    def __init__(self, sentence: str, entry: Entry) -> None:
        super().__init__(sentence)
        self.entry = entry


def save(folder: Path, entry: Entry) -> Path:
    """Write the entry, and make the folder if it does not exist; idempotent. Raises NotSaved if it cannot be written."""
    path = folder / entry.file_name
    text = json.dumps(entry.to_json(), indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise NotSaved(f"corpus folder {folder} cannot be written: {error.strerror}", entry) from error
    except FileError as error:
        raise NotSaved(str(error), entry) from error
    return path


def replace(old: Path, entry: Entry) -> Path:
    """Write the entry into the folder of `old`, then remove `old`: at no time is neither on disk."""
    path = save(old.parent, entry)
    if path != old:
        remove(old)
    return path


def deduplicate(path: Path, entry: Entry, still_fails: Callable[[CallSequence], bool]) -> Deduplicated:
    """Keep only the simplest of all entries beside this one, stored at `path`, that are of its bug and still fail.

    An entry that no longer fails guards a fix and is left alone, and so is one that may be of another bug.
    """
    stored = load_folder(path.parent)[0].items()
    others = {other: e for other, e in stored if other != path and entry.is_same_bug_as(e) and still_fails(e.calls)}
    best = min([(path, entry), *others.items()], key=lambda item: sort_key(item[1].calls))
    removed = tuple(sorted({path, *others} - {best[0]}))
    for other in removed:
        remove(other)
    return Deduplicated(*best, removed)


def remove(path: Path) -> None:
    """Remove an entry, if it is there. Raises FileError if that is not permitted."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(path, f"cannot be removed: {error.strerror}") from error


def where_kept(path: Path, entry: Entry) -> tuple[Path, Entry]:
    """The file of the entry's bug, and what it holds: another campaign on the same corpus may have removed `path` for a simpler
    case."""
    if path.exists():
        return path, entry
    same = {other: e for other, e in load_folder(path.parent)[0].items() if e.bug == entry.bug}
    return min(same.items(), key=lambda item: sort_key(item[1].calls)) if same else (save(path.parent, entry), entry)
