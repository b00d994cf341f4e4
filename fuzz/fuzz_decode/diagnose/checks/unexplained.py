"""What can be said where no fault explains the output: which elements are wrong, and, where a row of out must be a row of V,
the address that was read. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fuzz_decode.diagnose.access_model import AccessModel
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.memory import Memory, cache_offsets, slots_of
from fuzz_decode.diagnose.observation import Observation
from fuzz_decode.problems.problem import Problem

MAX_BYTES = 2**28  # of an allocation that is searched
MAX_GRID = 2**20  # rows of a cache among which an address is looked up


def describe_unexplained(runs: list[Observation], out_of_time: bool) -> Diagnosis:
    """The runs are wrong, and no known fault explains them; `out_of_time`: or there was no time to try them all."""
    nothing = "there was no time to try every known fault" if out_of_time else "no known fault explains it"
    for run in runs:
        if addresses := list(_read_instead(run)):
            return Diagnosis(sentence=addresses[0], evidence=tuple(addresses[:8]))
    first = runs[0]
    wrong = _wrong(first)
    about = f"on finite memory {_summary(first, wrong)} are wrong" if bool(wrong.any()) else _only_lse(first)
    parts = [f"{nothing}; {about}"]
    if bool(torch.isnan(first.out[wrong]).any()):
        parts.append("some are NaN although all readable memory is finite")
    return Diagnosis(sentence="; ".join(parts), evidence=tuple(f"{run.label}: {_summary(run, _wrong(run))}" for run in runs[:8]))


def _wrong(run: Observation) -> Tensor:
    right = run.experiment.predict(run.experiment.correct)
    return ~((run.out - right.out).abs() <= right.out_bound)


def _only_lse(run: Observation) -> str:
    if run.lse is None:
        return "all of out is correct, memory around it is written"
    right = run.experiment.predict(run.experiment.correct)
    close = ((run.lse - right.lse).abs() <= right.lse_bound) | (run.lse == right.lse)
    rows, heads = ((~close).any(1 - axis).nonzero().flatten().tolist() for axis in (0, 1))
    where = f"{_some(rows, 'row of q', close.shape[0])}, {_some(heads, 'q head', close.shape[1])}"
    return f"out is correct, lse is wrong in {where}"


def _summary(run: Observation, wrong: Tensor) -> str:
    """`sequence 1 of 3, all q heads, dims 16 to 31 of 32`."""
    names = ("sequence" if run.experiment.problem.case.q_len == 1 else "row", "q head", "dim")
    axes = [wrong.any(dim=[other for other in range(3) if other != axis]).nonzero().flatten().tolist() for axis in range(3)]
    where = ", ".join(_some(indices, name, size) for indices, name, size in zip(axes, names, wrong.shape, strict=True))
    unwritten = int(_unwritten(run).sum())
    return f"{int(wrong.sum())} of {wrong.numel()} elements of out ({where})" + f", {unwritten} of which were never written" * (
        unwritten > 0
    )


def _unwritten(run: Observation) -> Tensor:
    view, shape = run.experiment.correct.addresses.out, run.out.shape
    return run.unwritten.as_strided(shape, view.strides, view.offset)


def _some(indices: list[int], name: str, size: int) -> str:
    if len(indices) == size:
        return f"all {name}s" if size > 1 else f"the only {name}"
    if len(indices) > 1 and indices == list(range(indices[0], indices[-1] + 1)):
        return f"{name}s {indices[0]} to {indices[-1]} of {size}"
    shown = ", ".join(map(str, indices[:6])) + ", ..." * (len(indices) > 6)
    return f"{name}{'s' * (len(indices) > 1)} {shown} of {size}"


def _read_instead(run: Observation) -> Iterator[str]:
    """For rows with one visible token, whose out is a row of V: where the row that came lies in the memory of K and V."""
    problem, model = run.experiment.problem, run.experiment.correct
    wrong = _wrong(run).any(-1)
    for row, spans in enumerate(model.visibility.spans):
        if len(spans) != 1 or spans[0][1] - spans[0][0] != 1 or model.scores.sink_head:
            continue
        for head in wrong[row].nonzero().flatten().tolist():
            found = _find(problem, model, run.out[row, head])
            if found is not None:
                buffer, address = found
                correct = _correct_address(problem, model, row, head, spans[0][0])
                read = f"element {address} of {buffer}'s memory{_position(problem, model, buffer, address)}"
                wanted = f"element {correct}{_position(problem, model, model.addresses.v.buffer, correct)}"
                yield f"{problem.case.row_name(row)}, q head {head} read {read}, wanted {wanted}"


def _find(problem: Problem, model: AccessModel, row: Tensor) -> tuple[str, int] | None:
    """The one address where this row lies, dims strided as in V, and its allocation; addresses count from the layout's start.

    None if it lies nowhere or in several places of an allocation, or is so short that it may lie anywhere by chance."""
    view, close = model.addresses.v, torch.finfo(problem.q.dtype).eps * row.abs()
    for name in dict.fromkeys((view.buffer, "k", "v", "q")):
        if name not in problem.buffers:
            continue
        buffer = problem.buffers[name]
        if buffer.storage.nbytes > MAX_BYTES:
            continue
        storage, steps = buffer.storage.cpu().double() * model.scores.v_scale, torch.arange(len(row)) * view.strides[-1]
        starts = ((storage[: max(0, len(storage) - int(steps[-1]))] - row[0]).abs() <= close[0]).nonzero().flatten()
        matches = [start for start in starts.tolist() if bool(((storage[start + steps] - row).abs() <= close).all())]
        if len(matches) == 1 and len(row) >= 4:
            return name, matches[0] - buffer.guard
    return None


def _correct_address(problem: Problem, model: AccessModel, row: int, head: int, token: int) -> int:
    """Where V of the token lies; addresses count from the layout's start."""
    view, tokens = model.addresses.v, torch.tensor([token])
    blocks, _ = Memory(problem).block_ids(model, row, tokens)
    heads = torch.tensor([model.lookup.v_head[head]])
    offset = cache_offsets(problem, view, blocks, slots_of(model, tokens), heads, torch.tensor([0]))
    return view.offset + int(offset) - problem.buffers[view.buffer].guard


def _position(problem: Problem, model: AccessModel, name: str, address: int) -> str:
    """` (block 3, slot 0, head 1 of V)` if a row of V or K starts there."""
    case = problem.case
    for view, words in ((model.addresses.v, "V"), (model.addresses.k, "K")):
        sizes = (case.num_blocks, case.block_size, case.num_kv_heads)
        if view.buffer != name or sizes[0] * sizes[1] * sizes[2] > MAX_GRID:
            continue
        axes = [torch.arange(size) * stride for size, stride in zip(sizes, view.strides, strict=False)]
        grid = axes[0][:, None, None] + axes[1][:, None] + axes[2] + view.offset - problem.buffers[name].guard
        hits = (grid == address).nonzero().tolist()
        if hits:
            block, slot, head = hits[0]
            return f" (block {block}, slot {slot}, head {head} of {words})"
    return ""
