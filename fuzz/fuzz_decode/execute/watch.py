"""Watching the launches of calls, whichever engine runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.launches.record import LaunchRecord
from fuzz_decode.oracles.repeatability import Order
from fuzz_decode.triton_native.installed import is_native
from fuzz_decode.triton_native.launch import watch_launches


@contextlib.contextmanager
def supported_launches() -> Iterator[None]:
    """Raises UnsupportedKernel if the engine could not run a kernel, whatever became of its exception in the target."""
    with watched() as record:
        try:
            yield
        finally:
            if record.unsupported:
                raise UnsupportedKernel(record.unsupported)


def watched(order: Order | None = None) -> contextlib.AbstractContextManager[LaunchRecord]:
    """Record what launches within it do, as far as the engine tells: the native one does, and runs programs in that order."""
    return watch_launches(order) if is_native() else contextlib.nullcontext(LaunchRecord())


def contained(device: str, *, keep_reads: bool = False) -> contextlib.AbstractContextManager[LaunchRecord | None]:
    """The same where accesses out of bounds must not do harm: in the interpreter a memory fence contains them, and they are
    recorded. None on a GPU, where nothing is contained."""
    if device != "cpu":
        return contextlib.nullcontext(None)
    if is_native():
        return watch_launches(keep_reads=keep_reads)
    from fuzz_decode.triton_interpreter.memory_fence import memory_fence

    return memory_fence(keep_reads=keep_reads)


def another_order(seed: int) -> Order | None:
    """An order of programs that is not the usual one, the same for a seed; None where the engine has one order."""
    if not is_native():
        return None
    return "backward" if seed % 2 == 0 else seed
