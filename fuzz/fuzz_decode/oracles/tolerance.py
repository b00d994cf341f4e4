"""The tolerances of other projects' tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How other projects' tests compare: |out - reference| <= atol + rtol * |reference| + times * e, where e is the largest
    error of the same attention computed in the case's own dtype (flash-attention's yardstick)."""

    rtol: float = 0.0
    atol: float = 0.0
    times: float = 0.0
