"""Print the import graph of fuzz/fuzz_decode: packages from top to bottom, arrows between them, circles.

    python scripts/import_graph.py [FOLDER]

A package is a folder of FOLDER with all that is in it; a module at the root of FOLDER is a package of its own. Imports inside
functions and under `if TYPE_CHECKING:` count. Names that are imported as strings (importlib) cannot be seen.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1] / "fuzz" / "fuzz_decode"
Graph = dict[str, set[str]]


def find_modules(root: Path) -> dict[str, Path]:
    """Dotted name, relative to the root, of every module; `__init__` of a folder is part of the name."""
    return {".".join(path.relative_to(root).with_suffix("").parts): path for path in sorted(root.rglob("*.py"))}


def package_of(module: str) -> str:
    return module.split(".")[0]


def imported_names(tree: ast.AST, package: list[str]) -> Iterator[tuple[list[str], str]]:
    """(module, name) of each import of a file of `package`; name is empty for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split("."), "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield from ((base + (node.module or "").split(".") * bool(node.module), alias.name) for alias in node.names)


def read_imports(root: Path, modules: Mapping[str, Path]) -> Graph:
    """Modules to the modules that they import."""
    graph: Graph = {}
    for module, path in modules.items():
        package = [root.name, *module.split(".")[:-1]]
        targets = set()
        for parts, name in imported_names(ast.parse(path.read_text()), package):
            if parts[:1] == [root.name]:
                inner = parts[1:]
                candidates = (".".join([*inner, *end]) for end in ([name, "__init__"], [name], [], ["__init__"]))
                targets.add(next((found for found in candidates if found in modules), ""))
        graph[module] = targets - {"", module}
    return graph


def package_graph(modules: Graph) -> Graph:
    """Packages to the packages that their modules import."""
    packages: Graph = {package_of(module): set() for module in modules}
    for module, imported in modules.items():
        packages[package_of(module)] |= {package_of(name) for name in imported} - {package_of(module)}
    return packages


def reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph[waiting.pop()] - seen
        seen |= fresh
        waiting += fresh
    return seen


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Strongly connected components of more than one node."""
    reach = {node: reachable(graph, node) for node in graph}
    components = {tuple(sorted({other for other in reach[node] if node in reach[other]} | {node})) for node in graph}
    return sorted(component for component in components if len(component) > 1)


def levels(graph: Graph) -> dict[str, int]:
    """Height of each node above those that import nothing; the nodes of a circle share one."""
    component_of = {node: (node,) for node in graph} | {node: circle for circle in circles(graph) for node in circle}
    heights: dict[tuple[str, ...], int] = {}

    def height(component: tuple[str, ...]) -> int:
        if component not in heights:
            below = {component_of[target] for node in component for target in graph[node]} - {component}
            heights[component] = 1 + max(map(height, below), default=-1)
        return heights[component]

    return {node: height(component_of[node]) for node in graph}


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve()
    modules = find_modules(root)
    imports = read_imports(root, modules)
    counts = Counter(map(package_of, modules))
    pairs = Counter((package_of(a), package_of(b)) for a, found in imports.items() for b in found)
    packages = package_graph(imports)
    heights = levels(packages)
    lines = {module: len(path.read_text().splitlines()) for module, path in modules.items()}
    longest = max(lines, key=lambda module: lines[module])

    print("level  package (modules) -> packages it imports (imports)")
    for name in sorted(packages, key=lambda name: (-heights[name], name)):
        arrows = ", ".join(f"{other} ({pairs[name, other]})" for other in sorted(packages[name]))
        print(f"{heights[name]:5}  {name} ({counts[name]}){f' -> {arrows}' if arrows else ''}")
    for kind, graph in (("packages", packages), ("modules", imports)):
        found = circles(graph)
        print(f"\ncircles of {kind}: {len(found)}")
        for circle in found:
            print(f"  {len(circle)}: {', '.join(circle)}")
    print(f"\npackages                 {len(packages)}, on {len(set(heights.values()))} levels")
    print(f"modules                  {len(modules)}, {sum('.' not in module for module in modules)} loose at the root")
    print(f"longest file             {longest}, {lines[longest]} lines")
    print(f"arrows between packages  {sum(map(len, packages.values()))}")
    print(f"arrows between modules   {sum(map(len, imports.values()))}")


if __name__ == "__main__":
    main()
