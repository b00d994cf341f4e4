"""Every script of examples/ runs as a user would run it, and prints the line that it is there for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = {
    "check_one_layout.py": "block stride of K read as 512 (block_size * slot stride) instead of 1024 (stride(0))",
    "fuzz_a_function.py": "0 findings in 40 cases",
    "replay_and_export.py": "replay: exit code 0 on the bundled kernel, 1 on the faulty one",
    "test_property.py": "30 examples passed",
    "triton_kernel.py": "0 findings in 25 cases",
}


def run(path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script in a process whose environment knows nothing of the interpreter that these tests turn on."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, path], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.slow  # each imports torch, and starts workers of its own
@pytest.mark.parametrize(("name", "line"), EXAMPLES.items(), ids=EXAMPLES)
def test_example_runs(name: str, line: str, repo: Path, tmp_path: Path) -> None:
    ran = run(repo / "examples" / name, tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert line in ran.stdout
    assert ran.stderr == ""


def test_every_example_is_run(repo: Path) -> None:
    assert {path.name for path in (repo / "examples").glob("*.py")} == set(EXAMPLES)
