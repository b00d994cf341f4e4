"""What `fuzz-decode targets` knows of each built-in target, installed or not."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from fuzz_decode.targets import partial_import, resolve
from fuzz_decode.targets.adapters import ADAPTERS, Adapter
from fuzz_decode.targets.listing import BuiltIn, built_ins

ON_CUDA = """
from fuzz_decode import target

@target(devices=("cuda",), head_dims=(64,))
def decode(q, k, v, t, n, s, *, out):
    return out
"""


def listed(name: str, device: str = "cpu") -> BuiltIn:
    return next(built_in for built_in in built_ins(device) if built_in.name == name)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One adapter, `mine`, that runs on CUDA and needs the package that provides pytest."""
    (tmp_path / "cuda_only_adapter.py").write_text(ON_CUDA)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    mine, broken = (partial(import_module, name) for name in ("cuda_only_adapter", "no_such_adapter"))
    monkeypatch.setitem(ADAPTERS, "mine", Adapter(mine, "decode", "pytest", "pip install pytest", "a kernel"))
    monkeypatch.setitem(ADAPTERS, "broken", Adapter(broken, "decode", None, "", "a kernel"))


def test_the_bundled_kernel_is_always_there() -> None:
    bundled = next(built_ins("cpu"))
    assert (bundled.name, bundled.unavailable) == ("bundled", "")


@pytest.mark.usefixtures("only")
def test_a_kernel_for_cuda_needs_cuda() -> None:
    here = listed("mine")
    assert here.unavailable == "runs on cuda only, and there is none here"
    assert here.version == f"pytest {pytest.__version__}"
    assert here.target is not None
    assert here.target.head_dims == (64,)
    assert listed("mine", "cuda").unavailable == ""


@pytest.mark.usefixtures("only")
def test_a_package_that_is_missing_is_named_and_its_kernel_still_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_import, "version", lambda distribution: None)
    missing = listed("mine", "cuda")
    assert (missing.version, missing.unavailable, missing.install) == ("", "pytest is not installed", "pip install pytest")
    assert missing.target is not None


@pytest.mark.usefixtures("only")
def test_an_adapter_that_does_not_import_says_why() -> None:
    broken = listed("broken")
    assert broken.unavailable.startswith("target broken does not import: ModuleNotFoundError")
    assert broken.target is None


def test_what_a_package_can_do_is_read_from_the_declaration_that_the_target_runs_with() -> None:
    for built_in in built_ins("cpu"):
        if not built_in.unavailable:
            assert built_in.target == resolve(built_in.name)
