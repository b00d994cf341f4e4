"""Which addresses a kernel reads and writes for one row of out: as the contract wants, and with a fault. Where no fault is known,
what it is observed to read on the CPU, for all rows together.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, Span, TensorView, correct_model, replace, row_ends, span
from fuzz_decode.diagnose.diagnosis import Access, Trace, TraceRequest
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.gather import tokens_in
from fuzz_decode.diagnose.memory import Memory, cache_offsets, slots_of
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected, invoke
from fuzz_decode.execute.watch import contained
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Buffer, Problem
from fuzz_decode.targets.target import Target

MAX_TOKENS = 2**12  # of a row, that are followed
MAX_SEARCHED = 2**10  # pairs of a row and a head among which one that shows the fault is searched
TENSORS = {"q": "q", "k": "k_cache", "v": "v_cache", "table": "block_table", "out": "out"}


def trace(request: TraceRequest, target: Target | None = None) -> Trace:
    """What is wanted and what the fault makes of it, for the row and head of the request if they differ there, otherwise for the
    first ones at which they do. A `target` is run, on the CPU, where no fault says what it reads."""
    problem = build_problem(request.case, "cpu")
    correct = correct_model(problem)
    faulty = _with_fault(request.fault, problem, correct)
    row, head = _where_they_differ(problem, correct, faulty, request.where)
    wanted, actual = (tuple(_accesses(problem, model, row, head)) for model in (correct, faulty))
    if unmasked := _only_unmasked(request.fault):
        right = {*wanted}
        actual = tuple(access for access in actual if access.tensor in unmasked or access in right)
    reads = _watched_reads(problem, target) if target and faulty == correct else None
    return Trace(faulty != correct, row, head, wanted, actual, _changed_strides(correct, faulty), reads)


def _with_fault(name: str, problem: Problem, correct: AccessModel) -> AccessModel:
    """The model with that fault, the correct one where it is unknown or does not apply."""
    if name.endswith("-unmasked"):
        ends = enumerate(row_ends(problem.case))
        return replace(correct, "visibility", spans=tuple(_unmasked(name, problem.case, row, end) for row, end in ends))
    fault = next((fault for fault in FAULTS if fault.name == name), None)
    return (fault and fault.apply(problem, correct)) or correct


def _unmasked(name: str, case: Case, row: int, end: int) -> tuple[Span, ...]:
    """The tokens of a row whose mask is missing: to the end of the last block, or from the first token on."""
    first = 0 if case.window is None or name.startswith("window-") else end - case.window
    length = case.seq_lens[row // case.q_len]
    last = -(-length // case.block_size) * case.block_size if name.startswith("tail-") else end
    return span(first, last) if end > 0 else ()


def _only_unmasked(name: str) -> tuple[str, ...]:
    """The caches that a missing mask is about, as its name says: `tail-v-unmasked`."""
    return tuple(name.split("-")[1]) if name.endswith("-unmasked") else ()


def _where_they_differ(problem: Problem, correct: AccessModel, faulty: AccessModel, first: tuple[int, int]) -> tuple[int, int]:
    """The row and head of `first`, if there are such, or the first ones at which the models access different memory."""
    case = problem.case
    first = first if first[0] < case.num_rows and first[1] < case.num_q_heads else (0, 0)
    every = itertools.product(range(case.num_rows), range(case.num_q_heads))
    searched = [first, *itertools.islice(every, MAX_SEARCHED)] if faulty != correct else []
    differ = (at for at in searched if list(_accesses(problem, correct, *at)) != list(_accesses(problem, faulty, *at)))
    return next(differ, first)


def _accesses(problem: Problem, model: AccessModel, row: int, head: int) -> Iterator[Access]:
    """Of q, the table's entries, K and V of each token, and out."""
    views, lookup = model.addresses, model.lookup
    tokens = tokens_in(model.visibility.spans[row])[:MAX_TOKENS]
    yield _row_access(problem, "q", views.q, lookup.q_row[row], lookup.q_head[head], lookup.head_dim)
    for column in torch.unique(tokens // lookup.column_tokens).tolist():
        offset = lookup.table_row[row] * views.table.strides[0] + column * views.table.strides[1]
        yield _access(problem, "table", views.table, offset, 1, 1, column)
    yield from _cache_accesses(problem, model, row, head, tokens)
    if row < len(lookup.out_row):
        stored = problem.case.value_head_dim + model.output.stored_beyond_row
        yield _row_access(problem, "out", views.out, lookup.out_row[row], head, stored)


def _cache_accesses(problem: Problem, model: AccessModel, row: int, head: int, tokens: Tensor) -> Iterator[Access]:
    """Of K and V, for each token."""
    lookup, slots = model.lookup, slots_of(model, tokens)
    value_dims = min(lookup.value_head_dim, problem.case.value_head_dim)
    v_tile = lookup.v_tile if lookup.v_tile > 1 else lookup.tile
    for tensor, view, kv_head, tile, length in (
        ("k", model.addresses.k, lookup.k_head[head], lookup.tile, lookup.head_dim),
        ("v", model.addresses.v, lookup.v_head[head], v_tile, value_dims),
    ):
        blocks, _ = Memory(problem).block_ids(model, row, tokens, tile)
        offsets = cache_offsets(problem, view, blocks, slots, torch.tensor([kv_head]), torch.tensor([0])).flatten()
        for token, offset in zip(tokens.tolist(), offsets.tolist(), strict=True):
            yield _access(problem, tensor, view, offset, view.strides[3], length, token)


def _row_access(problem: Problem, tensor: str, view: TensorView, row: int, head: int, length: int) -> Access:
    offset = row * view.strides[0] + head * view.strides[1]
    return _access(problem, tensor, view, offset, view.strides[2], length, 0)


def _access(problem: Problem, tensor: str, view: TensorView, offset: int, step: int, length: int, token: int) -> Access:
    start = view.offset - problem.buffers[view.buffer].guard
    return Access(tensor, view.buffer, int(start + offset), step, length, token)


def _changed_strides(correct: AccessModel, faulty: AccessModel) -> dict[str, tuple[int, ...]]:
    """The faulty strides, of tensors whose strides the fault changes."""
    views = {name: (getattr(correct.addresses, name), getattr(faulty.addresses, name)) for name in TENSORS}
    return {TENSORS[name]: now.strides for name, (was, now) in views.items() if was.strides != now.strides}


def _watched_reads(problem: Problem, target: Target) -> dict[str, tuple[tuple[int, int], ...]] | None:
    """What the target reads of each buffer; None if no Triton kernel of it ran."""
    with contained("cpu", keep_reads=True) as record, contextlib.suppress(TargetFailed, TargetRejected):
        invoke(problem, target)
    if record is None or not record.reads:
        return None
    addresses = np.unique(np.concatenate(record.reads))
    return {name: tuple(_ranges(addresses, buffer)) for name, buffer in problem.buffers.items()}


def _ranges(addresses: Any, buffer: Buffer) -> Iterator[tuple[int, int]]:
    """Runs of elements that are all read, from where the layout begins."""
    storage, size = buffer.storage, buffer.storage.element_size()
    inside = addresses[(addresses >= storage.data_ptr()) & (addresses < storage.data_ptr() + storage.nbytes)]
    elements = np.unique((inside - storage.data_ptr()) // size) - buffer.guard
    for run in np.split(elements, np.flatnonzero(np.diff(elements) > 1) + 1)[:MAX_TOKENS]:
        if len(run):
            yield int(run[0]), int(run[-1]) + 1
