"""The messages between a worker and its parent.

A parent sends requests, and a worker answers each of them in turn, `RunCases` with one answer for each case. A request's type
names the type of its answer, so that `worker.ask(request)` needs no cast. Where an answer cannot be given, a worker sends a
UsageError or a HarnessError instead, which the parent raises.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeVar

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.diagnose.diagnosis import (
    DiagnoseRequest,
    Diagnosis,
    ExplainRequest,
    Explanation,
    KnownBug,
    Trace,
    TraceRequest,
    can_be_explained,
)
from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import Outcome, Signature
from fuzz_decode.targets.description import Description
from fuzz_decode.workers.engines import INTERPRETER, EngineChoice

Response_co = TypeVar("Response_co", covariant=True)
IMPORT_SECONDS = 120.0  # a target may import half of vLLM


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is started with."""

    target: str
    """name, as on the command line"""
    device: str
    """cpu or cuda"""
    timeout: float
    """seconds that one case may take"""
    dtypes: tuple[str, ...] = ()
    """dtypes of q to draw; empty: all that the target takes"""
    preload: str = ""
    """another target, loaded before the first fork for the modules that it imports"""
    import_timeout: float = IMPORT_SECONDS
    """seconds that importing the target may take"""
    gpu: str = ""
    """the GPU to use, as CUDA_VISIBLE_DEVICES names it; empty: the first"""
    engine: EngineChoice = EngineChoice()
    """what runs Triton kernels on the CPU"""
    needs_finite: tuple[str, ...] = ()
    """places where the target needs finite numbers, beside those that it declares"""

    def on(self, gpu: str) -> WorkerConfig:
        """The same on one of several GPUs."""
        return dataclasses.replace(self, gpu=gpu)

    def interpreted(self, error: UnsupportedKernel) -> WorkerConfig:
        """The same with Triton's interpreter. Raises the error if the engine is not to be replaced."""
        if self.engine.engine == INTERPRETER:
            return self
        if not self.engine.replaceable:
            raise error
        return dataclasses.replace(self, engine=EngineChoice(reason=error.reason))


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker sends once its target is imported: the space of cases that the target can take, the versions in
    use, a description of the target, and the dtypes (of q or of caches) that this machine computes wrongly, each with the
    reason: they are not drawn."""

    space: CaseSpace
    versions: dict[str, str]
    description: Description
    refused: dict[str, str] = field(default_factory=dict)
    declares_kernels: bool = False
    """whether the target declares what it compiles for"""


class ForkControl(Enum):
    """Messages without an answer, for workers on the CPU: in which process the following requests are answered."""

    START = "fork this process, which has run nothing, and answer in the fork"
    NEXT = "end this fork, and answer in a new one"


class Request(Protocol[Response_co]):
    """A message that is answered with a `Response_co`."""

    def if_killed(self, failure: Outcome) -> Response_co:
        """The answer in place of the worker's, whose process died or was too slow: `failure` says how."""
        ...


@dataclass(frozen=True, slots=True)
class RunCases:
    """Run cases one after another in the same process. Each has an answer of its own, and after that an Explanation if there are
    bugs that may cause its failure."""

    cases: CallSequence
    bugs: tuple[KnownBug, ...] = ()

    def is_explained(self, outcome: Outcome) -> bool:
        """Whether an Explanation follows the outcome of one of the cases."""
        return bool(self.bugs) and can_be_explained(outcome)

    def if_killed(self, failure: Outcome) -> Outcome:
        return failure


@dataclass(frozen=True, slots=True)
class DrawRound:
    """Draw the cases of a round, for which the target has to say what it is compiled for."""

    round: CompileRound

    def if_killed(self, failure: Outcome) -> DrawnRound | Outcome:
        return failure


@dataclass(frozen=True, slots=True)
class DrawnRound:
    """The cases of a round."""

    cases: CallSequence
    key: str
    """what the target compiles for them, as text"""


@dataclass(frozen=True, slots=True)
class EvaluateCase:
    """Run one case on a target of its own, usually a mutant, and judge it as its evaluation says."""

    target: str
    """name, as on the command line"""
    case: Case
    memory: str = "poisoned"
    """one of build.MEMORY; only "poisoned" fills what the target allocates as well"""
    tolerance: Tolerance | None = None
    """compare `out` within this tolerance and check nothing else; None: every oracle judges"""
    diagnose: bool = False
    """name the fault behind a failure, too: never in the first run, since a crash in the diagnosis is not the kernel's"""
    crashed: Signature = Signature()
    """signature with which the case killed the process before: it is only diagnosed, behind a memory fence"""

    def if_killed(self, failure: Outcome) -> Outcome:
        return failure


AnyRequest = RunCases | DrawRound | EvaluateCase | DiagnoseRequest | ExplainRequest | TraceRequest
Answer = Outcome | DrawnRound | Diagnosis | Explanation | Trace
