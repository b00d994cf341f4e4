"""Requests for a diagnosis or a trace, and their answers: plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass, field

from fuzz_decode.cases.case import Case
from fuzz_decode.outcome import Outcome

SECONDS = 20.0  # for one diagnosis


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a kernel does wrong on a case."""

    fault: str = ""
    """name of the fault; empty: unknown"""
    sentence: str = ""
    """the fault in words, or what else is known"""
    confident: bool = False
    """the fault explains every run that was made, and no other known fault does"""
    evidence: tuple[str, ...] = ()
    """those runs, a line each"""


@dataclass(frozen=True, slots=True)
class DiagnoseRequest:
    """Find out what the target does wrong on a failing case."""

    case: Case
    raw: Case | None = None
    """the case as it was drawn; None: not kept, or the same"""
    seconds: float = SECONDS
    """time limit"""
    probes: bool = True
    """the kernel may be run on other cases, too; one that reads out of bounds may crash on them"""

    def if_killed(self, failure: Outcome) -> Diagnosis | Outcome:
        """The answer where the kernel killed the process or was too slow."""
        return failure


def beyond_reach(case: Case) -> str:
    """Which of a case's numbers exceed 32 or 16 bits: all that can be said of a call that returned nothing."""
    facts = []
    for name in ("k", "v"):
        layout, sizes = case.layouts().get(name, case.layouts()["k"])
        if layout.extent(sizes) >= 2**31:
            facts.append(f"{name.upper()} spans {layout.extent(sizes)} elements, more than 32 bits address")
    if case.num_blocks > 2**16:
        facts.append(f"block ids reach {case.num_blocks - 1}, more than 16 bits hold")
    return "; ".join(facts)


@dataclass(frozen=True, slots=True)
class Access:
    """Elements with a constant step, read or written for one row of out: of q, K, V or out, or an entry of the block table."""

    tensor: str
    """the tensor that the kernel takes them for"""
    buffer: str
    """the allocation that they are in (a key of Problem.buffers)"""
    address: int
    """first element, counted from where the layout begins"""
    step: int
    """distance of neighbouring elements"""
    length: int
    """number of elements"""
    token: int = 0
    """token of the sequence that a row of K or V is for, or column of the block table; otherwise 0"""


@dataclass(frozen=True, slots=True)
class Trace:
    """The addresses that are read and written for one row of q and out and one q head. `wanted` and `actual` are pairs with
    the same tensor and token."""

    known: bool
    """it is known which addresses the named fault changes; otherwise `actual` is `wanted`"""
    row: int
    head: int
    wanted: tuple[Access, ...]
    """as the contract says"""
    actual: tuple[Access, ...]
    """as the kernel computes them with the named fault"""
    strides: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """strides that the fault changes, by the tensor's name in a target's signature"""
    reads: dict[str, tuple[tuple[int, int], ...]] | None = None
    """ranges of elements that the kernel was seen to read of each buffer, for all rows; None: it was not watched"""


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """Find out which addresses the target reads and writes on a case."""

    case: Case
    fault: str = ""
    """name of the target's fault; empty: unknown"""
    where: tuple[int, int] = (0, 0)
    """row of out and q head to look at; if the fault changes nothing there, the first ones where it does"""
    watch: bool = True
    """the kernel may be run to see what it reads, where the fault does not say it"""

    def if_killed(self, failure: Outcome) -> Trace | None:
        """The answer where the kernel killed the process or was too slow."""
        return None
