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

from fuzz_decode.diagnose.access_model import AccessModel, Span, TensorView
from fuzz_decode.diagnose.memory import Memory, cache_offsets, has_blocks, shift_of_packing, slots_of
from fuzz_decode_reference import Rounding
from fuzz_decode_reference.bound import SLACK, row_bound
from fuzz_decode_reference.gather_attention import QueryRow

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
    case, seen = memory.problem.case, model.visibility
    prediction = _nothing_visible(memory, model, rounding)
    for row in range(case.num_rows) if only is None else (only,):
        if not (seen.spans[row] or any(seen.extra_tokens[row : row + 1])):
            continue
        tokens = tokens_in(seen.spans[row])
        step = max(1, MAX_GATHERED // max(1, len(tokens) * max(case.head_dim, case.value_head_dim)))
        for first in range(0, case.num_q_heads, step):
            _fill(prediction, memory, row, slice(first, min(first + step, case.num_q_heads)), tokens, rounding)
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


def _fill(prediction: Prediction, memory: Memory, row: int, heads: slice, tokens: Tensor, rounding: Rounding) -> None:
    """Compute some heads of one row, in place."""
    gathered, known = gather(memory, prediction.model, row, heads, tokens)
    out, lse = answer = gathered.attend()
    out_bound, lse_bound = row_bound(gathered, rounding, answer)
    out_bound, lse_bound = SLACK * (out_bound + rounding.out_tiny), SLACK * lse_bound
    if prediction.model.output.lse != "natural":
        convention, top = LSE[prediction.model.output.lse], gathered.scores.amax(dim=-1)
        # a steep convention, such as exp, amplifies the error as it amplifies the number
        steep = (convention(lse + lse_bound, top) - convention(lse, top)).abs()
        lse, lse_bound = convention(lse, top), 2 * (lse_bound + steep)
    prediction.out[row, heads], prediction.lse[row, heads] = out, lse
    prediction.out_bound[row, heads], prediction.lse_bound[row, heads] = out_bound, lse_bound
    prediction.known[row, heads] = known & torch.isfinite(out).all(-1) & torch.isfinite(lse)


def gather(memory: Memory, model: AccessModel, row: int, heads: slice, tokens: Tensor) -> tuple[QueryRow, Tensor]:
    """What some q heads of one row are computed from, extra tokens included, and which heads are known.

    Groups in the QueryRow are those whose q heads all read the same KV heads: a fault may send two of a group to different ones.
    """
    scores = model.scores
    q, q_known = _queries(memory, model, row, heads)
    k, v, kv_known = _keys_and_values(memory, model, row, heads, tokens)
    distance = (tokens - scores.position[row]).double()
    if extra := sum(model.visibility.extra_tokens[row : row + 1]):
        k, v, distance = (torch.cat([part, part.new_zeros(extra, *part.shape[1:])]) for part in (k, v, distance))
    sinks, sinks_known = _sinks(memory, model, row, heads)
    gathered = QueryRow(
        q=q,
        k=k,
        v=v,
        distance=distance,
        position=scores.position[row],
        scale=scores.scale * scores.k_scale,
        k_scale=scores.k_scale,
        v_scale=scores.v_scale,
        softcap=scores.softcap,
        alibi_slopes=_slopes(memory, model, heads),
        sinks=None if sinks is None else sinks + math.log(scores.sink_count),
    )
    return gathered, q_known & kv_known & sinks_known


def _queries(memory: Memory, model: AccessModel, row: int, heads: slice) -> tuple[Tensor, Tensor]:
    """q [heads, head_dim], and which heads are known."""
    view, lookup = model.addresses.q, model.lookup
    s_row, s_head, s_dim = view.strides
    read = torch.tensor(lookup.q_head)[heads]
    offsets = lookup.q_row[row] * s_row + read[:, None] * s_head + torch.arange(lookup.head_dim) * s_dim
    q, known = memory.read(view, offsets)
    return q, known.all(-1)


def _keys_and_values(memory: Memory, model: AccessModel, row: int, heads: slice, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """K [tokens, KV heads, head_dim], V [tokens, KV heads, value_head_dim], each KV head for as many q heads, and which q heads
    are known."""
    problem, lookup = memory.problem, model.lookup
    value_head_dim = problem.case.value_head_dim
    k_dims, v_dims = torch.arange(lookup.head_dim), torch.arange(min(lookup.value_head_dim, value_head_dim))
    group = _largest_group([*zip(lookup.k_head[heads], lookup.v_head[heads], strict=True)])
    k_heads, v_heads = torch.tensor(lookup.k_head[heads][::group]), torch.tensor(lookup.v_head[heads][::group])
    slots = slots_of(model, tokens)
    k_blocks, k_found = memory.block_ids(model, row, tokens, lookup.tile)
    v_blocks, v_found = k_blocks, k_found
    if lookup.v_tile != 1:
        v_blocks, v_found = memory.block_ids(model, row, tokens, lookup.v_tile)
    k_view, v_view = model.addresses.k, model.addresses.v
    k_offsets = cache_offsets(problem, k_view, k_blocks, slots, k_heads, k_dims)
    v_offsets = cache_offsets(problem, v_view, v_blocks, slots, v_heads, v_dims)
    if lookup.k_packing is not None:
        k_offsets = k_offsets + shift_of_packing(lookup.k_packing, k_view, lookup.block_size, slots, k_dims)
    k, k_known = memory.read(k_view, k_offsets, has_blocks(problem, k_blocks))
    v, v_known = memory.read(v_view, v_offsets, has_blocks(problem, v_blocks))
    if lookup.v_slots is not None:
        v = torch.where((slots < lookup.v_slots)[:, None, None], v, 0.0)
    v = torch.nn.functional.pad(v, (0, value_head_dim - v.shape[-1]))
    heads_known = (k_known.all(-1).all(0) & v_known.all(-1).all(0)).repeat_interleave(group)
    return k, v, heads_known & k_found.all() & v_found.all()


def _largest_group(read: list[tuple[int, int]]) -> int:
    """How many q heads in a row read the same KV heads, all along."""
    sizes = (size for size in range(len(read), 0, -1) if len(read) % size == 0)
    return next(size for size in sizes if all(read[at] == read[at // size * size] for at in range(len(read))))


def _sinks(memory: Memory, model: AccessModel, row: int, heads: slice) -> tuple[Tensor | None, Tensor]:
    """The sinks of a row's heads, and which are known."""
    sinks, scores = memory.problem.sinks, model.scores
    if sinks is None or not scores.sink_head:
        return None, torch.tensor(True)
    offsets = torch.tensor(scores.sink_head)[heads] + row * scores.sink_step
    found, known = memory.read(TensorView("sinks", int(sinks.storage_offset()), (1,)), offsets)
    return found * scores.sink_factor, known


def _slopes(memory: Memory, model: AccessModel, heads: slice) -> Tensor | None:
    slopes, read = memory.problem.alibi_slopes, model.scores.slope_head[heads]
    return None if slopes is None or not read else slopes.double().cpu()[list(read)] * model.scores.alibi_factor


def tokens_in(spans: tuple[Span, ...]) -> Tensor:
    return torch.cat([torch.arange(0), *(torch.arange(first, end) for first, end in spans)])
