"""Fresh processes at the price of a fork: multiprocessing's server has imported what workers need, and forks them; a worker that
answers each request in a process of its own imports the target, runs nothing, and forks as well.

A CUDA context does not survive a fork, so nothing that forks makes one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import _forkserver

from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.socket_folder import socket_folder
from fuzz_decode.workers.supervisor import end_with, end_with_parent, wait_for

EXIT_REFORK = 86  # exit code of a fork that is to be followed by another


def fork_server_context(plan: WorkerConfig) -> ForkServerContext:
    """Where workers of this device and engine are forked from. A process has one server: another one takes its place."""
    modules = [f"fuzz_decode.workers.preload_{plan.engine.engine}" if plan.device == "cpu" else "torch"]
    if _forkserver._preload_modules != modules:  # type: ignore[attr-defined]  # Triton is interpreted or not from its import on
        _leave_server()
        multiprocessing.set_forkserver_preload(modules)
    return multiprocessing.get_context("forkserver")


def begin_server(plan: WorkerConfig) -> None:
    """Start the server without waiting for it: it imports torch while this process imports other modules."""
    fork_server_context(plan)
    socket_folder()  # in which its socket is made
    _forkserver.ensure_running()


def _leave_server() -> None:
    """The server ends with the last process that it forked; multiprocessing's own `_stop` would wait for that."""
    if (alive := _forkserver._forkserver_alive_fd) is not None:  # type: ignore[attr-defined]
        os.close(alive)
    _forkserver.__init__()  # type: ignore[misc]  # as if there had been none


def fork_per_request() -> None:
    """Return in a fork of this process, and in another one whenever a fork ends with EXIT_REFORK; end as any other fork ended."""
    import fuzz_decode.execute.run_and_judge  # noqa: F401  otherwise the first case in every fork would import it

    while child := os.fork():
        code = wait_for(child)
        if code != EXIT_REFORK:
            end_with(code)
    end_with_parent(signal.SIGKILL)  # a case that hangs must not outlive a killed worker
