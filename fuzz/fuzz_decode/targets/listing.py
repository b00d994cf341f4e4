"""The built-in targets: the kernel of each, whether this machine can run it, and its declaration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fuzz_decode._version import __version__
from fuzz_decode.errors import TargetError
from fuzz_decode.targets import partial_import
from fuzz_decode.targets.adapters import ADAPTERS, Adapter
from fuzz_decode.targets.names import BUNDLED
from fuzz_decode.targets.resolve import declared, resolve
from fuzz_decode.targets.target import Target


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A row of `fuzz-decode targets`."""

    name: str
    about: str
    """The kernel that it runs, in a line."""
    version: str
    """The installed package and its version; empty if it is not installed."""
    unavailable: str
    """Why this machine cannot run it; empty if it can."""
    install: str
    """The command that installs the package."""
    target: Target | None
    """None if its adapter does not import."""


def built_ins(device: str) -> Iterator[BuiltIn]:
    """The bundled kernel and every adapter, on a machine with a CPU and `device`. Imports no adapter's package."""
    about = "the stride-aware split-K kernel of this project"
    yield BuiltIn(BUNDLED, about, f"fuzz-decode {__version__}", "", "", resolve(BUNDLED))
    for name, adapter in ADAPTERS.items():
        yield _adapter(name, adapter, {"cpu", device})


def _adapter(name: str, adapter: Adapter, devices: set[str]) -> BuiltIn:
    package = adapter.distribution or "torch"
    number = partial_import.version(package)
    target, unavailable = None, ""
    try:
        target = declared(name)
        if not devices & set(target.devices):
            unavailable = f"runs on {', '.join(target.devices)} only, and there is none here"
    except TargetError as error:
        unavailable = str(error)
    if number is None:
        unavailable = f"{package} is not installed"
    return BuiltIn(name, adapter.about, f"{package} {number}" if number else "", unavailable, adapter.install, target)
