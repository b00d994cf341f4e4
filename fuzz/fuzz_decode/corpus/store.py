"""Findings on disk: one readable JSON file a case, `<digest>.json`, written whole or not at all.

corpus/README.md describes the format. No pickle, no code; a file that cannot be trusted gives one sentence, never a crash.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fuzz_decode.cases.call_sequence import CallSequence, sort_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.errors import UsageError
from fuzz_decode.files import write_whole


def save(folder: Path, entry: Entry) -> Path:
    """Write the entry; idempotent. Raises UsageError if the folder cannot be written."""
    path = folder / f"{entry.digest}.json"
    text = json.dumps(entry.to_json(), indent=1, sort_keys=True, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"corpus folder {folder} cannot be written: {error.strerror}") from error
    write_whole(path, text)
    return path


def replace(old: Path, entry: Entry) -> Path:
    """Write the entry beside `old`, then remove `old`."""
    path = save(old.parent, entry)
    if path != old:
        old.unlink(missing_ok=True)
    return path


def replace_and_deduplicate(old: Path, entry: Entry, still_fails: Callable[[CallSequence], bool]) -> tuple[Path, Entry]:
    """Write the entry instead of `old`; of all entries of its bug that still fail, only the one with the simplest calls stays.

    Returns what stays. An entry that no longer fails guards a fix and is left alone.
    """
    path = replace(old, entry)
    known = load_folder(path.parent)[0]
    rivals = {p: e for p, e in known.items() if p != path and e.bug == entry.bug and still_fails(e.calls)}
    best = min([(path, entry), *rivals.items()], key=lambda item: sort_key(item[1].calls))
    for other in {path, *rivals} - {best[0]}:
        other.unlink(missing_ok=True)
    return best
