"""Merge corpora: of each bug the simplest case stays. Nothing is run.

Two cases are of one bug if target, signature and entry of the ledger beside the corpus are the same, so that a known failure does
not replace a new one.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_decode.cases.call_sequence import sort_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import load_ledger
from fuzz_decode.corpus.read import load_files, load_folder
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import FileError, UsageError

ADDED, REPLACED, KEPT = "added", "replaced", "kept"


@dataclass(frozen=True, slots=True)
class MergedBug:
    """The result of merging one bug."""

    entry: Entry
    """its simplest case"""
    path: Path
    """file of that case in the corpus"""
    source: Path
    """file that the case came from"""
    dropped: tuple[Path, ...]
    """files of the corpus that were removed"""

    @property
    def status(self) -> str:
        """ADDED, REPLACED or KEPT."""
        if self.path == self.source:
            return KEPT
        return REPLACED if self.dropped else ADDED


def merge(folders: Sequence[Path], into: Path) -> tuple[list[MergedBug], list[FileError]]:
    """Merge the folders' cases into the corpus `into`; if that is one of them, it keeps one case of each bug of its own, too.

    Returns the result for each bug of the folders, and the errors of the files that do not load. Raises UsageError, before
    anything is changed, if a folder does not exist or the corpus's ledger is wrong.
    """
    own, own_errors = load_folder(into)
    added, errors = load_files(_files_to_merge(folders, into))
    _check_file_names(own, added)
    # the corpus's own bugs are left alone, unless the corpus is one of the folders, or another folder has the same bug
    concerned = own | added if any(folder.resolve() == into.resolve() for folder in folders) else added
    bugs = _group_by_bug(own | added, into)
    merged = [_merge_bug(entries, own, into) for entries in bugs if concerned.keys() & entries.keys()]
    return sorted(merged, key=lambda bug: bug.path), own_errors + errors


def _files_to_merge(folders: Sequence[Path], into: Path) -> list[Path]:
    """Case files of the folders, except those of the corpus itself. Raises UsageError for anything but a folder."""
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; merge takes folders of case files")
    others = {folder.resolve(): folder for folder in sorted(folders) if folder.resolve() != into.resolve()}
    return [path for folder in others.values() for path in sorted(folder.glob("*.json"))]


def _check_file_names(own: dict[Path, Entry], added: dict[Path, Entry]) -> None:
    """A file that was edited by hand may have the name that another case is about to get. Raises FileError."""
    names = {entry.digest for entry in added.values()}
    for path, entry in own.items():
        if path.stem in names and path.stem != entry.digest:
            raise FileError(path, f"is not the case that its name says; rename it to {entry.file_name}")


def _group_by_bug(entries: dict[Path, Entry], into: Path) -> list[dict[Path, Entry]]:
    """The entries of each bug. Raises FileError if the corpus's ledger is wrong."""
    ledgers = {target: load_ledger(into, target) for target in {entry.target for entry in entries.values()}}
    bugs: dict[Hashable, dict[Path, Entry]] = {}
    for path, entry in entries.items():
        known = ledgers[entry.target].entry(entry.signature, entry.calls)
        bugs.setdefault((*entry.bug, known), {})[path] = entry
    return list(bugs.values())


def _merge_bug(entries: dict[Path, Entry], own: dict[Path, Entry], into: Path) -> MergedBug:
    """Store the best of one bug's entries in the corpus, then remove the corpus's others."""
    source = min(entries, key=lambda path: _rank(path, entries[path], path in own))
    path = source if source in own else into / entries[source].file_name
    unreadable = [path] if path not in own and path.exists() else []  # replaced by the case that its name says
    dropped = (*(other for other in entries if other in own and other != path), *unreadable)
    if path != source:
        save(into, entries[source])
    for other in dropped:
        if other != path:
            other.unlink(missing_ok=True)
    return MergedBug(entries[source], path, source, dropped)


def _rank(path: Path, entry: Entry, own: bool) -> tuple[Any, ...]:
    """Smaller is better: the simplest calls, then the corpus's own file, then more information; the rest breaks ties."""
    text = json.dumps(entry.to_json(), sort_keys=True)
    return sort_key(entry.calls), not own, not entry.minimised, not entry.diagnosis, path.stem != entry.digest, text, str(path)
