"""The bench: every shape in every layout, through every contender, first the gate and then the clock."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fuzz_decode.bench.contenders import Contender
from fuzz_decode.bench.correctness_gate import Gate
from fuzz_decode.bench.inputs import Inputs, build_inputs
from fuzz_decode.bench.results import FAILED, TIMED, UNSUPPORTED, WRONG, Row
from fuzz_decode.bench.selection import Choice
from fuzz_decode.bench.shapes import operations, total_bytes
from fuzz_decode.bench.timing import Timing, measure
from fuzz_decode.cases.case import Case
from fuzz_decode.text import one_line

NO_MEMORY = "not enough memory"
Clock = Callable[[Sequence[Callable[[], Any]]], Timing]


@dataclass(slots=True)
class Bench:
    """Measures a choice. `rows` are those measured so far, all of them once it is `complete`; `lost` says on what the device
    died, if it did: what was left is then missing."""

    choice: Choice
    contenders: Sequence[Contender]
    device: str = "cuda"
    clock: Clock = measure
    rows: list[Row] = field(default_factory=list)
    complete: bool = False
    lost: str = ""

    def measured(self) -> Iterator[Row]:
        """Each row as it comes. What a contender raises costs its own row only."""
        for shape, arrangement in self.choice.cells():
            case = arrangement.case(shape)
            for row in self._cell(case, shape.name, arrangement.name):
                self.rows.append(row)
                yield row
                if row.status == FAILED and not self._alive():
                    self.lost = f"{row.target} on {row.shape}, {row.layout}"
                    return
            self._release()
        self.complete = True

    def _cell(self, case: Case, shape: str, layout: str) -> Iterator[Row]:
        """All contenders on the same tensors."""
        gate: Gate | str
        try:
            gate = Gate(build_inputs(case, self.device))
        except torch.OutOfMemoryError:
            gate = NO_MEMORY
        for contender in self.contenders:
            status, note, timing = (UNSUPPORTED, gate, None) if isinstance(gate, str) else self._entry(gate, contender)
            names = (shape, layout, contender.name, contender.project, contender.mode)
            yield Row(*names, status, note, timing, total_bytes(case), operations(case))

    def _entry(self, gate: Gate, contender: Contender) -> tuple[str, str, Timing | None]:
        """Status, note and timing of one contender."""
        reason = contender.target.unsupported_reason(gate.inputs.case)
        if reason is not None:
            return UNSUPPORTED, reason, None
        try:
            return self._judged(gate, contender)
        except torch.OutOfMemoryError:
            return UNSUPPORTED, NO_MEMORY, None
        except NotImplementedError as error:
            return UNSUPPORTED, one_line(error, 200), None
        except Exception as error:
            return FAILED, one_line(f"{type(error).__name__}: {error}", 200), None

    def _judged(self, gate: Gate, contender: Contender) -> tuple[str, str, Timing | None]:
        calls = _calls(gate.inputs, contender)
        why = gate.why_wrong(calls[0], contender.target)
        if why:
            return WRONG, why, None
        timing = self.clock(calls)
        return TIMED, "" if timing.captured else f"not in a CUDA graph, launches included: {one_line(timing.why, 150)}", timing

    def _alive(self) -> bool:
        try:
            if self.device != "cpu":
                torch.cuda.synchronize()
        except RuntimeError:
            return False
        return True

    def _release(self) -> None:
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()


def _calls(inputs: Inputs, contender: Contender) -> list[Callable[[], Any]]:
    """A call for each copy of the caches."""
    return [contender.plan(inputs, k, v) for k, v in inputs.caches]
