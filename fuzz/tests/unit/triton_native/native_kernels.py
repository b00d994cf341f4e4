"""Kernels from one expression, and launches through the native engine: for checks that run in a process of their own."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import tempfile
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fuzz_decode.triton_native.execute import Kernel, LaunchReport, compiled, run

NAMES = {
    **dict(zip((torch.float16, torch.bfloat16, torch.float32, torch.float64), ("fp16", "bf16", "fp32", "fp64"), strict=True)),
    **dict(zip((torch.int8, torch.int16, torch.int32, torch.int64), ("i8", "i16", "i32", "i64"), strict=True)),
    **dict(zip((torch.uint8, torch.uint16, torch.uint32, torch.uint64), ("u8", "u16", "u32", "u64"), strict=True)),
    **dict(zip((torch.float8_e4m3fn, torch.float8_e5m2, torch.bool), ("fp8e4nv", "fp8e5", "i1"), strict=True)),
}
HEADER = "import triton\nimport triton.language as tl\nfrom triton.language.extra import libdevice\n\n"
counter = itertools.count()


@functools.cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="native-kernels-"))


def module_of(source: str) -> types.ModuleType:
    path = folder() / f"kernels_{next(counter)}.py"
    path.write_text(HEADER + source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def function_of(source: str) -> Any:
    """The last function that is defined in the source."""
    return [value for value in vars(module_of(source)).values() if hasattr(value, "arg_names")][-1]


def type_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return "*" + NAMES[value.dtype]
    if isinstance(value, bool):
        return "i1"
    return "fp32" if isinstance(value, float) else "i32" if -(2**31) <= value < 2**31 else "i64"


def kernel_of(function: Any, arguments: dict[str, Any]) -> Kernel:
    constants = {p.name for p in function.params if p.is_constexpr or arguments[p.name] is None}
    kinds = {name: type_of(value) for name, value in arguments.items() if name not in constants}
    return compiled(function, kinds, {name: arguments[name] for name in constants})


def launch(function: Any, grid: tuple[int, ...] = (1,), options: dict[str, Any] | None = None, **arguments: Any) -> LaunchReport:
    x, y, z = (*grid, 1, 1)[:3]
    return run(kernel_of(function, arguments), arguments, (x, y, z), **(options or {}))


def evaluate(expression: str, wanted: torch.dtype, *inputs: Tensor, before: str = "") -> Tensor:
    """The expression of the blocks a, b, c that the inputs hold, of any shape; the result is as large as the first."""
    return evaluate_shaped(expression, wanted, inputs[0].numel(), *inputs, before=before)


def evaluate_shaped(expression: str, wanted: torch.dtype, count: int, *inputs: Tensor, before: str = "") -> Tensor:
    names = "abcd"[: len(inputs)]
    lines = [f"@triton.jit\ndef kernel({', '.join(f'p_{name}' for name in names)}, out, COUNT: tl.constexpr):"]
    for name, values in zip(names, inputs, strict=True):
        lines.append(f"    {name} = tl.load(p_{name} + tl.arange(0, {values.numel()})).reshape({list(values.shape)})")
    lines += [f"    {line}" for line in before.splitlines()]
    store = "tl.store(out + tl.arange(0, COUNT), result.reshape([COUNT]) if result.type.is_block() else result)"
    lines += [f"    result = {expression}", f"    {store}"]
    out = torch.zeros(count, dtype=wanted)
    pointers = {f"p_{name}": values.contiguous() for name, values in zip(names, inputs, strict=True)}
    report = launch(function_of("\n".join(lines) + "\n"), **pointers, out=out, COUNT=count)
    assert report == LaunchReport(), report
    return out


def same(found: Tensor, wanted: Tensor) -> bool:
    """Bit for bit; any NaN equals any other."""
    if found.dtype.is_floating_point:
        a, b = found.double(), wanted.double()
        return bool((((a == b) & (a.signbit() == b.signbit())) | (a.isnan() & b.isnan())).all())
    return torch.equal(found, wanted)
