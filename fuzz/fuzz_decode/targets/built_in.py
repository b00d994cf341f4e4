"""The built-in targets: what each runs, whether it can run here, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fuzz_decode._version import __version__
from fuzz_decode.errors import TargetError
from fuzz_decode.targets import partial_import
from fuzz_decode.targets.adapters import ADAPTERS, Adapter
from fuzz_decode.targets.resolve import BUNDLED, declared, resolve
from fuzz_decode.targets.target import Target


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """`version` names the installed package, empty if there is none; `why_not` is empty if the target can run here;
    `install` says how to get the package; `target` is None if even its declaration cannot be read."""

    name: str
    about: str
    version: str
    why_not: str
    install: str
    target: Target | None


def built_ins(device: str) -> Iterator[BuiltIn]:
    """The bundled kernel and every adapter, on a machine that has `device` beside the CPU. Imports torch and Triton only."""
    about = "the stride-aware split-K kernel of this project"
    yield BuiltIn(BUNDLED, about, f"fuzz-decode {__version__}", "", "", resolve(BUNDLED))
    for name, adapter in ADAPTERS.items():
        yield _adapter(name, adapter, {"cpu", device})


def _adapter(name: str, adapter: Adapter, here: set[str]) -> BuiltIn:
    package = adapter.distribution or "torch"
    number = partial_import.version(package)
    target, why_not = None, ""
    try:
        target = declared(name)
        if not here & set(target.devices):
            why_not = f"runs on {', '.join(target.devices)} only, and there is none here"
    except TargetError as error:
        why_not = str(error)
    if number is None:
        why_not = f"{package} is not installed"
    return BuiltIn(name, adapter.about, f"{package} {number}" if number else "", why_not, adapter.install, target)
