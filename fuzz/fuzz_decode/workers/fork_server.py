"""Fresh processes at the price of a fork: one process imports the target and runs nothing, its forks run the cases.

For the CPU only, since a CUDA context does not survive a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

EXIT_REFORK = 86  # exit code of a fork that is to be followed by another
PR_SET_PDEATHSIG = 1


def fork_per_request() -> None:
    """Return in a fork of this process, and in another one whenever a fork ends with EXIT_REFORK; end as any other fork ended."""
    import fuzz_decode.execute.run_case  # noqa: F401  otherwise the first case in every fork would import it

    while child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != EXIT_REFORK:
            _end_with(code)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a case that hangs must not outlive a killed worker


def _end_with(code: int) -> None:
    """End by the same signal or exit code, so that the parent sees the fork's death as this process's own."""
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to reset
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
