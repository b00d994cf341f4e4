"""What a diagnosis is asked for and what it answers: plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass

from fuzz_decode.case import Case

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`fault` is the name of what the kernel does wrong, '' when unknown; `sentence` says it, or what else is known.

    `confident`: the fault explains every run that was made, and no other known fault does. `evidence`: those runs, a line each.
    """

    fault: str = ""
    sentence: str = ""
    confident: bool = False
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """A failing case, the case as it was drawn (None: not kept), seconds that may be spent, and whether the kernel may be
    run on other cases than these: one that reads wildly may die of them."""

    case: Case
    raw: Case | None = None
    seconds: float = SECONDS
    probes: bool = True
