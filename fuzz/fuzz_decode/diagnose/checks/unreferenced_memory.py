"""Experiments for a target that is right while all memory is finite: which memory must hold NaN for it to go wrong?

One region at a time is poisoned, all else holds finite noise. What matters is read, although it weighs nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.diagnosis import Diagnosis
from fuzz_decode.diagnose.observation import observe, scene
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.execute.run_case import run_case
from fuzz_decode.problems.build import is_small
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target

MAX_SLOTS = 2**22  # of a pool that is looked at slot by slot
FOREIGN, TAIL, BEFORE, LIVE, FIRST = range(5)
SLOTS = {
    TAIL: ("tail", "the last block's unused slots"),
    BEFORE: ("window", "tokens before the window"),
    FIRST: ("block-0", "block 0 (which no sequence uses)"),
    FOREIGN: ("foreign", "other blocks that no sequence uses"),
}


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that a case does not reference: a short name, of what, and where, and how to poison it."""

    name: str
    tensor: str
    place: str
    poison: Callable[[Problem], None]


def what_matters(case: Case, target: Target, device: str) -> Diagnosis:
    """The regions whose NaN reaches the output, told on a case whose blocks do not begin with block 0, if that fails, too."""
    table = dataclasses.replace(
        case.table, first_block=max(2, case.table.first_block), spare_blocks=max(2, case.table.spare_blocks)
    )
    spread = dataclasses.replace(case, table=table)
    if is_valid(spread) and target.unsupported_reason(spread) is None and run_case(spread, target, device).findings:
        return _what_matters(spread, target, device)
    return _what_matters(case, target, device)


def _what_matters(case: Case, target: Target, device: str) -> Diagnosis:
    if case.num_blocks * case.block_size > MAX_SLOTS:
        return Diagnosis(
            sentence="right on finite memory, wrong where all that it must not read is NaN; the pool is too large to say where"
        )
    tried = {region: _goes_wrong(region, case, target, device) for region in regions(case)}
    guilty = [region for region, wrong in tried.items() if wrong]
    evidence = tuple(f"NaN in {r.tensor} of {r.place}: {'wrong' if wrong else 'right'}" for r, wrong in tried.items())
    if not guilty:
        return Diagnosis(
            sentence="right on finite memory, wrong where all that it must not read is NaN; no one region does it alone",
            evidence=evidence,
        )
    name = guilty[0].name
    tensors = [region.tensor for region in guilty if region.name == name]
    fault = f"{name}-{''.join(tensor.lower() for tensor in tensors)}-unmasked" if name in ("tail", "window") else f"{name}-read"
    return Diagnosis(fault, _sentence(guilty), True, evidence)


def regions(case: Case) -> Iterator[Region]:
    """Every region that the case has, the likeliest first."""
    kinds = _kinds(case)
    caches = (("V", "v_cache"), ("K", "k_cache")) if not case.v_prefix_of_k else (("K", "k_cache"),)
    for kind, (name, words) in SLOTS.items():
        blocks, slots = (kinds == kind).nonzero(as_tuple=True)
        if len(blocks):
            for tensor, attribute in caches:
                yield Region(name, tensor, words, _in_slots(attribute, blocks, slots))
    for tensor, buffer in (("V", "v"), ("K", "k"), ("q", "q")):
        if is_small(case) and (buffer in ("k", "q") or case.v is not None):
            yield Region(
                "gaps", tensor, "the memory around its rows (gaps, padding, other planes, beyond its ends)", _around(buffer)
            )
    yield Region("table", "the block table", "its unused entries and the memory around them", _unused_entries)


def _goes_wrong(region: Region, case: Case, target: Target, device: str) -> bool:
    on = scene(case, target, device)
    region.poison(on.problem)
    try:
        return not observe(region.name, on, target).is_explained_by(on.correct)
    except (TargetFailed, TargetRejected):
        return True


def _kinds(case: Case) -> Tensor:
    """[num_blocks, block_size]: what each slot of the pool is to the case."""
    kinds = torch.full((case.num_blocks, case.block_size), FOREIGN)
    blocks = torch.tensor(case.blocks(), dtype=torch.long)
    for kind in (TAIL, BEFORE, LIVE):  # a slot that one sequence sees is live whatever it is to another
        for row, length in zip(case.pages(), case.seq_lens, strict=True):
            tokens = torch.arange(len(row) * case.block_size)
            first = 0 if case.window is None else max(0, length - case.window)
            mine = {TAIL: tokens >= length, BEFORE: tokens < first, LIVE: (tokens >= first) & (tokens < length)}[kind]
            pages = torch.tensor(row, dtype=torch.long)
            kinds[blocks[pages[tokens[mine] // case.block_size]], tokens[mine] % case.block_size] = kind
    if bool((kinds[0] == FOREIGN).all()):
        kinds[0] = FIRST
    return kinds


def _in_slots(attribute: str, blocks: Tensor, slots: Tensor) -> Callable[[Problem], None]:
    def poison(problem: Problem) -> None:
        cache: Tensor = getattr(problem, attribute)
        cache[blocks.to(cache.device), slots.to(cache.device)] = torch.nan

    return poison


def _around(buffer: str) -> Callable[[Problem], None]:
    """All of an allocation but the views into it."""

    def poison(problem: Problem) -> None:
        storage = problem.buffers[buffer].storage
        unused = torch.ones(storage.shape, dtype=torch.bool, device=storage.device)
        for view in (problem.q, problem.k_cache, problem.v_cache):
            if view.untyped_storage().data_ptr() == storage.untyped_storage().data_ptr():
                unused.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(False)
        storage[unused] = torch.nan

    return poison


def _unused_entries(problem: Problem) -> None:
    case, storage = problem.case, problem.buffers["block_table"].storage
    used = torch.zeros(storage.shape, dtype=torch.bool, device=storage.device)
    needed = [-(-length // case.block_size) for length in case.seq_lens]
    for seq, columns in enumerate(needed):
        table = problem.block_table[seq, :columns]
        used.as_strided(table.shape, table.stride(), table.storage_offset()).fill_(True)
    storage[~used] = 2**31 - 1


def _sentence(guilty: list[Region]) -> str:
    places: dict[str, list[str]] = {}
    for region in guilty:
        places.setdefault(region.place, []).append(region.tensor)
    parts = [f"{' and '.join(tensors)} of {place}" for place, tensors in places.items()]
    weigh = "are read, and weigh" if len(guilty) > 1 else "is read, and weighs"
    return f"{'; '.join(parts)} {weigh} nothing: NaN there reaches the output, finite numbers do not"
