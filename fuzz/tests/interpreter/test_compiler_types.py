"""Constructs of kernels have the type that the compiler gives them, or are rejected as by the compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import compiler_types
import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("triton", minversion="3.9")  # whose API of the compiler the script calls


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What the script prints in each mode."""
    found, plain = {}, {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    for mode, variables in (("compiled", {}), ("interpreted", {"TRITON_INTERPRET": "1"})):
        path = tmp_path_factory.mktemp("types") / f"{mode}.json"
        command = [sys.executable, "-W", "ignore", compiler_types.__file__, str(path)]
        subprocess.run(command, env=plain | variables, check=True, capture_output=True, timeout=300)
        found[mode] = json.loads(Path(path).read_text())
    return found


@pytest.mark.parametrize("construct", compiler_types.CONSTRUCTS)
def test_a_construct_has_the_type_that_the_compiler_gives_it(construct: str, types: dict[str, dict[str, str]]) -> None:
    assert types["interpreted"][construct] == types["compiled"][construct]


def test_most_constructs_compile(types: dict[str, dict[str, str]]) -> None:
    """A script that fails for a reason of its own would reject everything in both modes."""
    rejected = [construct for construct, kind in types["compiled"].items() if kind == "rejected"]
    assert len(rejected) < len(compiler_types.CONSTRUCTS) / 5
    assert "B // 3" not in rejected


def test_the_self_test_needs_the_rules() -> None:
    """In an interpreter that is not patched they do not hold, so that no dtype is drawn."""
    script = "from fuzz_decode.launches.self_test import refused; print(refused()['float32'])"
    command = [sys.executable, "-W", "ignore", "-c", script]
    run = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, check=True, capture_output=True, timeout=300, text=True
    )
    assert "Error" in run.stdout  # the first rule, on blocks, leaves no block
