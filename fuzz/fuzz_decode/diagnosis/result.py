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


def beyond_reach(case: Case) -> str:
    """What about a case is more than numbers of 32 or 16 bits hold: all that is known of a call that gave no values."""
    facts = []
    for name in ("k", "v"):
        layout, sizes = case.layouts().get(name, case.layouts()["k"])
        if layout.extent(sizes) >= 2**31:
            facts.append(f"{name.upper()} spans {layout.extent(sizes)} elements, more than 32 bits address")
    if case.num_blocks > 2**16:
        facts.append(f"block ids reach {case.num_blocks - 1}, more than 16 bits hold")
    return "; ".join(facts)
