"""Which addresses a kernel reads and writes for one row of out: as the contract wants, and with a fault. Where no fault tells,
what it is seen to read in Triton's interpreter, for all rows together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, Span, TensorView, read_correctly, row_ends, span
from fuzz_decode.diagnose.diagnosis import Access, Trace, TraceRequest
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.predict import block_ids, cache_offsets, tokens_in
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected, invoke
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Buffer, Problem
from fuzz_decode.targets.target import Target
from fuzz_decode.triton_interpreter.memory_fence import memory_fence

MAX_TOKENS = 2**12  # of a row, that are followed
MAX_PLACES = 2**10  # rows and heads among which a telling one is looked for
TENSORS = {"q": "q", "k": "k_cache", "v": "v_cache", "table": "block_table", "out": "out"}


def trace(asked: TraceRequest, target: Target | None = None) -> Trace:
    """What is wanted and what the fault makes of it, for the row and head of `asked`, or for the first ones that tell them
    apart. A `target` is run, in the interpreter, if that does not say what it reads."""
    problem = build_problem(asked.case, "cpu")
    correct = read_correctly(problem)
    faulty = _with_fault(asked.fault, problem, correct)
    row, head = _telling(problem, correct, faulty, asked.where)
    wanted, actual = (tuple(_accesses(problem, reading, row, head)) for reading in (correct, faulty))
    if unmasked := _only_unmasked(asked.fault):
        right = {*wanted}
        actual = tuple(one for one in actual if one.tensor in unmasked or one in right)
    reads = _watched(problem, target) if target and faulty == correct else None
    return Trace(faulty != correct, row, head, wanted, actual, _moved(correct, faulty), reads)


def _with_fault(name: str, problem: Problem, correct: AccessModel) -> AccessModel:
    """The reading with that fault, the correct one where it is unknown or does not apply."""
    if name.endswith("-unmasked"):
        ends = enumerate(row_ends(problem.case))
        return dataclasses.replace(correct, spans=tuple(_unmasked(name, problem.case, row, end) for row, end in ends))
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


def _telling(problem: Problem, correct: AccessModel, faulty: AccessModel, first: tuple[int, int]) -> tuple[int, int]:
    """The row and head of `first`, if there are such, or the first ones that tell the readings apart."""
    case = problem.case
    first = first if first[0] < case.num_rows and first[1] < case.num_q_heads else (0, 0)
    every = itertools.product(range(case.num_rows), range(case.num_q_heads))
    places = [first, *itertools.islice(every, MAX_PLACES)] if faulty != correct else []
    differ = (at for at in places if list(_accesses(problem, correct, *at)) != list(_accesses(problem, faulty, *at)))
    return next(differ, first)


def _accesses(problem: Problem, reading: AccessModel, row: int, head: int) -> Iterator[Access]:
    """Of q, the table's entries, K and V of each token, and out."""
    case, tokens = problem.case, tokens_in(reading.spans[row])[:MAX_TOKENS]
    yield _row_access(problem, "q", reading.q, reading.q_row[row], reading.q_head[head], reading.head_dim)
    for column in torch.unique(tokens // reading.columns).tolist():
        address = reading.table_row[row] * reading.table.strides[0] + column * reading.table.strides[1]
        yield _access(problem, "table", reading.table, address, 1, 1, column)
    slots = tokens % reading.block_size % (reading.slots or reading.block_size)
    value_dims = min(reading.value_head_dim, case.value_head_dim)
    for tensor, place, kv_head, tile, length in (
        ("k", reading.k, reading.kv_head[head], reading.tile, reading.head_dim),
        ("v", reading.v, reading.v_head[head], reading.v_tile if reading.v_tile > 1 else reading.tile, value_dims),
    ):
        blocks, _ = block_ids(problem, reading, row, tokens, tile)
        offsets = cache_offsets(problem, place, blocks, slots, _one(kv_head), _one(0)).flatten()
        for token, offset in zip(tokens.tolist(), offsets.tolist(), strict=True):
            yield _access(problem, tensor, place, offset, place.strides[3], length, token)
    if row < len(reading.out_row):
        yield _row_access(problem, "out", reading.out, reading.out_row[row], head, case.value_head_dim + reading.overhang)


def _row_access(problem: Problem, tensor: str, place: TensorView, row: int, head: int, length: int) -> Access:
    offset = row * place.strides[0] + head * place.strides[1]
    return _access(problem, tensor, place, offset, place.strides[2], length, 0)


def _access(problem: Problem, tensor: str, place: TensorView, offset: int, step: int, length: int, token: int) -> Access:
    start = place.offset - problem.buffers[place.buffer].guard
    return Access(tensor, place.buffer, int(start + offset), step, length, token)


def _moved(correct: AccessModel, faulty: AccessModel) -> dict[str, tuple[int, ...]]:
    places = {name: (getattr(correct, name), getattr(faulty, name)) for name in TENSORS}
    return {TENSORS[name]: now.strides for name, (was, now) in places.items() if was.strides != now.strides}


def _watched(problem: Problem, target: Target) -> dict[str, tuple[tuple[int, int], ...]] | None:
    """What the target reads of each buffer; None if no Triton kernel of it ran."""
    with memory_fence(keep_reads=True) as fence, contextlib.suppress(TargetFailed, TargetRejected):
        invoke(problem, target)
    if not fence.reads:
        return None
    addresses = np.unique(np.concatenate(fence.reads))
    return {name: tuple(_ranges(addresses, buffer)) for name, buffer in problem.buffers.items()}


def _ranges(addresses: Any, buffer: Buffer) -> Iterator[tuple[int, int]]:
    """Runs of elements that are all read, from where the layout begins."""
    storage, size = buffer.storage, buffer.storage.element_size()
    inside = addresses[(addresses >= storage.data_ptr()) & (addresses < storage.data_ptr() + storage.nbytes)]
    elements = np.unique((inside - storage.data_ptr()) // size) - buffer.guard
    for run in np.split(elements, np.flatnonzero(np.diff(elements) > 1) + 1)[:MAX_TOKENS]:
        if len(run):
            yield int(run[0]), int(run[-1]) + 1


def _one(number: int) -> Tensor:
    return torch.tensor([number])
