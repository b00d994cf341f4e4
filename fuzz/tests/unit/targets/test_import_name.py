"""A function's name is one under which a new process finds that very function, or it has none."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sample_targets

from fuzz_decode.targets import resolve
from fuzz_decode.targets.import_name import label, name_of
from fuzz_decode.targets.target import target_from_function
from fuzz_decode_kernels import paged_decode
from fuzz_decode_kernels.mutants import load as mutants

SIX = "q, k_cache, v_cache, block_table, seq_lens, scale"
DECODE = f"def decode({SIX}): ...\n"


class Kernels:
    def decode(self, *args: Any) -> None: ...


def from_file(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file as a module of that name, as pytest's importlib mode makes one."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which no import searches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    return tmp_path


def test_a_function_of_a_package_is_named_by_its_module() -> None:
    assert name_of(paged_decode.paged_decode) == "fuzz_decode_kernels.paged_decode:paged_decode"
    assert name_of(mutants.load_mutant) == "fuzz_decode_kernels.mutants.load:load_mutant"


def test_a_wrapper_is_named_as_the_module_names_it() -> None:
    name = name_of(sample_targets.ignores_the_sinks)

    assert name is not None
    assert name.endswith("sample_targets.py:ignores_the_sinks")
    assert resolve(name).options == target_from_function("it", sample_targets.ignores_the_sinks).options


def test_a_file_below_the_current_folder_is_named_from_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "tests").mkdir()
    (here / "tests" / "test_decode.py").write_text(DECODE)
    module = from_file(here / "tests" / "test_decode.py", "tests.test_decode", monkeypatch)

    assert name_of(module.decode) == "tests/test_decode.py:decode"
    monkeypatch.chdir(here.parent)
    assert name_of(module.decode) == f"{here.name}/tests/test_decode.py:decode"


def test_a_file_elsewhere_that_no_import_finds_is_named_whole(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mine.py").write_text(DECODE)
    module = from_file(here / "mine.py", "made.up", monkeypatch)
    monkeypatch.chdir("/")
    monkeypatch.chdir(Path(__file__).parent)

    assert name_of(module.decode) == f"{here}/mine.py:decode"


def test_a_package_in_the_current_folder_is_found_by_workers_only_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules may import each other relatively, which a lone file cannot."""
    (here / "mypackage").mkdir()
    (here / "mypackage" / "__init__.py").touch()
    (here / "mypackage" / "kernels.py").write_text(DECODE)
    module = from_file(here / "mypackage" / "kernels.py", "mypackage.kernels", monkeypatch)

    assert name_of(module.decode) == "mypackage.kernels:decode"
    monkeypatch.chdir(Path(__file__).parent)
    assert name_of(module.decode) == f"{here}/mypackage/kernels.py:decode"


def test_a_script_is_a_file_and_what_python_runs_as_a_module_is_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "script.py").write_text(DECODE)
    module = from_file(here / "script.py", "__main__", monkeypatch)
    module.__spec__ = None
    assert name_of(module.decode) == "script.py:decode"

    package = Path(paged_decode.__file__)
    module = from_file(package, "__main__", monkeypatch)
    module.__spec__ = paged_decode.__spec__
    assert name_of(module.paged_decode) == "fuzz_decode_kernels.paged_decode:paged_decode"


def prompted() -> Callable[..., Any]:
    """As in a notebook: its module has no file."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(DECODE, namespace)
    fn: Callable[..., Any] = namespace["decode"]
    return fn


@pytest.mark.parametrize(
    ("fn", "called"),
    [
        (lambda: None, "test_import_name:<lambda>"),
        (Kernels().decode, "test_import_name:Kernels.decode"),
        (functools.partial(sample_targets.honest), "partial of sample_targets:honest"),
        (functools.wraps(sample_targets.honest)(lambda *args: None), "sample_targets:honest"),
        (prompted(), "__main__:decode"),
        (len, "builtins:len"),
    ],
)
def test_what_no_other_process_finds_has_no_name_but_a_label(fn: Callable[..., Any], called: str) -> None:
    assert name_of(fn) is None
    assert label(fn).removeprefix("fuzz.tests.").removeprefix("unit.targets.") == called


def test_a_function_that_was_replaced_in_its_module_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = sample_targets.honest
    monkeypatch.setattr(sample_targets, "honest", sample_targets.only_out)

    assert name_of(honest) is None


def test_a_partial_keeps_the_declaration() -> None:
    partial = functools.partial(sample_targets.reads_the_next_slot)

    assert target_from_function("it", functools.partial(partial)).dtypes == ("bfloat16",)
