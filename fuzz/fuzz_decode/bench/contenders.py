"""The kernels that a bench times: the target under test, and kernels of other projects in each of their modes.

A contender plans first (lists of pages, scratch, decisions on the host: an engine does that once for a batch and all layers), and
the plan is not timed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.bench.inputs import Inputs
from fuzz_decode.bench.peer_calls import Call, Plan, flashinfer, flashinfer_mla, flex, sglang, vllm_unified
from fuzz_decode.bench.selection import known
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.errors import TargetError
from fuzz_decode.targets import Target, partial_import, resolve
from fuzz_decode.targets.adapters import ADAPTERS


@dataclass(frozen=True, slots=True)
class Contender:
    """A kernel that is timed."""

    name: str
    target: Target
    """The cases that it supports, and its arithmetic."""
    plan: Plan
    """Makes the call to be timed for one copy of the caches."""
    project: str = ""
    """Empty for the target under test."""
    mode: str = ""
    """One of the project's kernels, in its own words."""
    package: str = ""
    """The distribution that holds the kernel, for the versions in the report."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A project's kernel in one mode."""

    project: str
    mode: str
    adapter: str
    """Name of the adapter that declares the supported cases."""
    plan: Plan | None = None
    """None: the adapter's own call does not synchronise, and is timed."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the adapter's target that a bench replaces."""
    by_default: bool = True
    """False: only if it is named, since it compiles for minutes."""


def call_of(target: Target) -> Plan:
    """The plan of a target that has nothing to plan."""

    def plan(inputs: Inputs, k: Tensor, v: Tensor) -> Call:
        known = {"out": inputs.out, **inputs.options()}
        options = {name: value for name, value in known.items() if name in target.options}
        return lambda: target.fn(*inputs.arguments(k, v), **options)

    return plan


def _only_mla(case: Case) -> str | None:
    return None if case.v_prefix_of_k else "V apart from K"


def _only_on_hopper(case: Case) -> str | None:
    return None if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9 else "no Hopper GPU"


# the adapter declares fewer sizes for the fuzzer, since each is a module to compile
_FLASHINFER = {"head_dims": (64, 128, 256), "options": frozenset({"window", "softcap", "k_scale", "v_scale"})}
_FLASHINFER_MLA: dict[str, Any] = {
    "head_dims": (576,),
    "value_head_dims": (512,),
    "num_kv_heads": (1,),
    "groups": None,
    "options": frozenset(),
    "strides": StrideRules(contiguous=("q", "k"), multiple_of=8),
    "supports": _only_mla,
}
_FLASHINFER_FA3 = {"head_dims": (64, 128, 256), "supports": _only_on_hopper}
_FLASHINFER_MLA_FA3 = {**_FLASHINFER_MLA, "supports": lambda case: _only_mla(case) or _only_on_hopper(case)}
_FLEX = {"head_dims": (64, 128, 256), "block_sizes": (16, 32, 64, 128), "groups": None, "num_kv_heads": None, "supports": None}
PEERS = (
    Peer("flashinfer", "CUDA cores", "flashinfer", flashinfer(use_tensor_cores=False), _FLASHINFER),
    Peer("flashinfer", "tensor cores", "flashinfer-tensor-cores", flashinfer(use_tensor_cores=True), _FLASHINFER),
    Peer("flashinfer", "fa3", "flashinfer-tensor-cores", flashinfer(use_tensor_cores=True, backend="fa3"), _FLASHINFER_FA3),
    Peer("flashinfer", "MLA fa2", "flashinfer", flashinfer_mla("fa2"), _FLASHINFER_MLA),
    Peer("flashinfer", "MLA fa3", "flashinfer", flashinfer_mla("fa3"), _FLASHINFER_MLA_FA3),
    Peer("vllm", "2d", "vllm-unified", vllm_unified(split=False)),
    Peer("vllm", "3d", "vllm-unified-3d", vllm_unified(split=True)),
    Peer("vllm", "decode", "vllm-decode"),
    Peer("sglang", "", "sglang", sglang),
    Peer("torch-flex", "", "torch-flex", flex, _FLEX, by_default=False),
)
PROJECTS = tuple(dict.fromkeys(peer.project for peer in PEERS))


def own(name: str) -> Contender:
    """The target under test. Raises TargetError if the name is unknown, or the target does not run on GPUs."""
    target = resolve(name)
    if "cuda" not in target.devices:
        raise TargetError(f"target {name} runs on {', '.join(target.devices)} only, and a bench needs a GPU")
    return Contender(name, target, call_of(target))


def peers(projects: tuple[str, ...] | None) -> tuple[list[Contender], dict[str, str]]:
    """The peers of these projects that can run, and why each other one cannot; None: all that run by default. Raises UsageError
    for an unknown project, TargetError if no mode of a named one can run."""
    known("--peers", projects or (), PROJECTS)
    found, missing = [], {}
    for peer in PEERS:
        if peer.by_default if projects is None else peer.project in projects:
            try:
                found.append(_contender(peer))
            except TargetError as error:
                missing[f"{peer.project} {peer.mode}".strip()] = str(error)
    for project in projects or ():
        if not any(contender.project == project for contender in found):
            raise TargetError(next(why for name, why in missing.items() if name.split()[0] == project))
    return found, missing


def _contender(peer: Peer) -> Contender:
    target = dataclasses.replace(resolve(peer.adapter), **peer.overrides)
    name = f"{peer.project} {peer.mode}".strip()
    return Contender(name, target, peer.plan or call_of(target), peer.project, peer.mode, _package(peer))


def versions_of(contenders: Iterable[Contender]) -> dict[str, str]:
    """The packages that hold their kernels, with versions."""
    packages = {contender.package for contender in contenders if contender.package}
    return {name: partial_import.version(name) or "" for name in sorted(packages)}


def _package(peer: Peer) -> str:
    return ADAPTERS[peer.adapter].distribution or ""
