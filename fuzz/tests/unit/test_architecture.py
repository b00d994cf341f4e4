"""Who may import whom: the order of the packages, no circles, and what must stay light.

The graph is that of scripts/import_graph.py: imports inside functions and under TYPE_CHECKING count.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from import_graph import Graph, circles, find_modules, imported_names, package_graph, package_of, read_imports

ROOTS = {"fuzz_decode": "fuzz", "fuzz_decode_kernels": "kernels", "fuzz_decode_reference": "reference"}

# Packages, and modules at the root, from top to bottom: each imports only what stands in a line below its own.
ORDER = (
    "__main__",
    "__init__ plugin",
    "api _moved",
    "cli",
    "results",
    "export",
    "report",
    "campaign evaluate bench",
    "workers corpus",
    "diagnose",
    "execute shrink",
    "oracles",
    "problems targets generate",
    "triton_interpreter triton_native",
    "launches",
    "cases",
    "files",
    "errors",
    "outcome text _version",
)
MOST_LOOSE_MODULES = 12

# Modules that importlib gets by their names
IMPORTED_BY_STRING = {
    "fuzz/fuzz_decode/__init__.py": "public names on demand, so that `import fuzz_decode` stays cheap",
    "fuzz/fuzz_decode/_moved.py": "the module paths of 0.1, for one release",
    "fuzz/fuzz_decode/workers/fork_server.py": "what multiprocessing's server is to import",
}

IMPORTED_WITHOUT_TORCH = (
    "fuzz_decode",
    "fuzz_decode.cli.dispatch",
    "fuzz_decode.plugin",
    "fuzz_decode.workers.worker",
    "fuzz_decode.workers.pool",
    "fuzz_decode.shrink.shrinker",
    "fuzz_decode.api",
    "fuzz_decode.campaign.campaign",
)


def sources(repo: Path) -> Iterator[tuple[str, Path]]:
    """Every module of the three packages, with the name of its package."""
    for package, folder in ROOTS.items():
        yield from ((package, path) for path in sorted((repo / folder / package).rglob("*.py")))


def graph_of(root: Path) -> Graph:
    return read_imports(root, find_modules(root))


def forbidden_imports(modules: Graph, order: tuple[str, ...]) -> list[str]:
    """Imports of another package in the same line of `order` or in a line above it."""
    height = {name: -line for line, names in enumerate(order) for name in names.split()}
    return [
        f"{module} imports {name}"
        for module, imported in sorted(modules.items())
        for name in sorted(imported)
        if package_of(module) != package_of(name) and height[package_of(name)] >= height[package_of(module)]
    ]


def loose_modules(modules: Graph) -> list[str]:
    return sorted(name for name in modules if "." not in name)


def names_of_modules(path: Path) -> set[str]:
    """Strings in a file that look like the dotted name of a module of this project."""
    strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    pattern = re.compile(rf"({'|'.join(ROOTS)})(\.\w+)+(:\w+)?")
    return {value for value in strings if isinstance(value, str) and pattern.fullmatch(value)}


@pytest.fixture(scope="module")
def modules(repo: Path) -> Graph:
    return graph_of(repo / "fuzz" / "fuzz_decode")


def test_each_package_stands_in_the_order_once(modules: Graph) -> None:
    assert sorted(name for names in ORDER for name in names.split()) == sorted({package_of(module) for module in modules})


def test_packages_import_downwards_only(modules: Graph) -> None:
    assert forbidden_imports(modules, ORDER) == []


def test_there_are_no_circles(modules: Graph) -> None:
    assert circles(modules) == circles(package_graph(modules)) == []


def test_few_modules_are_loose(modules: Graph) -> None:
    assert len(loose_modules(modules)) <= MOST_LOOSE_MODULES, loose_modules(modules)


def test_modules_are_imported_by_statements(repo: Path) -> None:
    by_string = {str(path.relative_to(repo)) for _, path in sources(repo) if names_of_modules(path)}

    assert by_string == set(IMPORTED_BY_STRING)


def test_kernels_and_reference_import_neither_each_other_nor_the_harness(repo: Path) -> None:
    for package, path in sources(repo):
        if package != "fuzz_decode":
            imported = {parts[0] for parts, _ in imported_names(ast.parse(path.read_text()), [package]) if parts}
            assert not imported & (ROOTS.keys() - {package}), path


def test_light_modules_import_neither_torch_nor_triton() -> None:
    program = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not {"torch", "triton", "numpy", "hypothesis"} & set(sys.modules), name
"""
    subprocess.run([sys.executable, "-c", program, *IMPORTED_WITHOUT_TORCH], check=True)


def test_no_source_root_is_a_package(repo: Path) -> None:
    """A wheel of plain top-level packages would overwrite other people's `kernels`."""
    for folder in (*ROOTS.values(), "corpus", "fuzz/tests"):
        assert not (repo / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", ROOTS)
def test_each_package_is_typed(package: str, repo: Path) -> None:
    assert (repo / ROOTS[package] / package / "py.typed").exists()


# that these checks find what they look for


def written(root: Path, **files: str) -> Graph:
    """The graph of a package that has these modules; `__` in a name stands for a folder."""
    for name, source in files.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return graph_of(root)


def test_a_circle_of_modules_is_found_wherever_the_import_stands(tmp_path: Path) -> None:
    graph = written(
        tmp_path / "house",
        attic__roof="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.attic.beam import Beam",
        attic__beam="def build():\n    import house.attic.nail",
        attic__nail="from house.attic import roof",
        cellar="import house.attic.nail",
    )

    assert circles(graph) == [("attic.beam", "attic.nail", "attic.roof")]
    assert circles(package_graph(graph)) == []


def test_a_circle_of_packages_is_found_where_modules_have_none(tmp_path: Path) -> None:
    graph = written(
        tmp_path / "house",
        attic__roof="from ..cellar.floor import Floor",
        attic__beam="",
        cellar__floor="",
        cellar__wall="from house.attic.beam import Beam",
    )

    assert circles(graph) == []
    assert circles(package_graph(graph)) == [("attic", "cellar")]


def test_an_import_upwards_or_sideways_is_found() -> None:
    graph: Graph = {
        "attic.roof": {"attic.beam", "kitchen.oven", "cellar"},
        "attic.beam": set(),
        "kitchen.oven": {"bath.tub"},
        "bath.tub": set(),
        "cellar": {"attic.beam"},
    }

    assert forbidden_imports(graph, ("attic", "kitchen bath", "cellar")) == [
        "cellar imports attic.beam",
        "kitchen.oven imports bath.tub",
    ]
    assert forbidden_imports(graph, ("cellar", "attic", "kitchen", "bath")) == ["attic.roof imports cellar"]


def test_modules_at_the_root_are_loose() -> None:
    graph: Graph = {**{f"room_{number}": set() for number in range(13)}, "attic.roof": set()}

    assert len(loose_modules(graph)) == 13 > MOST_LOOSE_MODULES


def test_a_module_named_in_a_string_is_found(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text('"""Not fuzz_decode.api."""\nimport_module("fuzz_decode.diagnose.session:diagnose")')

    assert names_of_modules(tmp_path / "late.py") == {"fuzz_decode.diagnose.session:diagnose"}
