"""What is measured: which cases each run gets, and how they are judged."""

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
from fuzz_decode.workers.protocol import EvaluateCase

ABLATIONS = ("no-poison", "no-tagged", "contiguous", "random-lengths", "unsteered")
CASES = 500
CLEAN_SEED = 1_000_003  # the clean kernel gets cases that no mutant was killed by
MAX_LENGTHS = (200, 50, 10, 1)


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """`cases` for each run (None: CASES, or the whole grid), those of `grid` (a peer's name; fewer than it has are taken evenly
    from all of it) instead of the fuzzer's, or the fuzzer without one of its means (`ablate`, of ABLATIONS)."""

    device: str
    timeout: float
    cases: int | None = None
    grid: str = ""
    ablate: str = ""

    def key(self) -> dict[str, Any]:
        """What a measurement depends on, beside the mutant and the seed."""
        cut = dataclasses.asdict(self._cut()) if self.grid else {}
        return {"device": self.device, "cases": self.limit, "grid": self.grid, "cut": cut, "ablate": self.ablate}

    @property
    def limit(self) -> int:
        """How many cases a run has."""
        every = sum(len(grid) for grid in GRIDS.values() if grid.peer == self.grid)
        return min(self.cases or every, every) if self.grid else self.cases or CASES

    def questions(self, seed: int, space: CaseSpace) -> Iterator[tuple[Case, Tolerance | None]]:
        """Each case of a run, and how the peer judges it. The same for every mutant."""
        if self.grid:
            grids = (grid for grid in GRIDS.values() if grid.peer == self.grid)
            asked = [(case, grid.tolerance) for grid in grids for case in grid.cases(seed, self._cut())]
            yield from (asked[number * len(asked) // self.limit] for number in range(self.limit))
            return
        stream = drawn_stream(seed, space) if self.ablate == "unsteered" else case_stream(seed, space)
        for case in itertools.islice(stream, self.limit):
            yield self._without_means(case), None

    def trial(self, target: str, case: Case, tolerance: Tolerance | None) -> EvaluateCase:
        memory = "random" if self.ablate == "no-poison" or self.grid else "poisoned"
        return EvaluateCase(target, case, memory, tolerance)

    def _without_means(self, case: Case) -> Case:
        if self.ablate == "no-tagged" and case.data == "tagged":
            return dataclasses.replace(case, data="gaussian")
        if self.ablate == "random-lengths":
            return with_random_lengths(case)
        return in_plain_layout(case) if self.ablate == "contiguous" else case

    def _cut(self) -> Any:
        return GPU if self.device == "cuda" else CPU


def with_random_lengths(case: Case) -> Case:
    """The case with lengths from 1 to 200, or fewer where its strides leave no room, instead of those where bugs live."""
    source = random.Random(case.seed)
    for high in MAX_LENGTHS:
        other = dataclasses.replace(case, seq_lens=tuple(source.randint(1, high) for _ in case.seq_lens))
        if is_valid(other):
            return other
    return case
