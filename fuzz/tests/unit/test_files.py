"""Files are written whole or not at all, and reading them comes to an end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fuzz_decode.errors import FileError
from fuzz_decode.files import read_whole, sweep_temporary, write_report, write_whole


def test_what_is_written_is_read_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    write_whole(path, "first")
    write_whole(path, "±")

    assert read_whole(path).decode() == "±"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "case.json"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(FileError, match=r"case\.json: cannot be written: No space left on device"):
        write_whole(path, "new")
    assert read_whole(path) == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_have_the_limit_and_not_one_byte_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")

    assert read_whole(tmp_path / "file", 4) == b"1234"
    with pytest.raises(FileError, match="is larger than 3 bytes"):
        read_whole(tmp_path / "file", 3)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name, words in {"pipe": "is no regular file", ".": "is no regular file", "gone": "cannot be read"}.items():
        with pytest.raises(FileError, match=words):
            read_whole(tmp_path / name)


def test_a_case_replaces_a_link_and_a_report_is_written_through_it(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)

    write_report(link, "report")
    assert (link.is_symlink(), target.read_text()) == (True, "report")

    write_whole(link, "case")
    assert (link.is_symlink(), target.read_text()) == (False, "report")


def test_temporary_files_of_killed_writers_are_swept(tmp_path: Path) -> None:
    here, ended = os.uname().nodename, subprocess.Popen(["true"])
    ended.wait()
    stale = tmp_path / f"..campaign.{here}.{ended.pid}.tmp"
    names = (f".x.{here}.{os.getpid()}.tmp", f".x.elsewhere.{ended.pid}.tmp", "x.json", f".x.{here}.y.tmp")
    others = [tmp_path / name for name in names]
    for path in (stale, *others):
        path.write_text("")
    sweep_temporary(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted(others)
