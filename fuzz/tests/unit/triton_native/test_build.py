"""Compiling the machine: once for all processes, and a library is whole or not there."""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from fuzz_decode.triton_native import build, library
from fuzz_decode.triton_native.unsupported import Unsupported

SLOW = "sleep 0.3; "
COMPILER = """#!/bin/sh
echo "$*" >> {log}
{first}while [ "$1" != -o ]; do shift; done
echo whole > "$2"
"""


def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str = "") -> Path:
    """A compiler that notes how it is called."""
    path, log = tmp_path / "compiler", tmp_path / "log"
    path.write_text(COMPILER.format(log=log, first=first))
    path.chmod(0o700)
    monkeypatch.setenv("CC", str(path))
    return log


def build_one(target: Path) -> None:
    if begun := build.begin(target, wait=True):
        begun.finish()
    assert target.read_text() == "whole\n"


def test_processes_compile_it_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log, fork = install(monkeypatch, tmp_path, SLOW), get_context("fork")
    processes = [fork.Process(target=build_one, args=(tmp_path / "machine.so",)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == len(build.UNITS) + 1


def test_who_does_not_wait_leaves_it_to_the_process_that_is_at_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    begun = build.begin(tmp_path / "machine.so", wait=False)

    assert begun is not None
    assert build.begin(tmp_path / "machine.so", wait=False) is None
    begun.finish()
    assert build.begin(tmp_path / "machine.so", wait=False) is None
    assert not list(tmp_path.glob("build-*"))


def test_a_killed_process_leaves_no_library_and_no_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, SLOW)
    if (child := os.fork()) == 0:
        build.begin(tmp_path / "machine.so", wait=True)
        os._exit(9)
    os.waitpid(child, 0)
    (left,) = tmp_path.glob("build-*")
    os.utime(left, (0, time.time() - 2 * build.ABANDONED))
    assert not (tmp_path / "machine.so").exists()

    build_one(tmp_path / "machine.so")

    assert not list(tmp_path.glob("build-*"))


def test_flags_that_a_compiler_does_not_take_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, 'case "$*" in *march*) echo unknown >&2; exit 1;; esac; ')
    build_one(tmp_path / "machine.so")


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "echo broken >&2; exit 1; ")
    begun = build.begin(tmp_path / "machine.so", wait=True)
    assert begun is not None

    with pytest.raises(Unsupported, match=f"the C compiler {tmp_path / 'compiler'}, which fails: broken"):
        begun.finish()
    assert not list(tmp_path.glob("build-*"))


def test_what_was_begun_is_finished_by_who_needs_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = install(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    library.begin_build()
    library.begin_build()

    assert library._library().read_text() == "whole\n"
    assert len(log.read_text().splitlines()) == len(build.UNITS) + 1
