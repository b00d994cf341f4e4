"""Memory that the target allocated and that nothing wrote is undefined, wherever a result depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from native_kernels import function_of, kernel_of
from torch import Tensor

from fuzz_decode.launches.record import UndefinedUse
from fuzz_decode.problems.allocations import poisoned_allocations
from fuzz_decode.triton_native.execute import LaunchReport, run

WRITE = """
@triton.jit
def kernel(x, n, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(x + at, at.to(x.dtype.element_ty), mask=at < n)
"""
READ = """
@triton.jit
def kernel(x, y, n, N: tl.constexpr):
    at = tl.arange(0, N)
    value = tl.load(x + at)
    {statement}
"""
COPY = READ.format(statement="tl.store(y + at, value, mask=at < n)")
COUNT = "@triton.jit\ndef kernel(x):\n    tl.atomic_add(x, 1)\n"
LAST = """
@triton.jit
def kernel(x, y, n):
    if tl.atomic_add(x, 1) == n:
        tl.store(y, 1)
"""
FLAG = "@triton.jit\ndef kernel(x, y):\n    if tl.load(x):\n        tl.store(y, 1)\n"
LOCK = """
@triton.jit
def kernel(x, y):
    while tl.atomic_cas(x, 0, 1) == 1:
        pass
    tl.store(y, tl.load(y) + 1)
    tl.atomic_xchg(x, 0)
"""


def launch(source: str, grid: int = 1, **arguments: Any) -> LaunchReport:
    """As a launch of a target's call: the engine's own use of torch is none of the target's."""
    with torch._C.DisableTorchFunction():
        function = function_of(source)
        return run(kernel_of(function, arguments), arguments, (grid, 1, 1))


def read_after(written: int, read: int, between: Callable[[Tensor], Any] = lambda x: None, size: int = 40) -> LaunchReport:
    """A kernel writes the first elements of an allocation, and another one copies some."""
    with poisoned_allocations():
        x = torch.empty(size, dtype=torch.int32)
        launch(WRITE, x=x.view(-1)[:32], n=written, N=32)
        between(x)
        return launch(COPY, x=x, y=torch.zeros(32, dtype=torch.int32), n=read, N=32)


def only_use(report: LaunchReport) -> UndefinedUse:
    (use,) = report.undefined
    return use


@pytest.mark.parametrize("written", [0, 5, 16, 17, 31])
def test_a_result_that_depends_on_memory_that_nothing_wrote_is_reported(written: int) -> None:
    report = read_after(written, written + 1)

    use = only_use(report)
    assert (use.use, use.tensor, report.undefined_elements) == ("store", "y", 1)
    assert use.unwritten is not None
    assert (use.unwritten.tensor, use.unwritten.name, use.unwritten.stored) == ("x, int32 [40]", "x", False)
    assert (use.unwritten.place.line, use.place.line) == (9, 10)


@pytest.mark.parametrize("written", [0, 5, 16, 17, 32])
def test_memory_that_a_kernel_wrote_is_defined(written: int) -> None:
    assert read_after(written, written) == LaunchReport()


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x.zero_(),
        lambda x: x[1:].fill_(-1),
        lambda x: x.view(torch.uint8).copy_(torch.zeros(160)),
        lambda x: torch.add(x[:20], 1, out=x[20:]),
        lambda x: x.__setitem__(0, 1),
        lambda x: x.numpy().fill(3),
        lambda x: x.data_ptr(),
        lambda x: torch._foreach_zero_([x, x]),
        lambda x: torch.ops.aten.fill_.Scalar(x, -1),
        torch.jit.trace(lambda x: x.fill_(-1), torch.ones(3, dtype=torch.int32), check_trace=False),
    ],
)
def test_memory_that_torch_may_have_written_is_defined(between: Callable[[Tensor], Any]) -> None:
    assert read_after(5, 32, between) == LaunchReport()


def test_memory_with_another_content_was_written_by_somebody() -> None:
    def write_unseen(x: Tensor) -> None:
        with torch._C.DisableTorchFunction():
            x.numpy().fill(7)

    assert read_after(5, 32, write_unseen) == LaunchReport()


@pytest.mark.parametrize(
    "between", [lambda x: x.shape, lambda x: x.stride(), lambda x: x[3:].view(-1).reshape(37, 1).T, lambda x: torch.empty_like(x)]
)
def test_looking_at_memory_does_not_write_it(between: Callable[[Tensor], Any]) -> None:
    assert read_after(5, 32, between).undefined_elements == 27


def test_a_masked_lane_is_told_from_unwritten_memory() -> None:
    source = READ.format(statement="tl.store(y + at, value + tl.load(y + at, mask=at < n))")
    with poisoned_allocations():
        zeros, empty = torch.zeros(16), torch.empty(16)
        masked = launch(source, x=zeros, y=zeros.clone(), n=3, N=16)
        unwritten = launch(source, x=empty, y=zeros.clone(), n=3, N=16)

    assert only_use(masked).unwritten is None
    assert only_use(unwritten).unwritten is not None


def test_garbage_that_is_left_out_is_not_reported() -> None:
    source = READ.format(statement="tl.store(y + at, tl.where(at < n, 1.0, value * 0.0))")
    with poisoned_allocations():
        assert launch(source, x=torch.empty(16), y=torch.zeros(16), n=3, N=16) == LaunchReport()


def test_an_undefined_value_stays_so_in_memory() -> None:
    with poisoned_allocations():
        x, between, y = torch.empty(16), torch.empty(16), torch.zeros(16)
        launch(COPY, x=x, y=between, n=16, N=16)
        report = launch(COPY, x=between, y=y, n=4, N=16)

    unwritten = only_use(report).unwritten
    assert report.undefined_elements == 4
    assert unwritten is not None
    assert (unwritten.name, unwritten.stored) == ("x", True)


@pytest.mark.parametrize("source", [LAST, FLAG, LOCK])
def test_a_counter_or_a_lock_needs_a_first_value(source: str) -> None:
    arguments: dict[str, Any] = {"y": torch.zeros(1, dtype=torch.int32), **({"n": 3} if source == LAST else {})}
    with poisoned_allocations():
        empty = launch(source, x=torch.empty(1, dtype=torch.int32), **arguments)
        zeros = launch(source, x=torch.zeros(1, dtype=torch.int32), **arguments)
        zeroed = launch(source, x=torch.empty(1, dtype=torch.int32).zero_(), **arguments)

    assert empty.undefined[0].use == "branch"
    assert empty.undefined[0].unwritten is not None
    assert zeros == zeroed == LaunchReport()


def test_the_sum_of_atomic_additions_needs_a_first_value() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    with poisoned_allocations():
        x = torch.empty(1, dtype=torch.int32)
        assert launch(COUNT, 3, x=x) == LaunchReport()
        assert only_use(launch(COPY, x=x, y=y, n=1, N=1)).use == "store"


def test_a_flag_of_a_bool_tensor_is_true_and_reported() -> None:
    y = torch.zeros(1, dtype=torch.int32)
    with poisoned_allocations():
        report = launch(FLAG, x=torch.empty(1, dtype=torch.bool), y=y)

    assert (only_use(report).use, y.tolist()) == ("branch", [1])


def test_tensors_of_one_storage_share_what_is_written() -> None:
    source = """
@triton.jit
def kernel(x, y, z, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(x + at, at.to(tl.float32))
    tl.store(z + at, tl.load(y + at))
"""
    with poisoned_allocations():
        memory = torch.empty(32)
        assert launch(source, x=memory[:16], y=memory[:16].view(4, 4), z=torch.empty(16), N=16) == LaunchReport()
        assert launch(source, x=memory[:16], y=memory[1:], z=torch.empty(16), N=16).undefined_elements == 1


def test_an_address_in_memory_leads_to_what_was_written() -> None:
    source = """
@triton.jit
def kernel(addresses, y, N: tl.constexpr):
    at = tl.load(addresses).to(tl.pointer_type(tl.float32)) + tl.arange(0, N)
    tl.store(at, 1.0)
    tl.store(y + tl.arange(0, N), tl.load(at))
"""
    with poisoned_allocations(), torch._C.DisableTorchFunction():
        x = torch.empty(16)
        addresses, function = torch.tensor([x.data_ptr()]), function_of(source)
        arguments = {"addresses": addresses, "y": torch.zeros(16), "N": 16}
        assert run(kernel_of(function, arguments), arguments, (1, 1, 1), others=[x]) == LaunchReport()
