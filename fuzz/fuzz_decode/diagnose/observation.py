"""A run on memory of finite noise, and whether a prediction explains everything that it left behind."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, TensorView, correct_model, replace
from fuzz_decode.diagnose.faults.catalogue import models_with_faults
from fuzz_decode.diagnose.memory import Memory
from fuzz_decode.diagnose.predict import Prediction, predict
from fuzz_decode.execute.invoke import invoke
from fuzz_decode.execute.prepare import prepare
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.problems.poison import allocation_fill, is_unwritten
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target
from fuzz_decode_reference import Rounding

MODERATE = ("gaussian", "uniform")  # data with scores of a few units
_BITS = {2: torch.int16, 4: torch.int32}


@dataclass(slots=True)
class Experiment:
    """A case on memory of finite noise."""

    memory: Memory
    correct: AccessModel
    """Its out is the problem's, or a contiguous tensor where the target allocates its own."""
    rounding: Rounding
    other_forms: tuple[AccessModel, ...] = ()
    """What may be correct instead, if known faults have several forms."""
    _predictions: dict[AccessModel, Prediction] = field(default_factory=dict)
    """Those made so far: the same few experiments are predicted again and again."""

    @property
    def problem(self) -> Problem:
        return self.memory.problem

    def predict(self, model: AccessModel) -> Prediction:
        if model not in self._predictions:
            self._predictions[model] = predict(self.memory, model, self.rounding)
        return self._predictions[model]


@dataclass(frozen=True)  # no slots: telling_row is cached
class Observation:
    """What a run left."""

    label: str
    """The case in words, for the evidence: `with one KV head`."""
    experiment: Experiment
    memory: Tensor
    """[elements], float64 on the CPU: all of the allocation that out is in."""
    unwritten: Tensor
    """[elements], bool: what was never written."""
    lse: Tensor | None
    """[num_rows, num_q_heads], float64 on the CPU; None if it was not returned."""

    def with_known_faults(self, names: tuple[str, ...]) -> Iterator[Observation]:
        """The same run of a kernel that is expected to have these faults, for each of the forms that they may have."""
        return map(self._expecting, models_with_faults(names, self.experiment.problem, self.experiment.correct))

    def in_nearest_form(self) -> Observation:
        """The same run, of the forms that known faults may have compared with the one that comes nearest."""
        forms = (self, *map(self._expecting, self.experiment.other_forms))
        return min(forms, key=Observation.count_wrong) if len(forms) > 1 else self

    def _expecting(self, correct: AccessModel) -> Observation:
        return dataclasses.replace(self, experiment=dataclasses.replace(self.experiment, correct=correct))

    def count_wrong(self) -> int:
        """How many elements of out and lse are wrong."""
        right = self.experiment.predict(self.experiment.correct)
        wrong = int((~_close(self.out, right.out, right.out_bound, ~right.known[..., None])).sum())
        return wrong + (0 if self.lse is None else int((~_close(self.lse, right.lse, right.lse_bound, ~right.known)).sum()))

    def is_right_where_known(self) -> bool:
        """Whether the run is right but for sequences of which any row is not predicted."""
        experiment = self.experiment
        prediction = experiment.predict(experiment.correct)
        rows = prediction.known.all(1).view(-1, experiment.problem.case.q_len).all(1, keepdim=True)
        known = rows.expand(-1, experiment.problem.case.q_len).reshape(-1, 1).expand_as(prediction.known)
        return self._is_explained(dataclasses.replace(prediction, known=known))

    @property
    def has_moderate_scores(self) -> bool:
        """Whether every visible token has a weight from which something can be told."""
        return self.experiment.problem.case.data in MODERATE

    @property
    def out(self) -> Tensor:
        """[num_rows, num_q_heads, value_head_dim], as the caller sees it."""
        case, view = self.experiment.problem.case, self.experiment.correct.addresses.out
        return self.memory.as_strided((case.num_rows, case.num_q_heads, case.value_head_dim), view.strides, view.offset)

    def is_explained_by(self, model: AccessModel) -> bool:
        """Whether a kernel with this model would have left this: written exactly where it writes, numbers within the bound."""
        return self._is_explained(self.experiment.predict(model))

    def has_right_out(self, model: AccessModel) -> bool:
        """Whether out, as the caller sees it, is that of a kernel with this model."""
        wanted = self.experiment.predict(model)
        return bool(_close(self.out, wanted.out, wanted.out_bound, torch.tensor(False)).all())

    def has_right_lse(self, model: AccessModel) -> bool:
        """The same for lse; True where it is not returned."""
        wanted = self.experiment.predict(model)
        return self.lse is None or bool(_close(self.lse, wanted.lse, wanted.lse_bound, torch.tensor(False)).all())

    def rules_out(self, model: AccessModel) -> bool:
        """Whether the shortest wrong row contradicts the model, which is quick to see; False where that decides nothing."""
        row = self.telling_row
        if row is None or _stores(model) != _stores(self.experiment.correct) or model.output.empty_out is None:
            return False
        predicted = predict(self.experiment.memory, model, self.experiment.rounding, only=row)
        right = _close(self.out[row], predicted.out[row], predicted.out_bound[row], ~predicted.known[row, :, None])
        return not bool(right.all())

    @functools.cached_property
    def telling_row(self) -> int | None:
        """The wrong row of out with the fewest visible tokens: the cheapest one to predict."""
        right = self.experiment.predict(self.experiment.correct)
        wrong = (~_close(self.out, right.out, right.out_bound, ~right.known[..., None])).flatten(1).any(1).nonzero().flatten()
        spans = self.experiment.correct.visibility.spans
        tokens = {row: sum(end - first for first, end in spans[row]) for row in wrong.tolist()}
        return min(tokens, key=lambda row: (tokens[row], row)) if tokens else None

    def _is_explained(self, prediction: Prediction) -> bool:
        if self.lse is not None and not bool(_close(self.lse, prediction.lse, prediction.lse_bound, ~prediction.known).all()):
            return False
        cells = prediction.addresses
        if prediction.model.output.empty_out is None:
            cells = cells[torch.tensor([bool(spans) for spans in prediction.model.visibility.spans])]
        inside = (cells >= 0) & (cells < len(self.memory))
        if not self.experiment.memory.fenced and not bool(inside.all()):
            return False  # a run without a fence would have overwritten foreign memory
        return self._holds(prediction, cells[inside])

    def _holds(self, prediction: Prediction, cells: Tensor) -> bool:
        """Whether every cell that is written holds what some row stores there, and every other one is unwritten.

        Rows of a faulty kernel may overlap, and nothing says which of them stores last: any of them explains a cell.
        """
        written = torch.zeros(len(self.memory), dtype=torch.bool)
        written[cells.flatten()] = True
        if not bool(self.unwritten[~written].all()):
            return False
        addresses = prediction.addresses
        dims = min(prediction.out.shape[2], addresses.shape[2])
        inside = (addresses >= 0) & (addresses < len(self.memory))
        got = self.memory[torch.where(inside, addresses, 0)]
        right = torch.ones_like(inside)  # dims stored beyond a row may hold anything
        out, bound = prediction.out[..., :dims], prediction.out_bound[..., :dims]
        right[..., :dims] = _close(got[..., :dims], out, bound, ~prediction.known[..., None])
        explained = torch.zeros_like(written)
        explained[addresses[right & inside]] = True
        return bool(explained[written].all())


def make_experiment(
    case: Case, target: Target, device: str, *, fenced: bool, known: tuple[str, ...] = (), memory: str = "random"
) -> Experiment:
    """The case on memory of finite noise, or of another kind that `build` knows. `fenced`: the target will be run inside a memory
    fence. What is correct has the `known` faults, if there are any: they are not what is looked for."""
    problem = prepare(case, target, device, memory=memory)
    correct = correct_model(problem)
    if "out" not in target.options:
        shape = problem.out.shape
        correct = replace(correct, "addresses", out=TensorView("result", 0, (shape[1] * shape[2], shape[2], 1)))
    rounding = rounding_of(target.arithmetic_of(case), case, interpreted=device == "cpu")
    correct, *other_forms = models_with_faults(known, problem, correct)
    return Experiment(Memory(problem, fenced), correct, rounding, tuple(other_forms))


def observe(label: str, experiment: Experiment, target: Target, fill: int | None = None) -> Observation:
    """Run the target. Memory that it allocates itself holds the byte `fill` everywhere, or what the case says. Raises what
    `invoke` raises."""
    fill = allocation_fill(experiment.problem.case) if fill is None else fill
    out, lse = invoke(experiment.problem, target, fill)
    if "out" in target.options:
        storage = experiment.problem.buffers["out"].storage
        unwritten = is_unwritten(storage)
    else:
        storage = out.contiguous().flatten()
        mark = int.from_bytes(bytes([fill]) * storage.element_size(), "big", signed=True)
        unwritten = storage.view(_BITS[storage.element_size()]) == mark
    copied = None if lse is None else lse.detach().cpu().double()
    return Observation(label, experiment, storage.detach().cpu().double().clone(), unwritten.cpu(), copied)


def _stores(model: AccessModel) -> tuple[TensorView, tuple[int, ...], int]:
    """Where out is stored."""
    return model.addresses.out, model.lookup.out_row, model.output.stored_beyond_row


def _close(got: Tensor, wanted: Tensor, bound: Tensor, unknown: Tensor) -> Tensor:
    same = (got == wanted) | (torch.isnan(got) & torch.isnan(wanted))
    return same | ((got - wanted).abs() <= bound) | unknown
