"""Oracle 3: a target writes to out only. Oracle 2, that all of out is written, is in `completeness`."""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.poison import is_unwritten
from fuzz_decode.problems.problem import Problem

SNAPSHOT_LIMIT = 2**24  # bytes; of larger buffers only the live rows are compared


def no_stray_writes(problem: Problem, run: KernelRun) -> list[Violation]:
    """Nothing around out, between its rows or beyond its ends was written."""
    buffer = problem.buffers["out"]
    storage = buffer.storage.cpu()
    intact = is_unwritten(storage)
    intact.as_strided(problem.out.shape, problem.out.stride(), problem.out.storage_offset()).fill_(True)
    if intact.view(torch.uint8).min():  # by far the fastest reduction to "all"
        return []
    stray = ~intact
    first, count = int(stray.int().argmax()), int(stray.sum())
    offset = first - int(problem.out.storage_offset())
    return [
        Violation(
            oracle="guards",
            symptom=Symptom.STRAY_WRITE,
            tensor="out",
            message=f"{count} elements outside out were overwritten, the first {offset} elements from its start",
            where=(offset,),
            got=storage[first].item(),
            wrong=count,
        )
    ]


def inputs_intact(problem: Problem, run: KernelRun) -> list[Violation]:
    """q, caches, table and lengths hold the bytes they held before the run, gaps and guards included."""
    # huge caches without tokens have no live rows, and nothing is compared
    differs = {name: before != _bytes_of(problem, name) for name, before in run.before.items() if before.numel()}
    # one synchronisation with the GPU for all; max is as fast
    changed = torch.stack([different.view(torch.uint8).max() for different in differs.values()]).tolist()
    counts = {name: int(differs[name].sum()) for name, is_changed in zip(differs, changed, strict=True) if is_changed}
    return [
        Violation("guards", Symptom.INPUT_MODIFIED, name, f"{count} bytes of the memory behind {name} were changed", wrong=count)
        for name, count in counts.items()
    ]


def snapshot(problem: Problem) -> dict[str, Tensor]:
    """The bytes of every input as they are now, for `inputs_intact`."""
    return {name: content.clone() for name, content in input_bytes(problem).items()}


def input_bytes(problem: Problem) -> dict[str, Tensor]:
    """The bytes of every input: views of the buffers that are compared whole, copies of live rows of the others."""
    return {name: _bytes_of(problem, name) for name in problem.buffers if name != "out"}


def _bytes_of(problem: Problem, name: str) -> Tensor:
    storage = problem.buffers[name].storage
    if storage.nbytes <= SNAPSHOT_LIMIT:
        return storage.view(torch.uint8)
    return torch.cat([part.reshape(-1).contiguous().view(torch.uint8) for part in _live_parts(problem, name)])


def _live_parts(problem: Problem, name: str) -> list[Tensor]:
    """The parts of one buffer that the case references; K's buffer may hold V."""
    if name not in ("k", "v"):
        return [getattr(problem, name)]
    caches = {"k": [problem.k_cache, *([] if "v" in problem.buffers else [problem.v_cache])], "v": [problem.v_cache]}
    tokens, device = problem.values.tokens, problem.q.device
    blocks = torch.tensor(problem.case.blocks(), dtype=torch.long)[tokens.page].to(device)
    return [cache[blocks, tokens.slot.to(device)] for cache in caches[name]]
