"""A trial: a case for a target other than the one its worker was started for, and how the answer is to be judged.

Detection power is measured with trials: one process imports Triton once, and its forks load one mutant each.
"""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.cases.case import Case

# module:function (case, target, device, failed outcome) -> (the fault's name or "", whether it is sure); "": nobody diagnoses
DIAGNOSER = "fuzz_decode.workers.shortly:diagnose"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How other projects' tests compare: |out - reference| <= atol + rtol * |reference| + times * e, where e is the largest
    error of the same attention computed in the case's own dtype (flash-attention's yardstick)."""

    rtol: float = 0.0
    atol: float = 0.0
    times: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """`memory` is one of `build.MEMORY`, and memory that the target allocates is dirty only when that is "poisoned".
    With a `tolerance`, out is compared and nothing else is asked; without one every oracle is. `diagnose` asks for the fault
    behind a failure as well: apart from the first run, since a diagnosis that takes the process with it must not be taken for the
    kernel's death. `crashed` is the signature with which it took the process with it then: it is examined only, behind a fence.
    """

    target: str
    case: Case
    memory: str = "poisoned"
    tolerance: Tolerance | None = None
    diagnose: bool = False
    crashed: str = ""
