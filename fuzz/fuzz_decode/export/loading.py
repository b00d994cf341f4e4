"""The lines that load the target. A name from a corpus file is untrusted, and stays a string literal in them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fuzz_decode.export.literals import quoted, wrapped
from fuzz_decode.targets.adapters import ADAPTERS
from fuzz_decode.targets.names import BUNDLED, MUTANT_PREFIX, is_mutant

KERNELS = "fuzz_decode_kernels"
RESOLVE = "pkgutil.resolve_name("
BY_ARGUMENT = f"{RESOLVE}sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Loading:
    """The expression for the target is `head`, `string` and `tail`."""

    head: str
    """The function that is called, with its bracket."""
    string: str
    """The name of the target as a literal."""
    tail: str = ")"
    imports: str = ""
    """The import that it needs, if any."""
    folders: tuple[str, ...] = ()
    """Put in front of sys.path; "" is the current folder."""

    def lines(self, width: int, *, by_argument: bool) -> list[str]:
        """The lines that define `fn`; `by_argument`: the script's first argument names it, if there is one."""
        folders = dict.fromkeys([*([""] if by_argument else []), *self.folders])
        path = [f"sys.path[:0] = [{', '.join(map(quoted, folders))}]"] if folders else []
        line = f"fn = {BY_ARGUMENT} if sys.argv[1:] else {self.head}{self.string}{self.tail}"
        if by_argument and len(line) <= width:
            return [*path, line]
        own = wrapped(f"fn = {self.head}", [self.string], width - 4 * by_argument, self.tail)
        if not by_argument:
            return [*path, *own]
        return [*path, "if sys.argv[1:]:", f"    fn = {BY_ARGUMENT}", "else:", *(f"    {line}" for line in own)]


def loading(name: str) -> Loading:
    """How the target of that name is loaded without fuzz-decode; only an adapter, which is part of it, needs it."""
    if name == BUNDLED:
        return Loading(RESOLVE, quoted(f"{KERNELS}.paged_decode:paged_decode"))
    if is_mutant(name):
        mutant = name.removeprefix(MUTANT_PREFIX)
        module, function = ("mutation.generic", "load_generic") if ":" in mutant else ("mutants", "load_mutant")
        return Loading(f"{function}(", quoted(mutant), imports=f"from {KERNELS}.{module} import {function}")
    if name in ADAPTERS:
        return Loading(RESOLVE, quoted(ADAPTERS[name].import_name()))
    module, _, function = name.rpartition(":")
    if module.endswith(".py"):
        return Loading("runpy.run_path(", quoted(module), f")[{quoted(function)}]", folders=(os.path.dirname(module),))
    return Loading(RESOLVE, quoted(name), folders=("",))
