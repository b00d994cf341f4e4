"""From a target's name to the Target: `bundled`, `mutant:NAME` (or `mutant:A+B`), an adapter, `module:function` or
`path/to/file.py:function`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import fuzz_decode.targets.bundled_kernel as bundled_kernel
import fuzz_decode.targets.partial_import as partial_import
from fuzz_decode.errors import TargetError
from fuzz_decode.targets.adapters import ADAPTERS
from fuzz_decode.targets.names import BUNDLED, MUTANT_PREFIX, is_mutant, mutant_target
from fuzz_decode.targets.target import Target, target_from_function
from fuzz_decode.text import did_you_mean
from fuzz_decode_kernels.mutants.load import AND, MUTANTS, load_mutant
from fuzz_decode_kernels.mutation.generic import generic_mutants, load_generic

RELATIVE = "; a target file is loaded without its package: name the target as module:function, or import without the leading dot"
Loaded = TypeVar("Loaded")
BUNDLED_DECLARATION: dict[str, Any] = {"arithmetic": bundled_kernel.arithmetic, "compiles_for": bundled_kernel.compiles_for}


def resolve(name: str) -> Target:
    """The target of that name; imports whatever it needs. Raises TargetError saying what is wrong and what would be right."""
    if name == BUNDLED:
        return target_from_function(name, _bundled(), **BUNDLED_DECLARATION)
    if is_mutant(name):
        return target_from_function(name, _mutant(name.removeprefix(MUTANT_PREFIX)), **BUNDLED_DECLARATION)
    if name in ADAPTERS:
        return _adapted(name)
    module_name, colon, function = name.rpartition(":")
    if not colon or not module_name or not function:
        raise TargetError(
            f"target {name!r} is none of {BUNDLED}, {MUTANT_PREFIX}NAME, module:function, path/to/file.py:function, "
            f"or an adapter that `fuzz-decode targets` lists{did_you_mean(name, _built_in_names())}"
        )
    module = _load_file(module_name) if module_name.endswith(".py") else _import(module_name, function)
    found = getattr(module, function, None)
    if not callable(found):
        functions = [each for each, value in vars(module).items() if callable(value)]
        raise TargetError(f"target {name}: {module_name} has no function {function!r}{did_you_mean(function, functions)}")
    return target_from_function(name, found)


def _built_in_names() -> tuple[str, ...]:
    return BUNDLED, *ADAPTERS, *map(mutant_target, MUTANTS)


def _bundled() -> Callable[..., Any]:
    from fuzz_decode_kernels.paged_decode import paged_decode

    fn: Callable[..., Any] = paged_decode
    return fn


def _mutant(name: str) -> Callable[..., Any]:
    """A real bug's mutant, several of them at once, or a generic one, whose name has colons."""
    if ":" not in name:
        return _real_mutant(name)
    if name not in generic_mutants():
        raise TargetError(f"there is no generic mutant {name!r}; its name changes with the source line that it edits")
    return load_generic(name)


def _real_mutant(name: str) -> Callable[..., Any]:
    for each in name.split(AND):
        if each not in MUTANTS:
            close = did_you_mean(each, MUTANTS) or "; `fuzz-decode targets --mutants` lists them"
            raise TargetError(f"there is no mutant {each!r}{close}")
    try:
        return load_mutant(name)
    except ValueError as error:
        raise TargetError(str(error)) from error


def _adapted(name: str) -> Target:
    adapter = ADAPTERS[name]
    if adapter.distribution and partial_import.version(adapter.distribution) is None:
        raise TargetError(f"target {name}: {adapter.distribution} is not installed; {adapter.install}")
    found = declared(name)
    _guarded(name, adapter.load)
    return found


def declared(name: str) -> Target:
    """An adapter's Target, whether or not the package that it runs is installed. Raises TargetError if it does not import."""
    adapter = ADAPTERS[name]
    return target_from_function(name, _guarded(name, adapter.decode_function))


def _import(name: str, function: str) -> ModuleType:
    target = f"{name}:{function}"
    if not all(part.isidentifier() for part in name.split(".")):
        file = f"; did you mean {name}.py:{function}?" if Path(f"{name}.py").is_file() else ""
        raise TargetError(f"target {target!r}: {name!r} is neither a module nor a file that ends in .py{file}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    return _guarded(name, lambda: importlib.import_module(name), did_you_mean(target, _built_in_names()))


def _load_file(name: str) -> ModuleType:
    path = Path(name).resolve()
    if not path.is_file():
        close = did_you_mean(path.name, (other.name for other in path.parent.glob("*.py")))
        raise TargetError(f"target file {name} does not exist{close}")
    # a file called queue.py must not shadow the standard module, and a dot would name a package
    private = re.sub(r"\W", "_", f"fuzz_decode_target_{path.stem}")
    spec = importlib.util.spec_from_file_location(private, path)
    assert spec is not None
    loader = spec.loader
    assert loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module
    sys.path.insert(0, str(path.parent))
    _guarded(name, lambda: loader.exec_module(module), RELATIVE if _imports_relatively(path) else "")
    return module


def _imports_relatively(path: Path) -> bool:
    """Whether a statement of the file begins with `from .`."""
    try:
        statements = ast.walk(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return False  # importing it says what is wrong
    return any(isinstance(each, ast.ImportFrom) and each.level > 0 for each in statements)


def _guarded(name: str, load: Callable[[], Loaded], hint: str = "") -> Loaded:
    """The loaded value. Any exception of a user's module is bad input, not a crash of this program: raises TargetError, with the
    hint if an import failed."""
    try:
        return load()
    except TargetError:
        raise
    except (Exception, SystemExit) as error:
        more = hint if isinstance(error, ImportError) else ""
        raise TargetError(f"target {name} does not import: {type(error).__name__}: {error}{more}") from error
