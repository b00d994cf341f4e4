"""The rooms of the house: who may import whom, and what must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOTS = {"fuzz_decode": "fuzz", "fuzz_decode_kernels": "kernels", "fuzz_decode_reference": "reference"}
PLAIN = {"errors", "layout", "validity", "reading", "case", "calls", "strides", "outcome", "arguments", "trial", "grids"}
LAYERS = (
    {"texts"},
    PLAIN,
    {
        "choices",
        "strategies",
        "data",
        "build",
        "shipping",
        "interpreter",
        "relatives",
        "steering",
        "stream",
        "rounds",
        "passes",
        "shrink",
    },
    {"oracles", "targets"},
    {"run", "plainly"},
    {"diagnosis"},
    {"attempt"},
    {"plan", "nursery", "serve", "worker", "pool", "fleet", "here"},
    {
        "files",
        "corpus",
        "ledger",
        "coverage",
        "journal",
        "entries",
        "repeat",
        "events",
        "campaign",
        "replay",
        "merge",
        "probes",
        "triage",
    },
    {"score", "bench"},
    {"report"},
    {"export"},
    {"commands", "api"},
    {"cli", "plugin", "__main__"},
)
# oracles look at problems and at what a target promises; corpus is plain data over cases
ALLOWED_UPWARD = {("oracles", "targets")}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def ours(package: str, repo: Path) -> list[Path]:
    return sorted((repo / ROOTS[package] / package).rglob("*.py"))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("package", ["fuzz_decode_kernels", "fuzz_decode_reference"])
def test_kernels_and_reference_import_neither_each_other_nor_the_harness(package: str, repo: Path) -> None:
    foreign = set(ROOTS) - {package}
    for path in ours(package, repo):
        assert not {name for name in imports(path) if name.split(".")[0] in foreign}, path


def test_the_harness_imports_downwards_only(repo: Path) -> None:
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    for path in ours("fuzz_decode", repo):
        mine = path.relative_to(repo / "fuzz" / "fuzz_decode").parts[0].removesuffix(".py")
        if mine == "__init__":
            continue
        for name in imports(path):
            theirs = room(name) if name.split(".")[0] == "fuzz_decode" else ""
            if theirs in height and (mine, theirs) not in ALLOWED_UPWARD:
                assert height[theirs] <= height[mine], f"{mine} imports {theirs}"


@pytest.mark.parametrize(
    "module",
    [
        "fuzz_decode",
        "fuzz_decode.cli.command_line",
        "fuzz_decode.plugin",
        "fuzz_decode.workers.worker",
        "fuzz_decode.shrink.shrinker",
        "fuzz_decode.api",
    ],
)
def test_light_modules_import_neither_torch_nor_triton(module: str) -> None:
    program = f"import sys, {module}; sys.exit(bool({{'torch', 'triton'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_source_root_is_a_package(repo: Path) -> None:
    """A wheel of plain top-level packages would overwrite other people's `kernels`."""
    for folder in (*ROOTS.values(), "corpus", "fuzz/tests"):
        assert not (repo / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", ROOTS)
def test_each_package_is_typed(package: str, repo: Path) -> None:
    assert (repo / ROOTS[package] / package / "py.typed").exists()
