"""Requests for diagnoses and traces, and their results: plain data that crosses process borders."""

from __future__ import annotations

from dataclasses import dataclass, field

from fuzz_decode.cases.case import Case
from fuzz_decode.outcome import Outcome, Signature, Symptom

# how the name of a fault of a missing mask begins -> the place that a target may declare to hold finite numbers
PLACES_OF_REGIONS = {
    "tail": "tail",
    "window": "before_window",
    "block-0": "unreferenced",
    "foreign": "unreferenced",
    "gaps": "padding",
    "table": "",  # there is none
}
BETWEEN_CALLS = "state-between-calls"  # fault of a case that is right by itself, and wrong in a plain layout in a later call
SECONDS = 20.0  # of processor time for one diagnosis


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a kernel does wrong. All empty: nothing."""

    fault: str = ""
    """The name of the fault; empty if it is unknown."""
    sentence: str = ""
    """The fault in words, or what else is known."""
    confident: bool = False
    """Whether the fault explains every run that was made, and no other known fault does."""
    evidence: tuple[str, ...] = ()
    """The runs, a line each."""


@dataclass(frozen=True, slots=True)
class DiagnoseRequest:
    """Find out what the target does wrong on a failing case."""

    case: Case
    raw: Case | None = None
    """the case as it was drawn; None: not kept, or the same"""
    seconds: float = SECONDS
    """limit of processor time"""
    probes: bool = True
    """the kernel may be run on other cases, too; one that reads out of bounds may crash on them"""
    known: tuple[str, ...] = ()
    """names of faults that it is known to have besides"""

    def if_killed(self, failure: Outcome) -> Diagnosis | Outcome:
        """The answer where the kernel killed the process or was too slow."""
        return failure


@dataclass(frozen=True, slots=True)
class KnownBug:
    """What tells whether a bug that was found causes another failure, too."""

    number: int
    """of its first case, which no other bug has"""
    signatures: tuple[Signature, ...]
    """those that it was seen with"""
    fault: str
    """name of its fault, or of one that explains its simplest case; empty if unknown"""
    needed: tuple[str, ...] = ()
    """features and sizes without which its simplest case does not fail"""
    tokens: int = 0
    """the longest sequence of that case, if shorter ones do not fail"""
    certain: bool = True
    """whether the fault was named with confidence"""
    raises: bool = False
    """whether it is an exception, which causes no wrong values"""

    def can_show(self, case: Case) -> bool:
        """Whether a case has a sequence that is long enough."""
        return max(case.seq_lens) >= self.tokens


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """Find out which of the bugs causes a failure: the first one that does is enough."""

    case: Case
    signature: Signature
    bugs: tuple[KnownBug, ...]
    in_plain_layout: bool = False
    """whether the case is right, and wrong with the same values in a plain layout"""

    @classmethod
    def of(cls, case: Case, outcome: Outcome, bugs: tuple[KnownBug, ...]) -> ExplainRequest:
        """The question for a case with this outcome, a failure."""
        return cls(case, outcome.signature, bugs, outcome.findings[0].in_plain_layout)

    def if_killed(self, failure: Outcome) -> Explanation:
        """The answer where the kernel killed the process or was too slow."""
        return Explanation()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to an ExplainRequest."""

    number: int | None = None
    """of the bug; None: none of them"""
    error: str = ""
    """our own fault that prevented an answer, with its traceback"""


def region_of(fault: str) -> str:
    """What a fault of a missing mask reads, as its name begins: `tail-v-unmasked`, `block-0-read`. Empty for another fault."""
    region = fault.partition("-")[0] if fault.endswith("-unmasked") else fault.removesuffix("-read")
    return region if region != fault and region in PLACES_OF_REGIONS else ""


def place_of(fault: str) -> str:
    """The place whose mask is missing with that fault; empty if there is none."""
    return PLACES_OF_REGIONS.get(region_of(fault), "")


def can_be_explained(outcome: Outcome) -> bool:
    """Whether it is worth asking which bug causes an outcome: one that ended the process or the device would end another."""
    signature = outcome.signature
    return bool(outcome.findings) and signature.symptom is not Symptom.TIMEOUT and not signature.is_dead_device


def beyond_reach(case: Case) -> str:
    """Which addresses of a case exceed 32 bits: all that is known of a call that gave no values.

    Not which block ids exceed 16 bits: a wrong stride needs a block far from the first, too, and no run tells the two apart.
    """
    facts = []
    for name in ("k", "v"):
        extent = case.layouts().get(name, case.layouts()["k"]).extent
        if extent >= 2**31:
            facts.append(f"{name.upper()} spans {extent} elements, more than 32 bits address")
    return "; ".join(facts)


@dataclass(frozen=True, slots=True)
class Access:
    """Elements that are read or written for one row of out: a row of q, K, V or out, or an entry of the block table."""

    tensor: str
    """What the kernel takes it for: "q", "k", "v", "out" or "table"."""
    buffer: str
    """The allocation that it is in, by its name in Problem.buffers."""
    address: int
    """The first element, counted from where the layout begins."""
    step: int
    """Elements from one to the next."""
    length: int
    """How many elements."""
    token: int = 0
    """Which token of the sequence a row of K or V is for, or which column of the table an entry is in; 0 otherwise."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What is read and written for one row of q and out and one q head."""

    known: bool
    """Whether it is known what the fault changes; otherwise `actual` is `wanted`."""
    row: int
    head: int
    wanted: tuple[Access, ...]
    """What the contract wants."""
    actual: tuple[Access, ...]
    """What the kernel does with the fault; belongs to what is wanted for the same tensor and token."""
    strides: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """The strides that the fault changes, as they are with it, by the tensor's name in a target's signature."""
    reads: dict[str, tuple[tuple[int, int], ...]] | None = None
    """Ranges [first, end) of elements that the kernel was observed to read of each buffer for all rows; None: not observed."""


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
