"""Runs the files check_*.py, each in a process where Triton is not interpreted: that is decided when Triton is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CHECKS = sorted(path.name for path in HERE.glob("check_*.py"))


@pytest.mark.no_gpu
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("name", CHECKS)
def test_native_engine(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TRITON_INTERPRET", "PYTEST_"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(HERE), "--noconftest", "-q"]

    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:fuzz_decode", str(HERE / name)],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
