"""Workers start wherever temporary files are kept: the paths of multiprocessing's sockets are limited, that of TMPDIR is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sample_targets

from fuzz_decode.cli import USAGE, main
from fuzz_decode.workers import socket_folder

TARGET = f"{sample_targets.__file__}:honest"
STARTS = f"""
import os, tempfile
from multiprocessing.util import get_temp_dir
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.worker import Worker

worker = Worker(WorkerConfig({TARGET!r}, "cpu", 20.0))
worker.ready()
print(tempfile.gettempdir(), get_temp_dir())
worker.close()
"""


@pytest.mark.slow
def test_a_long_tmpdir_is_no_hindrance(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(long)}
    done = subprocess.run([sys.executable, "-c", STARTS], env=environment, capture_output=True, text=True)

    assert done.stderr == ""
    ours, sockets = done.stdout.split()
    assert ours == str(long)
    assert Path(sockets).parent in map(Path, socket_folder.BASES)
    assert not Path(sockets).exists()


def test_no_folder_for_sockets_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a program that has made multiprocessing's folder below a long TMPDIR, or where /tmp cannot be written."""
    long = tmp_path / ("x" * 100)
    monkeypatch.setattr(socket_folder, "get_temp_dir", lambda: str(long))

    assert main(["--target", TARGET, "--device", "cpu", "--iters", "1", "--corpus", str(tmp_path / "corpus")]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fuzz-decode: error: TMPDIR: sockets cannot be made in {long}; set it to a folder whose path has")
