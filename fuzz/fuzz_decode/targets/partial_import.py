"""Import one module of an installed package without running the package.

`import vllm` wants a GPU stack, a hundred dependencies and ten seconds; the Triton kernel in it needs torch, triton and three
names. So the package and its subpackages are entered into sys.modules by hand, with their folders but without running their
`__init__.py`, and stand-ins provide the names that the kernel's file imports from elsewhere in the package. The kernel's own
file, and every import without a stand-in, is the installed one, unchanged.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from fuzz_decode.errors import TargetError


def version(distribution: str) -> str | None:
    """The installed version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def load_module(name: str, stand_ins: dict[str, dict[str, Any]]) -> ModuleType:
    """The module `name` of an installed package, without running its parents.

    `stand_ins` maps module names of that package to the names that others import from them. Raises TargetError if the package
    is not installed, or is another version whose file is elsewhere or imports more.
    """
    package = name.partition(".")[0]
    _enter_folder(package)
    for parent in _parents(name):
        _enter_folder(parent)
    for other, names in stand_ins.items():
        _enter_stand_in(other, names)
    try:
        return importlib.import_module(name)
    except (ImportError, AttributeError) as error:
        installed = " ".join(filter(None, (package, version(package))))
        raise TargetError(f"{installed} has no {name} that can be loaded alone: {error}") from error


def _parents(name: str) -> list[str]:
    """Packages around a module, outermost first, without the top one."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(2, len(parts))]


def _enter_folder(name: str) -> None:
    """Make `name` importable as a bare folder, unless it is imported already."""
    if name in sys.modules:
        return
    module = ModuleType(name)
    module.__path__ = [str(_folder(name))]
    _enter(module)


def _folder(name: str) -> Path:
    parent, _, last = name.rpartition(".")
    if parent:
        return Path(sys.modules[parent].__path__[0]) / last
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise TargetError(f"the package {name} is not installed")
    return Path(spec.submodule_search_locations[0])


def _enter_stand_in(name: str, names: dict[str, Any]) -> None:
    if name in sys.modules:
        return
    for parent in _parents(name):
        _enter_folder(parent)
    module = ModuleType(name)
    vars(module).update(names)
    _enter(module)


def _enter(module: ModuleType) -> None:
    """Into sys.modules, and as an attribute of its parent, as an import does."""
    sys.modules[module.__name__] = module
    parent, _, last = module.__name__.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
