"""Experiments for a target that is right while all memory is finite: which memory must hold NaN for it to go wrong?

One region at a time is poisoned, all else holds finite noise. A region whose NaN reaches the output is read, with weight 0: its
mask is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.diagnose.diagnosis import PLACES_OF_REGIONS, Diagnosis, region_of
from fuzz_decode.diagnose.observation import Experiment, observe
from fuzz_decode.diagnose.session import DiagnosisSession, is_right
from fuzz_decode.execute.invoke import TargetFailed, TargetRejected
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.problems.build import is_small
from fuzz_decode.problems.garbage import unused_slots
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.values import live_tokens
from fuzz_decode.targets.target import Target

MAX_SLOTS = 2**22  # of a pool that is examined slot by slot
MISSING_MASK = "correct if unreferenced memory is finite, wrong if it is NaN: a missing mask"
FOREIGN, TAIL, BEFORE, LIVE, FIRST = range(5)
SLOTS = {  # kind -> the start of a fault's name, and the words
    TAIL: ("tail", "the last block's unused slots"),
    BEFORE: ("window", "tokens before the window"),
    FIRST: ("block-0", "block 0 (which no sequence uses)"),
    FOREIGN: ("foreign", "other blocks that no sequence uses"),
}


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that a case does not reference."""

    name: str
    """The start of a fault's name: "tail", "window", "block-0", "foreign", "gaps" or "table"."""
    tensor: str
    """Whose memory it is, as a sentence calls it: "V", "K", "q" or "the block table"."""
    place: str
    """Which memory of the tensor, in words."""
    poison: Callable[[Problem], None]
    """Fills the region with NaN, or with ids that no pool has."""


def find_unmasked_regions(session: DiagnosisSession) -> Diagnosis:
    """The regions whose NaN reaches the output, on a case whose blocks do not begin with block 0 if that fails, too: only there a
    read of block 0 by default differs from one of a block in use."""
    case, target = session.target.as_declared(session.case), session.target
    table = dataclasses.replace(
        case.table, first_block=max(2, case.table.first_block), spare_blocks=max(2, case.table.spare_blocks)
    )
    spread = dataclasses.replace(case, table=table)
    if is_valid(spread) and session.supports(spread) and run_case(spread, target, session.device).findings:
        case = spread
    if case.num_blocks * case.block_size > MAX_SLOTS:
        return Diagnosis(sentence=f"{MISSING_MASK}; the pool is too large to say where")
    tried = {region: _goes_wrong(region, case, session) for region in regions(case) if not _is_read_by(session.known, region)}
    evidence = tuple(f"NaN in {r.tensor} of {r.place}: {'wrong' if wrong else 'correct'}" for r, wrong in tried.items())
    guilty = [region for region, wrong in tried.items() if wrong]
    if case is spread and 0 in session.case.blocks():
        elsewhere = f"block 0 (where no sequence uses it, as with first_block {case.table.first_block})"
        guilty = [dataclasses.replace(r, place=elsewhere) if r.name == SLOTS[FIRST][0] else r for r in guilty]
    return (
        _named(guilty, evidence)
        if guilty
        else Diagnosis(sentence=f"{MISSING_MASK}; no single region is enough", evidence=evidence)
    )


def _named(guilty: list[Region], evidence: tuple[str, ...]) -> Diagnosis:
    """By the likeliest region: `tail-v-unmasked`, `block-0-read`."""
    name = guilty[0].name
    tensors = [region.tensor for region in guilty if region.name == name]
    fault = f"{name}-{''.join(tensor.lower() for tensor in tensors)}-unmasked" if name in ("tail", "window") else f"{name}-read"
    return Diagnosis(fault, _sentence(guilty), True, evidence)


def wrong_elsewhere(faults: Sequence[str], experiment: Experiment, target: Target) -> bool:
    """Whether the result is wrong with NaN in all unreferenced memory but that which the faults read."""
    for region in regions(experiment.problem.case):
        if not _is_read_by(faults, region):
            region.poison(experiment.problem)
    return _is_wrong(experiment, target)


def _is_read_by(faults: Sequence[str], region: Region) -> bool:
    """Whether one of the faults reads the region."""
    of_region = (fault for fault in faults if region.name == region_of(fault))
    return any(fault.endswith("-read") or region.tensor.lower() in fault.split("-")[1] for fault in of_region)


def regions(case: Case) -> Iterator[Region]:
    """Every region that the case has and that holds NaN, the likeliest first."""
    kinds = _kinds(case)
    v_dims, k_dims = slice(None), slice(case.value_head_dim if case.v_prefix_of_k else 0, None)
    caches = [("V", "v_cache", v_dims), ("K", "k_cache", k_dims)]
    if case.v_prefix_of_k and case.head_dim == case.value_head_dim:
        del caches[1]  # all of K's rows are V's
    for kind, (name, words) in SLOTS.items():
        blocks, slots = (kinds == kind).nonzero(as_tuple=True)
        if len(blocks) and PLACES_OF_REGIONS[name] not in case.finite:
            for tensor, attribute, dims in caches:
                yield Region(name, tensor, words, _in_slots(attribute, blocks, slots, dims))
    for tensor, buffer in (("V", "v"), ("K", "k"), ("q", "q")):
        if "padding" not in case.finite and is_small(case) and (buffer in ("k", "q") or case.v is not None):
            yield Region(
                "gaps", tensor, "the memory around its rows (gaps, padding, other planes, beyond its ends)", _around(buffer)
            )
    yield Region("table", "the block table", "its unused entries and the memory around them", _unused_entries)


def _goes_wrong(region: Region, case: Case, session: DiagnosisSession) -> bool:
    experiment = session.experiment(case)
    region.poison(experiment.problem)
    return _is_wrong(experiment, session.target)


def _is_wrong(experiment: Experiment, target: Target) -> bool:
    try:
        return not is_right(observe("poisoned", experiment, target).in_nearest_form())
    except (TargetFailed, TargetRejected):
        return True


def _kinds(case: Case) -> Tensor:
    """[num_blocks, block_size]: what each slot of the pool is to the case; live whatever it is to another sequence."""
    kinds = torch.full((case.num_blocks, case.block_size), FOREIGN)
    blocks, live = torch.tensor(case.blocks(), dtype=torch.long), live_tokens(case)
    for kind, place in ((TAIL, "tail"), (BEFORE, "before_window")):
        page, slot = unused_slots(case, (place,))
        kinds[blocks[page], slot] = kind
    kinds[blocks[live.page], live.slot] = LIVE
    if bool((kinds[0] == FOREIGN).all()):
        kinds[0] = FIRST
    return kinds


def _in_slots(attribute: str, blocks: Tensor, slots: Tensor, dims: slice) -> Callable[[Problem], None]:
    def poison(problem: Problem) -> None:
        cache: Tensor = getattr(problem, attribute)
        cache[blocks.to(cache.device), slots.to(cache.device), :, dims] = torch.nan

    return poison


def _around(buffer: str) -> Callable[[Problem], None]:
    """All of an allocation but the views into it."""

    def poison(problem: Problem) -> None:
        storage = problem.buffers[buffer].storage
        unused = torch.ones(storage.shape, dtype=torch.bool, device=storage.device)
        for view in (problem.q, problem.k_cache, problem.v_cache):
            if view.untyped_storage().data_ptr() == storage.untyped_storage().data_ptr():
                unused.as_strided(view.shape, view.stride(), view.storage_offset()).fill_(False)
        storage[unused.nonzero().flatten()] = torch.nan  # a mask cannot be filled in float8

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
    verb = "are" if len(guilty) > 1 else "is"
    return f"{'; '.join(parts)} {verb} read with weight 0: NaN there reaches the output, finite numbers do not"
