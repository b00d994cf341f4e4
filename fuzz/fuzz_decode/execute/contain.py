"""Settings of torch and of Python that a target makes for its whole process.

A target keeps its settings, as it would anywhere else, but only while it runs: its import and each of its calls end with those of
fuzz-decode. Not contained are functions that it replaces, modes of torch that it enters and does not leave, threads, and writes
through wild pointers.
"""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.utils._device

from fuzz_decode.targets.target import Target

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGPIPE)
CALLED = (builtins, os, time, torch, torch.Tensor)  # by fuzz-decode itself
_FUNCTIONS = [(owner, name, value) for owner in CALLED for name, value in vars(owner).items() if callable(value)]


@dataclass(frozen=True, slots=True)
class Setting:
    """Something that code can set for its whole process."""

    get: Callable[[], Any]
    set: Callable[[Any], object]


Values = tuple[Any, ...]


def current_settings() -> Values:
    return tuple(setting.get() for setting in SETTINGS)


def change_settings(now: Values, wanted: Values) -> None:
    """Set what is different."""
    for setting, old, new in zip(SETTINGS, now, wanted, strict=True):
        if old != new:
            setting.set(new)


def load_contained(load: Callable[[], Target]) -> Target:
    """The target that `load` imports, whose settings hold in its calls and nowhere else."""
    mine = current_settings()
    try:
        target = load()
    finally:
        theirs = _end_with(mine)
    return dataclasses.replace(target, fn=ContainedFunction(target.fn, theirs))


@dataclass(slots=True)
class ContainedFunction:
    """A function that runs under its own settings."""

    fn: Callable[..., Any]
    settings: Values

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        mine = current_settings()
        try:
            with contextlib.suppress(RecursionError):  # its limit is lower than the stack is now
                change_settings(mine, self.settings)
            return self.fn(*arguments, **options)
        finally:
            self.settings = _end_with(mine)


def _end_with(mine: Values) -> Values:
    """Return to the settings `mine`; those of the target."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(mine[0])  # at once: what follows may need more
    theirs = (limit, *current_settings()[1:])
    change_settings((mine[0], *theirs[1:]), mine)
    return theirs


def replaced_functions() -> list[str]:
    """Functions of torch and of Python that are not those that were there when this module was imported."""
    return [f"{owner.__name__}.{name}" for owner, name, value in _FUNCTIONS if vars(owner).get(name) is not value]


def set_torch_defaults() -> None:
    """Settings as in a new process, but one thread, since problems are tiny, and no warning becomes an exception."""
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_deterministic_debug_mode(0)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


@contextlib.contextmanager
def torch_defaults() -> Iterator[None]:
    """Use as a context manager around what needs `set_torch_defaults`; the settings from before come back."""
    mine = current_settings()
    set_torch_defaults()
    try:
        yield
    finally:
        change_settings(current_settings(), mine)


def _default_device() -> torch.device | None:
    device: torch.device | None = torch.utils._device.CURRENT_DEVICE
    return device  # torch.get_default_device would use it, which fails where there is no such device


def _folder() -> str | None:
    with contextlib.suppress(FileNotFoundError):  # it was removed
        return os.getcwd()
    return None


def _set_folder(folder: str | None) -> None:
    with contextlib.suppress(OSError):
        os.chdir(folder or "/")


def _set_warning_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # also tells the module that its filters change
    warnings.filters[:] = filters  # type: ignore[index]


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in SIGNALS}


def _set_handlers(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # no other may set them
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _has_alarm() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _stop_alarm(wanted: bool) -> None:
    if not wanted:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


SETTINGS = (
    Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(_default_device, torch.set_default_device),
    Setting(torch.get_default_dtype, torch.set_default_dtype),
    Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    Setting(torch.get_num_threads, torch.set_num_threads),
    Setting(_folder, _set_folder),
    Setting(lambda: list(warnings.filters), _set_warning_filters),
    Setting(_has_alarm, _stop_alarm),
    Setting(_handlers, _set_handlers),
)
