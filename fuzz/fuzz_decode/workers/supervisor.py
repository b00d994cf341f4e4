"""A process above each worker's, in which no target runs: whatever a target starts ends with it.

It leads a session of its own, so that signals to the terminal or to the campaign's group do not reach a target, nor a target's
signals to its group any other process. On Linux it inherits the orphans among its descendants, and it ends when the fork server
has ended, which ends with the campaign, even by SIGKILL. Elsewhere only processes that stay in the target's group are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SECONDS = 4.0  # for descendants to end


def supervise(campaign: int, temporary: str) -> None:
    """Return in a child of this process. This process waits for it, kills all its descendants, and ends as it ended. If the
    process `campaign` has been killed, it also removes the folder `temporary`, which that one can no longer."""
    os.setsid()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # until the handler knows the child
    if child := os.fork():

        def end(code: int) -> NoReturn:
            if _was_killed(campaign):
                shutil.rmtree(temporary, ignore_errors=True)
            _end_all(child, code)

        signal.signal(signal.SIGTERM, lambda *_: end(-signal.SIGKILL))
        end_with_parent(signal.SIGTERM)
        with contextlib.suppress(OSError):  # the child does it, too, and one of them is first
            os.setpgid(child, child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        end(wait_for(child))
    end_with_parent(signal.SIGKILL)
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def wait_for(child: int) -> int:
    """The exit code of a child, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_with(code: int) -> NoReturn:
    """End by the same signal or exit code, so that the parent sees the child's end as this process's own."""
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    os._exit(code)


def end_with_parent(number: int) -> None:
    """Let the signal reach this process when its parent ends."""
    _prctl(PR_SET_PDEATHSIG, number)


def _end_all(child: int, code: int) -> NoReturn:
    """Kill the child's group and all other descendants, then end."""
    until = time.monotonic() + SECONDS
    _kill(child)
    with contextlib.suppress(ChildProcessError):  # there is none left
        while time.monotonic() < until:
            for orphan in _children():
                _kill(orphan)
            os.waitpid(-1, 0)
    end_with(code)


def _kill(process: int) -> None:
    """Kill a process, and its group if it leads one."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(process, signal.SIGKILL)


def _children() -> Iterator[int]:
    """The children of this process, as far as the operating system lists them."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        if _stat(int(path.parent.name))[1] == str(os.getpid()):
            yield int(path.parent.name)


def _was_killed(process: int) -> bool:
    """Whether a process is gone, as far as the operating system tells."""
    return bool(_stat(os.getpid())[0]) and _stat(process)[0] in ("", "Z")


def _stat(process: int) -> tuple[str, str]:
    """State and parent of a process; empty if there is none."""
    try:
        state, parent, *_ = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return "", ""
    return state, parent


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
