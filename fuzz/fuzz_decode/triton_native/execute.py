"""The face of the native engine: compile a kernel, and run a grid of its programs on the CPU.

The process must not have TRITON_INTERPRET set when Triton is imported. Neither a GPU nor a driver is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Unsupported(Exception):
    """The engine cannot run this kernel; one sentence names the operation and the line of the kernel."""


@dataclass(frozen=True, slots=True)
class OutsideAccess:
    """The first access of a launch outside of the storage of its tensor. A load gives 0 there, a store is dropped."""

    tensor: str
    """The kernel's name of the tensor argument that the pointer was made from, or whose storage is nearest."""
    elements: int
    """How many elements after the last one of the storage it was; negative: before the first one."""
    bytes: int
    """The same in bytes from the storage's end; negative: from its start."""
    stored: bool
    """Whether it was a store or an atomic operation, not a load."""
    program: tuple[int, int, int]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class UndefinedUse:
    """The first use in a launch of a value that depends on a masked lane of a load without `other`."""

    use: str
    """"store", "address", "mask" or "branch"."""
    tensor: str
    """The kernel's name of the tensor that was stored to or addressed; empty for a branch."""
    program: tuple[int, int, int]
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class LaunchReport:
    """What was noticed while a grid ran."""

    outside: OutsideAccess | None = None
    outside_elements: int = 0
    """How many elements were accessed outside, in all programs."""
    undefined: UndefinedUse | None = None
    undefined_elements: int = 0
    failed_assertion: str | None = None
    """The message of the first `tl.device_assert` that did not hold."""
    reads: Any = None
    """Sorted int64 array of the distinct addresses that were read inside of the storages, if `keep_reads` was set."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel for argument types and constexpr values, ready to run."""

    name: str


def compiled(function: Any, types: Mapping[str, str], constexprs: Mapping[str, object]) -> Kernel:
    """The kernel for these types of its runtime parameters ("*fp16", "i32", "fp32", ...) and values of all other ones.

    Kept in memory and on disk. Raises Unsupported.
    """
    raise Unsupported("the native engine is not complete yet")


def run(
    kernel: Kernel,
    arguments: Mapping[str, torch.Tensor | int | float | None],
    grid: tuple[int, int, int],
    *,
    order: str | int = "forward",
    keep_reads: bool = False,
) -> LaunchReport:
    """Run every program of the grid, one after the other.

    `order`: "forward", "backward", or the seed of a random order. Arguments that the kernel does not take at run time are
    ignored. The whole storage of each tensor is memory that the kernel may access.
    """
    raise NotImplementedError
