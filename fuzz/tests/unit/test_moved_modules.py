"""What was written for version 0.1 runs for one more release: documented imports, and exported scripts."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest
import torch

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem
from fuzz_decode.triton_interpreter import patch_triton_interpreter

EXPORTED = Path(__file__).parent / "export" / "exported_by_0_1"  # of corpus/ae2674ae70f9.json, on two targets
PAGED_DECODE = "fuzz_decode_kernels.paged_decode:paged_decode"


@pytest.mark.parametrize(
    ("module", "name", "present"),
    [
        ("fuzz_decode.build", "build", build_problem),
        ("fuzz_decode.case", "BlockTable", BlockTable),
        ("fuzz_decode.case", "Case", Case),
        ("fuzz_decode.interpreter", "mend", patch_triton_interpreter),
        ("fuzz_decode.strategies", "cases", decode_cases),
    ],
)
def test_a_documented_path_gives_the_present_object_and_a_warning(
    module: str, name: str, present: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)

    with pytest.warns(DeprecationWarning, match=r"^fuzz_decode\.") as warned:
        found = getattr(importlib.import_module(module), name)
    assert found is present
    assert any(str(warning.message).startswith(f"{module}.{name} is ") for warning in warned)


def test_a_path_that_was_not_documented_is_gone() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fuzz_decode.layout")


def exit_code(script: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """How an exported script ends, run here."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "fuzz_decode.interpreter", raising=False)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXPORTED / script), run_name="__main__")
        return ended.value.code
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.no_gpu
@pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
def test_an_exported_script_fails_on_the_mutant_and_passes_on_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code("mutant.txt", monkeypatch) == 1
    assert exit_code("mutant.txt", monkeypatch, PAGED_DECODE) in (0, None)


@pytest.mark.no_gpu
def test_an_exported_script_of_an_adapter_patches_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(DeprecationWarning, match="patch_triton_interpreter"):
        assert exit_code("adapter.txt", monkeypatch) in (0, None)
