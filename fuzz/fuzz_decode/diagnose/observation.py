"""A run on memory of finite noise, and whether a prediction explains all that it left behind."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, TensorView, read_correctly
from fuzz_decode.diagnose.predict import Prediction, predict
from fuzz_decode.execute.invoke import invoke
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.poison import POISON, is_unwritten
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target
from fuzz_decode.triton_interpreter.memory_fence import standing
from fuzz_decode_reference import Rounding

_BITS = {2: torch.int16, 4: torch.int32}


@dataclass(slots=True)
class Experiment:
    """A case on memory of finite noise, its correct reading, and the predictions made for it so far. The reading's out is the
    problem's, or a contiguous tensor where the target has its own."""

    problem: Problem
    correct: AccessModel
    rounding: Rounding
    _predictions: dict[AccessModel, Prediction] = dataclasses.field(default_factory=dict)

    def predict(self, reading: AccessModel) -> Prediction:
        if reading not in self._predictions:
            self._predictions[reading] = predict(self.problem, reading, self.rounding)
        return self._predictions[reading]


@dataclass(frozen=True)
class Observation:
    """What a run left: the memory of out as float64 on the CPU, which of it was never written, and lse if it was returned."""

    label: str
    scene: Experiment
    memory: Tensor
    unwritten: Tensor
    lse: Tensor | None

    @property
    def out(self) -> Tensor:
        """[num_rows, num_q_heads, value_head_dim], as the caller sees it."""
        case, place = self.scene.problem.case, self.scene.correct.out
        return self.memory.as_strided((case.num_rows, case.num_q_heads, case.value_head_dim), place.strides, place.offset)

    def is_explained_by(self, reading: AccessModel) -> bool:
        """Whether a kernel that reads so would have left this, to the bit in what it writes and within the bound in numbers."""
        return self.is_explained(self.scene.predict(reading))

    def rules_out(self, reading: AccessModel) -> bool:
        """Whether the shortest wrong row contradicts the reading, which is quick to tell; False where that tells nothing."""
        row, correct = self.telling_row, self.scene.correct
        if row is None or (reading.out, reading.out_row, reading.overhang) != (correct.out, correct.out_row, correct.overhang):
            return False
        if reading.empty_out is None:
            return False
        told = predict(self.scene.problem, reading, self.scene.rounding, only=row)
        right = _close(self.out[row], told.out[row], told.out_bound[row], ~told.known[row, :, None])
        return not bool(right.all())

    @functools.cached_property
    def telling_row(self) -> int | None:
        """The row of out with the fewest tokens that is wrong."""
        right = self.scene.predict(self.scene.correct)
        wrong = (~_close(self.out, right.out, right.out_bound, ~right.known[..., None])).flatten(1).any(1).nonzero().flatten()
        tokens = {row: sum(end - first for first, end in self.scene.correct.spans[row]) for row in wrong.tolist()}
        return min(tokens, key=lambda row: (tokens[row], row)) if tokens else None

    def is_explained(self, prediction: Prediction) -> bool:
        if self.lse is not None and not bool(_close(self.lse, prediction.lse, prediction.lse_bound, ~prediction.known).all()):
            return False
        cells = prediction.addresses
        if prediction.reading.empty_out is None:
            cells = cells[torch.tensor([bool(spans) for spans in prediction.reading.spans])]
        inside = (cells >= 0) & (cells < len(self.memory))
        if not standing() and not bool(inside.all()):
            return False
        cells = cells[inside]  # a fence drops the others
        return self._holds(prediction, cells)

    def _holds(self, prediction: Prediction, cells: Tensor) -> bool:
        """Every cell that is written holds what some row wrote there, every other cell its mark."""
        written = torch.zeros(len(self.memory), dtype=torch.bool)
        written[cells.flatten()] = True
        if not bool(self.unwritten[~written].all()):
            return False
        places = prediction.addresses
        dims = min(prediction.out.shape[2], places.shape[2])
        inside = (places >= 0) & (places < len(self.memory))
        got = self.memory[torch.where(inside, places, 0)]
        right = torch.ones_like(inside)  # an overhang may hold anything
        out, bound = prediction.out[..., :dims], prediction.out_bound[..., :dims]
        right[..., :dims] = _close(got[..., :dims], out, bound, ~prediction.known[..., None])
        explained = torch.zeros_like(written)
        explained[places[right & inside]] = True
        return bool(explained[written].all())


def scene(case: Case, target: Target, device: str) -> Experiment:
    """The case on memory of finite noise."""
    problem = build_problem(case, device, memory="random")
    correct = read_correctly(problem)
    if "out" not in target.options:
        shape = problem.out.shape
        correct = dataclasses.replace(correct, out=TensorView("result", 0, (shape[1] * shape[2], shape[2], 1)))
    rounding = rounding_of(target.arithmetic_of(case), case, interpreted=device == "cpu")
    return Experiment(problem, correct, rounding)


def observe(label: str, on: Experiment, target: Target, dirt: int = POISON) -> Observation:
    """Run the target on the scene. Memory that it allocates holds the byte `dirt`. Raises what `invoke` raises."""
    out, lse = invoke(on.problem, target, dirt)
    if "out" in target.options:
        storage = on.problem.buffers["out"].storage
        unwritten = is_unwritten(storage)
    else:
        storage = out.contiguous().flatten()
        unwritten = storage.view(_BITS[storage.element_size()]) == int.from_bytes(
            bytes([dirt]) * storage.element_size(), "big", signed=True
        )
    copied = None if lse is None else lse.detach().cpu().double()
    return Observation(label, on, storage.detach().cpu().double().clone(), unwritten.cpu(), copied)


def _close(got: Tensor, wanted: Tensor, bound: Tensor, unknown: Tensor) -> Tensor:
    same = (got == wanted) | (torch.isnan(got) & torch.isnan(wanted))
    return same | ((got - wanted).abs() <= bound) | unknown
