"""What a diagnosis is asked for and what it answers: plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass, field

from fuzz_decode.cases.case import Case

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
class DiagnoseRequest:
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


@dataclass(frozen=True, slots=True)
class Access:
    """A run of elements that is read or written for one row of out: a row of q, K, V or out, or an entry of the block table.

    `tensor` is what the kernel takes it for, `buffer` the allocation that it is in (of Problem.buffers), `address` its first
    element, counted from where the layout begins, `step` the distance of its `length` elements. `token`: which token of the
    sequence a row of K or V is for, or which column of the table; 0 otherwise.
    """

    tensor: str
    buffer: str
    address: int
    step: int
    length: int
    token: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """What is read and written for one `row` of q and out and one q `head`: what the contract wants, and what the kernel does
    with the fault that was named. `known`: what that fault changes is known; otherwise `actual` is `wanted`. Pairs have the same
    tensor and token. `strides`: what the fault makes of a tensor's strides, by its name in a target's signature. `reads`: what
    the kernel was seen to read of each buffer for all rows, as ranges of elements; None where nobody watched.
    """

    known: bool
    row: int
    head: int
    wanted: tuple[Access, ...]
    actual: tuple[Access, ...]
    strides: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reads: dict[str, tuple[tuple[int, int], ...]] | None = None


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """A case, the name of a fault ('' if none is known), and the row of out and the q head to look at, if they are telling.
    `watch`: the kernel may be run, to see what it reads, where the fault does not tell."""

    case: Case
    fault: str = ""
    where: tuple[int, int] = (0, 0)
    watch: bool = True
