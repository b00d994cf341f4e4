"""How long processes wait for a core: on a machine under load that is most of the time, and no fault of a target."""

from __future__ import annotations

import contextlib
from pathlib import Path

Waits = dict[int, float]


def waits_of(process: int) -> Waits:
    """The seconds that a process and each of its descendants were ready to run but had no core, by their number; empty where the
    operating system does not tell."""
    waits: Waits = {}
    with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended, or this is not Linux
        task = Path(f"/proc/{process}/task/{process}")
        waits[process] = int((task / "schedstat").read_text().split()[1]) / 1e9
        for child in (task / "children").read_text().split():
            waits |= waits_of(int(child))
    return waits


def longest_wait(before: Waits, now: Waits) -> float:
    """The longest that one of the processes has waited in between."""
    return max((wait - before.get(process, 0.0) for process, wait in now.items()), default=0.0)
