"""From a function to the name under which a new process finds it: the way back from `resolve`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


def name_of(fn: Callable[..., Any]) -> str | None:
    """`module:function`, or `path/to/file.py:function` for functions of tests and scripts; a path below the current folder is
    relative to it. None for functions without a name at the top level of a module: closures, lambdas in an expression, methods,
    partials, functions typed at a prompt."""
    module = sys.modules.get(str(getattr(fn, "__module__", "")))
    function = _name_in(module, fn) if module else None
    file = _file(module) if module else None
    if module is None or function is None or file is None:
        return None
    name = module.__spec__.name if module.__spec__ else module.__name__  # `python -m` calls it __main__
    folder = Path.cwd()
    belongs_to_no_package = file.is_relative_to(folder) and not (file.parent / "__init__.py").exists()
    if not belongs_to_no_package and _is_found(name, file):
        return f"{name}:{function}"
    return f"{file.relative_to(folder) if file.is_relative_to(folder) else file}:{function}"


def label(fn: Callable[..., Any]) -> str:
    """A name to show for a function that `name_of` has none for."""
    if isinstance(fn, functools.partial):
        return f"partial of {label(fn.func)}"
    return f"{getattr(fn, '__module__', '?')}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def _name_in(module: ModuleType, fn: Callable[..., Any]) -> str | None:
    """The name of this very object in the module, wrapped or not; its `__name__` if it is one of several."""
    names = [name for name, value in vars(module).items() if value is fn]
    given = getattr(fn, "__name__", None)
    return given if given in names else next(iter(names), None)


def _file(module: ModuleType) -> Path | None:
    """The source file that the module was loaded from."""
    file = Path(getattr(module, "__file__", None) or "")
    return file.resolve() if file.suffix == ".py" and file.is_file() else None


def _is_found(name: str, file: Path) -> bool:
    """Whether a new process imports that file under that name. sys.modules does not tell: pytest's importlib mode makes names
    up."""
    spec = _spec(name) if name != "__main__" else None
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file


def _spec(name: str) -> ModuleSpec | None:
    """What an import would find in this process's search path or in the current folder, without importing it. Namespace packages
    are left out, since any folder is one."""
    paths: tuple[Sequence[str] | None, ...] = None, [str(Path.cwd())]
    package = name.rpartition(".")[0]
    if package:
        parent = _spec(package)
        if parent is None or parent.origin is None or parent.submodule_search_locations is None:
            return None
        paths = (parent.submodule_search_locations,)
    return next(filter(None, (finder.find_spec(name, path) for path in paths for finder in sys.meta_path)), None)
