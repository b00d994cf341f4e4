"""The bench: every shape in every layout with every contender, first the correctness gate, then the timing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fuzz_decode.bench.contenders import Contender
from fuzz_decode.bench.correctness_gate import CorrectnessGate
from fuzz_decode.bench.inputs import Inputs, build_inputs
from fuzz_decode.bench.results import FAILED, TIMED, UNSUPPORTED, WRONG, BenchResult
from fuzz_decode.bench.selection import Choice
from fuzz_decode.bench.shapes import operations, total_bytes
from fuzz_decode.bench.timing import Timing, measure
from fuzz_decode.cases.case import Case
from fuzz_decode.text import one_line

NO_MEMORY = "not enough memory"
Clock = Callable[[Sequence[Callable[[], Any]]], Timing]


@dataclass(slots=True)
class Bench:
    """Measures a choice of shapes and layouts: iterate over `measured()`."""

    choice: Choice
    contenders: Sequence[Contender]
    """The target under test, then its peers."""
    device: str = "cuda"
    clock: Clock = measure
    """Times calls, one for each copy of the caches."""
    rows: list[BenchResult] = field(default_factory=list)
    """Those measured so far."""
    complete: bool = False
    """Whether `rows` are all."""
    lost: str = ""
    """The contender, shape and layout on which the device failed, if it did: later rows are then missing."""

    def measured(self) -> Iterator[BenchResult]:
        """Each row as soon as it is measured. An exception of a contender costs its own row only."""
        for shape, arrangement in self.choice.cells():
            case = arrangement.case(shape)
            for row in self._cell(case, shape.name, arrangement.name):
                self.rows.append(row)
                yield row
                if row.status == FAILED and not self._device_works():
                    self.lost = f"{row.target} on {row.shape}, {row.layout}"
                    return
            self._release()
        self.complete = True

    def _cell(self, case: Case, shape: str, layout: str) -> Iterator[BenchResult]:
        """All contenders on the same tensors."""
        gate: CorrectnessGate | str
        try:
            gate = CorrectnessGate(build_inputs(case, self.device))
        except torch.OutOfMemoryError:
            gate = NO_MEMORY
        for contender in self.contenders:
            status, note, timing = (UNSUPPORTED, gate, None) if isinstance(gate, str) else self._entry(gate, contender)
            names = (shape, layout, contender.name, contender.project, contender.mode)
            yield BenchResult(*names, status, note, timing, total_bytes(case), operations(case))

    def _entry(self, gate: CorrectnessGate, contender: Contender) -> tuple[str, str, Timing | None]:
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

    def _judged(self, gate: CorrectnessGate, contender: Contender) -> tuple[str, str, Timing | None]:
        calls = _calls(gate.inputs, contender)
        error = gate.error_of(calls[0], contender.target)
        if error:
            return WRONG, error, None
        timing = self.clock(calls)
        return TIMED, "" if timing.captured else f"not in a CUDA graph, launches included: {one_line(timing.why, 150)}", timing

    def _device_works(self) -> bool:
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
