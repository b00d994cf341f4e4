"""Merge corpora: of each bug the simplest case stays. Nothing is run.

One bug is what has the same target and signature, and is the same to the ledger beside the corpus: what is known and what is
new are kept apart.
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


@dataclass(frozen=True, slots=True)
class Merged:
    """One bug: its simplest case came from the file `source` and is at `path`; `dropped` are the corpus's files that made way."""

    entry: Entry
    path: Path
    source: Path
    dropped: tuple[Path, ...]

    @property
    def what(self) -> str:
        if self.path == self.source:
            return "kept"
        return "replaced" if self.dropped else "added"


def merge(folders: Sequence[Path], into: Path) -> tuple[list[Merged], list[FileError]]:
    """Merge the folders' cases into the corpus `into`. If that is one of them, what is more than one case of a bug there goes.

    Returns what became of each bug of the folders, and the errors of the files that do not load. Raises UsageError, before
    anything is changed, if a folder does not exist or the corpus's ledger is wrong.
    """
    own, errors = load_folder(into)
    brought, wrong = load_files(_files_to_merge(folders, into))
    upkeep = any(folder.resolve() == into.resolve() for folder in folders)
    _must_be_named_rightly(own, brought)
    known = {target: load_ledger(into, target) for target in {entry.target for entry in (own | brought).values()}}

    def bug(entry: Entry) -> Hashable:
        return (*entry.bug, known[entry.target].entry(entry.signature, entry.calls))

    rivals: dict[Hashable, dict[Path, Entry]] = {bug(entry): {} for entry in (own | brought if upkeep else brought).values()}
    for path, entry in (own | brought).items():
        rivals.get(bug(entry), {})[path] = entry
    merged = [_merge_bug(entries, own, into) for entries in rivals.values()]
    return sorted(merged, key=lambda one: one.path), errors + wrong


def _files_to_merge(folders: Sequence[Path], into: Path) -> list[Path]:
    """Case files of the folders, but for those of the corpus itself. Raises UsageError for what is no folder."""
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; what is merged are folders of case files")
    others = {folder.resolve(): folder for folder in sorted(folders) if folder.resolve() != into.resolve()}
    return [path for folder in others.values() for path in sorted(folder.glob("*.json"))]


def _must_be_named_rightly(own: dict[Path, Entry], brought: dict[Path, Entry]) -> None:
    """A file that was edited by hand may have the name that another case is about to get. Raises UsageError."""
    names = {entry.digest for entry in brought.values()}
    for path, entry in own.items():
        if path.stem in names and path.stem != entry.digest:
            raise FileError(path, f"is not the case that its name says; rename it to {entry.digest}.json")


def _merge_bug(entries: dict[Path, Entry], own: dict[Path, Entry], into: Path) -> Merged:
    """Store the best of one bug's entries in the corpus, then remove the corpus's others."""
    source = min(entries, key=lambda path: _rank(path, entries[path], path in own))
    path = source if source in own else into / f"{entries[source].digest}.json"
    broken = [path] if path not in own and path.exists() else []  # a file in its place that does not load
    dropped = (*(other for other in entries if other in own and other != path), *broken)
    if path != source:
        save(into, entries[source])
    for other in dropped:
        if other != path:
            other.unlink(missing_ok=True)
    return Merged(entries[source], path, source, dropped)


def _rank(path: Path, entry: Entry, own: bool) -> tuple[Any, ...]:
    """Smaller is better: the simplest calls, of the same ones what the corpus has, else what says more; the rest is for order."""
    text = json.dumps(entry.to_json(), sort_keys=True)
    return sort_key(entry.calls), not own, not entry.minimised, not entry.diagnosis, path.stem != entry.digest, text, str(path)
