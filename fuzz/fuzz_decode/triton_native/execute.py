"""The face of the native engine: compile a kernel, and run a grid of its programs on the CPU.

The process must not have TRITON_INTERPRET set when Triton is imported. Neither a GPU nor a driver is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fuzz_decode.triton_native.code import assembled, encode, kept
from fuzz_decode.triton_native.frontend import launch_key, source_key, triton_ir
from fuzz_decode.triton_native.launch_report import LaunchReport
from fuzz_decode.triton_native.machine_launch import Launch, Memory
from fuzz_decode.triton_native.parameters import Kind
from fuzz_decode.triton_native.unsupported import Unsupported

if TYPE_CHECKING:
    import torch


__all__ = ["Kernel", "LaunchReport", "Unsupported", "compiled", "run"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel for argument types and constexpr values, ready to run."""

    name: str
    memory: Memory


_kernels: dict[object, Kernel] = {}  # by `launch_key`


def compiled(function: Any, types: Mapping[str, Kind], constexprs: Mapping[str, object]) -> Kernel:
    """The kernel for these types of its runtime parameters ("*fp16", "i32", "fp32", ...) and values of all other ones.

    Kept in memory and on disk. Raises Unsupported, and whatever the compiler's front end raises on an invalid kernel.
    """
    key = launch_key(function, types, constexprs)
    if key not in _kernels:
        kinds = {name: types[name] for name in function.arg_names if name in types}
        key_on_disk = source_key(function, types, constexprs)
        code = kept(key_on_disk, lambda: encode(assembled(triton_ir(function, kinds, constexprs), kinds)))
        _kernels[key] = Kernel(function.__name__, Memory(code))
    return _kernels[key]


def run(
    kernel: Kernel,
    arguments: Mapping[str, torch.Tensor | int | float | None],
    grid: tuple[int, int, int],
    *,
    order: str | int = "forward",
    keep_reads: bool = False,
    others: Iterable[torch.Tensor] = (),
) -> LaunchReport:
    """Run every program of the grid, one after the other; one that waits for another makes way for it.

    `order`: "forward", "backward", or the seed of a random order, in which programs are interleaved: each makes way for others
    before its first stores. Arguments that the kernel does not take at run time are
    ignored. The whole storage of each tensor is memory that the kernel may access. `others`: further tensors that pointers which
    the kernel loads from memory may point into.
    """
    launch = Launch(kernel.memory, arguments, grid, others)
    launch.order(order)
    launch.run(keep_reads)
    return launch.report()
