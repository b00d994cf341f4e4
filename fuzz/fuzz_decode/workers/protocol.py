"""What a worker process is told, and what it answers before its first case."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.targets.description import Description


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told once: the target's name, the device, seconds a case may take, the dtypes wanted (none: all),
    `preload`, a target to load before the first fork for what it brings along, and `gpu`, which one it is to use, as
    CUDA_VISIBLE_DEVICES has it (empty: the first)."""

    target: str
    device: str
    timeout: float
    dtypes: tuple[str, ...] = ()
    preload: str = ""
    gpu: str = ""

    def on(self, gpu: str) -> WorkerConfig:
        """The same on one of several GPUs."""
        return dataclasses.replace(self, gpu=gpu)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker answers once: the cases that the target can take, versions in use, the target in
    words, and dtypes, of q or of caches, that Triton's interpreter computes wrongly here, with what is wrong: not drawn."""

    space: CaseSpace
    versions: dict[str, str]
    description: Description
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluateCase:
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
