"""Launches in a process of the native engine: `JITFunction.run` has the machine run the grid, where Triton calls a driver.

`install_native_engine()` comes before any kernel is imported, in a process without TRITON_INTERPRET. `watch_launches()` records
what the launches within it did.
"""

from __future__ import annotations

import contextlib
import dataclasses
import operator
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.launches.fake_device import install_fake_device
from fuzz_decode.launches.record import LaunchRecord
from fuzz_decode.triton_native import execute
from fuzz_decode.triton_native.arguments import Arguments, bind
from fuzz_decode.triton_native.execute import LaunchReport, Unsupported
from fuzz_decode.triton_native.frontend import parse_once
from fuzz_decode.triton_native.live_tensors import reachable_tensors

FIRST, LATER, INVALID = [0.0] * 3, [1.0] * 3, [float("inf")] * 3  # times of configurations


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """How programs are run meanwhile, and what they do."""

    record: LaunchRecord
    order: str | int | None
    """"forward", "backward", or the seed of a random order; None: that of the watch around it."""


_watches: list[Watch] = []  # those that are entered, the innermost last


@contextlib.contextmanager
def watch_launches(order: str | int | None = None, *, keep_reads: bool = False) -> Iterator[LaunchRecord]:
    """Record the launches within it, and choose the order of their programs."""
    watch = Watch(LaunchRecord(reads=[] if keep_reads else None), order)
    _watches.append(watch)
    try:
        yield watch.record
    finally:
        _watches.remove(watch)


def install_native_engine() -> None:
    """Let launches of this process run in the native engine; harmless when repeated."""
    from triton.runtime import autotuner
    from triton.runtime.jit import JITFunction

    install_fake_device()
    parse_once()
    JITFunction.run = _run
    autotuner.Autotuner._bench = _time_of


@dataclass(frozen=True, slots=True)
class LaunchedKernel:
    """What a launch returns in place of Triton's compiled kernel."""

    function: Any
    arguments: Arguments
    name: str
    asm: dict[str, str] = field(default_factory=dict)
    n_regs: int = 0
    n_spills: int = 0

    def _init_handles(self) -> None:
        """Loads the code in Triton, which sets `n_regs`."""

    def __getitem__(self, grid: Any) -> Any:
        """Launch it again, with its constants."""
        return lambda *positional: _run(self.function, *positional, grid=grid, warmup=False, **self.arguments.constants)


def _run(self: Any, *positional: Any, grid: Any, warmup: bool, **named: Any) -> LaunchedKernel:
    """In place of `JITFunction.run`."""
    for hook in self.pre_run_hooks:
        hook(*positional, **named)
    try:
        with _plain_torch():
            arguments = bind(self, positional, named)
        with _faults_of_engine(self.__name__):
            kernel = execute.compiled(_plain(self), arguments.types, arguments.constants)
        _check_globals(self)
        sizes = (0, 0, 0) if warmup else _sizes(grid, arguments.meta)
        if min(sizes) > 0:
            _launch(kernel, arguments, sizes)
    except Unsupported as error:
        for watch in _watches:
            watch.record.unsupported = watch.record.unsupported or str(error)
        raise
    return LaunchedKernel(self, arguments, kernel.name)


def _launch(kernel: Any, arguments: Arguments, sizes: tuple[int, int, int]) -> None:
    order = next((watch.order for watch in reversed(_watches) if watch.order is not None), "forward")
    keep_reads = any(watch.record.reads is not None for watch in _watches)
    with _faults_of_engine(kernel.name), _plain_torch():
        others = reachable_tensors(arguments.values.values())
        report = execute.run(kernel, arguments.values, sizes, order=order, keep_reads=keep_reads, others=others)
    for watch in _watches:
        _add(report, arguments, watch.record)
    if report.failed_assertion is not None:
        raise AssertionError(report.failed_assertion)


def _plain_torch() -> contextlib.AbstractContextManager[Any]:
    """Meanwhile torch calls no mode, ours or the target's: what the engine does with tensors is no call of the target, and each
    access to an address would go through it."""
    import torch

    return torch._C.DisableTorchFunction()


@contextlib.contextmanager
def _faults_of_engine(kernel: str) -> Iterator[None]:
    """An exception that the engine's own code raises is not the target's fault; one that Triton raises is."""
    try:
        yield
    except Unsupported:
        raise
    except Exception as error:
        modules = [f"{frame.f_globals.get('__name__', '')}." for frame, _ in traceback.walk_tb(error.__traceback__)]
        innermost = [name for name in modules if name.startswith(("triton.", "fuzz_decode."))][-1]
        if innermost.startswith("triton.") or type(error).__module__.startswith("triton."):
            raise
        raise Unsupported(f"kernel {kernel}, on which it fails ({type(error).__name__}: {error})") from error


def _add(report: LaunchReport, arguments: Arguments, record: LaunchRecord) -> None:
    record.out_of_bounds = record.out_of_bounds or report.outside
    for use in report.undefined:
        record.add_undefined(dataclasses.replace(use, storage=_storage(arguments.values.get(use.tensor))))
    record.out_of_bounds_elements += report.outside_elements
    record.undefined_elements += report.undefined_elements
    if record.reads is not None and report.reads is not None:
        record.reads.append(report.reads)


def _storage(value: Any) -> int:
    """The address of a tensor's storage; 0 for anything else."""
    return int(value.untyped_storage().data_ptr()) if hasattr(value, "untyped_storage") else 0


def _plain(function: Any) -> Any:
    """The function, unless it is of another language. Raises Unsupported."""
    if hasattr(function, "is_gluon") and function.is_gluon():
        raise Unsupported(f"Gluon, in which kernel {function.__name__} is written")
    return function


def _sizes(grid: Any, meta: dict[str, Any]) -> tuple[int, int, int]:
    given = grid(meta) if callable(grid) else grid
    x, y, z = (*map(operator.index, given), 1, 1)[:3]
    return x, y, z


def _check_globals(function: Any) -> None:
    """Raises RuntimeError if a global variable is not what it was when the kernel was compiled, as Triton does."""
    missing = object()
    for (name, _), (value, names) in function.used_global_vals.items():
        now = names.get(name, missing)
        if now is not value and now != value:
            raise RuntimeError(f"Global variable {name} has changed since we compiled this kernel, from {value} to {now}")


def _time_of(self: Any, *positional: Any, config: Any, **meta: Any) -> list[float]:
    """In place of `Autotuner._bench`: of the configurations that compile, the first one is the fastest. Later ones are not
    compiled: the autotuner asks for all of them in a row, with the same `nargs`."""
    from triton.compiler.errors import CompileTimeAssertionFailure

    if vars(self).get("_decided") is self.nargs:
        return LATER
    try:
        self.fn.run(*positional, **{**meta, **config.all_kwargs(), "warmup": True})
    except CompileTimeAssertionFailure:
        return INVALID
    self._decided = self.nargs
    return FIRST
