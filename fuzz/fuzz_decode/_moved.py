"""Module paths of version 0.1, for one release: scripts that it exported, and users' property tests, import them.

A finder of last resort, so that nothing is paid until an old path is asked for. To be removed in 0.3.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType

# old module -> name in it -> (module, name) today
MOVED = {
    "fuzz_decode.build": {"build": ("fuzz_decode.problems.build", "build_problem")},
    "fuzz_decode.case": {name: ("fuzz_decode.cases.case", name) for name in ("BlockTable", "Case")},
    "fuzz_decode.interpreter": {"mend": ("fuzz_decode.triton_interpreter", "patch_triton_interpreter")},
    "fuzz_decode.strategies": {"cases": ("fuzz_decode.generate.draw_case", "decode_cases")},
}


class MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the old modules, each with the names that were documented."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        for old, (home, name) in MOVED[module.__name__].items():
            setattr(module, old, getattr(importlib.import_module(home), name))
            warnings.warn(f"{module.__name__}.{old} is {home}.{name} now", DeprecationWarning, stacklevel=2)


def install() -> None:
    """Ask after all other finders; harmless when repeated."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
