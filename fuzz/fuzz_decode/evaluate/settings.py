"""The settings of an evaluation: the cases of each run, and how they are judged."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.evaluate.peer_grids import CPU, GPU, GRIDS
from fuzz_decode.generate.case_stream import case_stream, drawn_stream
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.workers.engines import INTERPRETER, EngineChoice
from fuzz_decode.workers.protocol import EvaluateCase

ABLATIONS = ("no-poison", "no-tagged", "contiguous", "random-lengths", "unsteered")
CASES = 500  # of a run, unless others are given
CLEAN_SEED = 1_000_003  # first seed of the unmutated kernel, so that its cases are not those of the mutants
MAX_LENGTHS = (200, 50, 10, 1)  # of a sequence, tried in this order


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """The cases of every run: those of the fuzzer, of the fuzzer without one technique, or of a peer's published test grid."""

    device: str
    timeout: float
    """Seconds per case."""
    cases: int | None = None
    """Of each run; None: CASES, or the whole grid. Fewer than the grid has are taken evenly from all of it."""
    grid: str = ""
    """A peer's name: its published grid and tolerance instead of the fuzzer's cases and oracles."""
    ablate: str = ""
    """One of ABLATIONS: the technique that is disabled."""
    engine: EngineChoice = EngineChoice()
    """What runs Triton kernels on the CPU."""

    def key(self) -> dict[str, Any]:
        """The parts of a measurement's key that the settings determine."""
        cut = dataclasses.asdict(self._cut()) if self.grid else {}
        engine = {} if self.engine.engine == INTERPRETER else {"engine": self.engine.engine}
        return {"device": self.device, "cases": self.limit, "grid": self.grid, "cut": cut, "ablate": self.ablate, **engine}

    @property
    def limit(self) -> int:
        """The number of cases of a run."""
        grid_cases = sum(len(grid) for grid in GRIDS.values() if grid.peer == self.grid)
        return min(self.cases or grid_cases, grid_cases) if self.grid else self.cases or CASES

    def questions(self, seed: int, space: CaseSpace) -> Iterator[tuple[Case, Tolerance | None]]:
        """Each case of a run, and the peer's tolerance for it. The same for every mutant."""
        if self.grid:
            grids = (grid for grid in GRIDS.values() if grid.peer == self.grid)
            grid_cases = [(case, grid.tolerance) for grid in grids for case in grid.cases(seed, self._cut())]
            yield from (grid_cases[number * len(grid_cases) // self.limit] for number in range(self.limit))
            return
        stream = drawn_stream(seed, space) if self.ablate == "unsteered" else case_stream(seed, space)
        for case in itertools.islice(stream, self.limit):
            yield self._ablated(case), None

    def trial(self, target: str, case: Case, tolerance: Tolerance | None) -> EvaluateCase:
        memory = "random" if self.ablate == "no-poison" or self.grid else "poisoned"
        return EvaluateCase(target, case, memory, tolerance)

    def _ablated(self, case: Case) -> Case:
        if self.ablate == "no-tagged" and case.data == "tagged":
            return dataclasses.replace(case, data="gaussian")
        if self.ablate == "random-lengths":
            return with_random_lengths(case)
        return in_plain_layout(case) if self.ablate == "contiguous" else case

    def _cut(self) -> Any:
        return GPU if self.device == "cuda" else CPU


def with_random_lengths(case: Case) -> Case:
    """The case with random lengths up to 200, or fewer where longer ones do not fit its strides, instead of those near edges."""
    source = random.Random(case.seed)
    for high in MAX_LENGTHS:
        other = dataclasses.replace(case, seq_lens=tuple(source.randint(1, high) for _ in case.seq_lens))
        if is_valid(other):
            return other
    return case
