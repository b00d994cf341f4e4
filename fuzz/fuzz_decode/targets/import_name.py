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
    """`module:function`, or `path/to/file.py:function` for what a test or a script defines; a path below the current folder is
    relative to it. None for what has no name of its own at the top level of its module: closures, lambdas in an expression,
    methods, partials, what was typed at a prompt."""
    module = sys.modules.get(str(getattr(fn, "__module__", "")))
    function = _name_in(module, fn) if module else None
    file = _file(module) if module else None
    if module is None or function is None or file is None:
        return None
    name = module.__spec__.name if module.__spec__ else module.__name__  # `python -m` calls it __main__
    here = Path.cwd()
    belongs_to_no_package = file.is_relative_to(here) and not (file.parent / "__init__.py").exists()
    if not belongs_to_no_package and _is_found(name, file):
        return f"{name}:{function}"
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{function}"


def label(fn: Callable[..., Any]) -> str:
    """What to call a function that has no such name."""
    if isinstance(fn, functools.partial):
        return f"partial of {label(fn.func)}"
    return f"{getattr(fn, '__module__', '?')}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def _name_in(module: ModuleType, fn: Callable[..., Any]) -> str | None:
    """The module's name for this very object, wrapped or not; its own name if that is one."""
    names = [name for name, value in vars(module).items() if value is fn]
    own = getattr(fn, "__name__", None)
    return own if own in names else next(iter(names), None)


def _file(module: ModuleType) -> Path | None:
    """The source file that the module was loaded from."""
    file = Path(getattr(module, "__file__", None) or "")
    return file.resolve() if file.suffix == ".py" and file.is_file() else None


def _is_found(name: str, file: Path) -> bool:
    """Whether a new process imports that file under that name. What sys.modules says does not count: pytest's importlib mode
    makes names up."""
    spec = _spec(name) if name != "__main__" else None
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file


def _spec(name: str) -> ModuleSpec | None:
    """What an import would find in this process's search path or in the current folder, without importing it. Packages that have
    no file are left out: any folder is one."""
    places: tuple[Sequence[str] | None, ...] = None, [str(Path.cwd())]
    package = name.rpartition(".")[0]
    if package:
        parent = _spec(package)
        if parent is None or parent.origin is None or parent.submodule_search_locations is None:
            return None
        places = (parent.submodule_search_locations,)
    return next(filter(None, (finder.find_spec(name, place) for place in places for finder in sys.meta_path)), None)
