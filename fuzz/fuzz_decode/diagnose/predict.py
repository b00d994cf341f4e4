"""What a kernel with a given access model would put out: float64 attention over the raw storage, by flat addresses.

The error bound is the reference's, for the data that the model gathers, so that a prediction is as sharp as the oracle.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel
from fuzz_decode.diagnose.gather import gather, num_counted, num_kv_heads_read
from fuzz_decode.diagnose.memory import Memory
from fuzz_decode_reference import Rounding
from fuzz_decode_reference.bound import SLACK, row_bound
from fuzz_decode_reference.gather_attention import BATCH_ELEMENTS, batches_of_like_length

MAX_GATHERED = 2**22  # elements of K or V that are in memory at once
LOG2_E = math.log2(math.e)

# (lse, largest score) -> what is returned
LSE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "natural": lambda lse, top: lse,
    "base 2": lambda lse, top: lse * LOG2_E,
    "base 10": lambda lse, top: lse / math.log(10),
    "ln 2 too much": lambda lse, top: lse / LOG2_E,
    "without maximum": lambda lse, top: lse - top,
    "maximum only": lambda lse, top: top,
    "maximum twice": lambda lse, top: lse + top,
    "maximum in base 2": lambda lse, top: lse - top + top * LOG2_E,
    "sum in base 2": lambda lse, top: top + (lse - top) * LOG2_E,
    "sum": lambda lse, top: lse.exp(),
    "sum without maximum": lambda lse, top: (lse - top).exp(),
    "negative": lambda lse, top: -lse,
}
EMPTY_LSE = {
    "-inf": -math.inf,
    "+inf": math.inf,
    "0": 0.0,
    "nan": math.nan,
    "lowest": torch.finfo(torch.float32).min,
    "-1e30": -1e30,
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a kernel with this model would give, in float64 on the CPU."""

    model: AccessModel
    out: Tensor
    """[num_rows, num_q_heads, value_head_dim]"""
    lse: Tensor
    """[num_rows, num_q_heads]"""
    out_bound: Tensor
    """As out: how far a kernel may be from it."""
    lse_bound: Tensor
    """As lse."""
    known: Tensor
    """[num_rows, num_q_heads], bool: False where the numbers depend on memory whose contents are unknown."""

    @property
    def addresses(self) -> Tensor:
        """Where each element of out is stored [num_rows, num_q_heads, value_head_dim + stored_beyond_row], by elements of its
        buffer."""
        view, (_, num_heads, num_dims) = self.model.addresses.out, self.out.shape
        s_row, s_head, s_dim = view.strides
        rows, heads = torch.tensor(self.model.lookup.out_row), torch.arange(num_heads)
        dims = torch.arange(num_dims + self.model.output.stored_beyond_row)
        return view.offset + (rows[:, None] * s_row + heads * s_head)[..., None] + dims * s_dim


def predict(memory: Memory, model: AccessModel, rounding: Rounding, only: int | None = None) -> Prediction:
    """The outcome of a kernel that has this model and is right otherwise; of one row `only`, if it is given."""
    case, counts = memory.problem.case, num_counted(model)
    prediction = _nothing_visible(memory, model, rounding)
    dims = max(1, case.head_dim, case.value_head_dim)
    wanted = counts if only is None else [count * (row == only) for row, count in enumerate(counts)]
    for rows in batches_of_like_length(wanted, BATCH_ELEMENTS // (num_kv_heads_read(model) * dims)):
        step = max(1, MAX_GATHERED // (len(rows) * counts[rows[0]] * dims))
        for first in range(0, case.num_q_heads, step):
            _fill(prediction, memory, rows, slice(first, min(first + step, case.num_q_heads)), rounding)
    return _with_lse_of_other_heads(prediction) if model.output.lse_head else prediction


def _nothing_visible(memory: Memory, model: AccessModel, rounding: Rounding) -> Prediction:
    """What is given for rows without visible tokens, in all rows."""
    case, output = memory.problem.case, model.output
    shape = (case.num_rows, case.num_q_heads, case.value_head_dim)
    return Prediction(
        model,
        out=torch.full(shape, math.nan if output.empty_out is None else output.empty_out, dtype=torch.float64),
        lse=torch.full(shape[:2], EMPTY_LSE[output.empty_lse], dtype=torch.float64),
        out_bound=torch.full(shape, rounding.out_tiny, dtype=torch.float64),
        lse_bound=torch.zeros(shape[:2], dtype=torch.float64),
        known=torch.ones(shape[:2], dtype=torch.bool),
    )


def _with_lse_of_other_heads(prediction: Prediction) -> Prediction:
    order = list(prediction.model.output.lse_head)
    return dataclasses.replace(prediction, lse=prediction.lse[:, order], lse_bound=prediction.lse_bound[:, order])


def _fill(prediction: Prediction, memory: Memory, rows: list[int], heads: slice, rounding: Rounding) -> None:
    """Compute some heads of some rows, in place."""
    gathered, known = gather(memory, prediction.model, rows, heads)
    out, lse = answer = gathered.attend()
    out_bound, lse_bound = row_bound(gathered, rounding, answer)
    out_bound, lse_bound = SLACK * (out_bound + rounding.out_tiny), SLACK * lse_bound
    if prediction.model.output.lse != "natural":
        convention, top = LSE[prediction.model.output.lse], gathered.scores.amax(dim=-1)
        # a steep convention, such as exp, amplifies the error as it amplifies the number
        steep = (convention(lse + lse_bound, top) - convention(lse, top)).abs()
        lse, lse_bound = convention(lse, top), 2 * (lse_bound + steep)
    prediction.out[rows, heads], prediction.lse[rows, heads] = out, lse
    prediction.out_bound[rows, heads], prediction.lse_bound[rows, heads] = out_bound, lse_bound
    prediction.known[rows, heads] = known & torch.isfinite(out).all(-1) & torch.isfinite(lse)
