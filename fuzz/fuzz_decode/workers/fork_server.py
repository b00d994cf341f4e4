"""Fresh processes at the price of a fork: one process imports the target and runs nothing, its forks run the cases.

For the CPU only, since a CUDA context does not survive a fork.
"""

from __future__ import annotations

import os
import signal

from fuzz_decode.workers.supervisor import end_with, end_with_parent, wait_for

EXIT_REFORK = 86  # exit code of a fork that is to be followed by another


def fork_per_request() -> None:
    """Return in a fork of this process, and in another one whenever a fork ends with EXIT_REFORK; end as any other fork ended."""
    import fuzz_decode.execute.run_case  # noqa: F401  otherwise the first case in every fork would import it

    while child := os.fork():
        code = wait_for(child)
        if code != EXIT_REFORK:
            end_with(code)
    end_with_parent(signal.SIGKILL)  # a case that hangs must not outlive a killed worker
