"""A kernel that reads and writes out of bounds runs inside the fence, is reported, and crashes again outside."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode.launches.record import OutOfBoundsAccess
from fuzz_decode.triton_interpreter.memory_fence import Fence, memory_fence

pytestmark = [pytest.mark.no_gpu, pytest.mark.triton]

SIZE = 8


@triton.jit
def copy(source, wanted, read_at: tl.int64, write_at: tl.int64, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    tl.store(wanted + write_at + at, tl.load(source + read_at + at))


@triton.jit
def count(total, at: tl.int64, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    tl.atomic_add(total + at + tl.arange(0, SIZE), 1.0)


@triton.jit
def follow(pointers, source, wanted, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.load(pointers).to(tl.pointer_type(tl.float32)) + tl.arange(0, SIZE)
    tl.store(wanted + tl.arange(0, SIZE), tl.load(at))


@triton.jit
def describe(descriptor, wanted, source, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    here = tl.make_tensor_descriptor(source, [SIZE], [1], [SIZE])
    tl.make_tensor_descriptor(wanted, [SIZE], [1], [SIZE]).store([0], descriptor.load([0]) + here.load([0]))


@triton.jit
def exchange(cell, old, at: tl.int64):  # type: ignore[no-untyped-def]  # device code
    tl.store(old, tl.atomic_cas(cell + at, 0, 5))


def copied(read_at: int, write_at: int = 0) -> Tensor:
    wanted = torch.full((SIZE,), 9.0)
    copy[(1,)](torch.arange(1.0, SIZE + 1), wanted, read_at, write_at, SIZE=SIZE)
    return wanted


def test_loads_outside_give_zero() -> None:
    with memory_fence() as fence:
        assert copied(2**34).tolist() == [0.0] * SIZE
    assert (fence.out_of_bounds, fence.out_of_bounds_elements) == (
        OutOfBoundsAccess("source", 2**34 - SIZE + 1, stored=False),
        SIZE,
    )
    assert fence.out_of_bounds.words == f"reads out of bounds, {2**34 - SIZE + 1} elements after source's storage"


def test_stores_outside_are_dropped() -> None:
    with memory_fence() as fence:
        assert copied(0, -(2**34)).tolist() == [9.0] * SIZE
    assert fence.out_of_bounds == OutOfBoundsAccess("wanted", -(2**34), stored=True)


def test_atomic_operations_outside_are_dropped() -> None:
    total = torch.zeros(SIZE)
    with memory_fence() as fence:
        count[(1,)](total, -(2**34), SIZE=SIZE)
        assert fence.out_of_bounds_elements == SIZE
        count[(1,)](total, 0, SIZE=SIZE)
    assert total.tolist() == [1.0] * SIZE
    assert fence.out_of_bounds_elements == SIZE


def test_another_tensor_of_the_launch_is_outside() -> None:
    """A pointer belongs to the tensor that it was made from, whatever its address."""
    source, wanted = torch.arange(1.0, SIZE + 1), torch.full((SIZE,), 9.0)
    with memory_fence() as fence:
        copy[(1,)](source, wanted, (wanted.data_ptr() - source.data_ptr()) // 4, 0, SIZE=SIZE)
    assert wanted.tolist() == [0.0] * SIZE
    assert fence.out_of_bounds_elements == SIZE


def test_a_pointer_from_memory_may_point_into_any_tensor() -> None:
    source, wanted = torch.arange(1.0, SIZE + 1), torch.zeros(SIZE)
    with memory_fence() as fence:
        follow[(1,)](torch.tensor([source.data_ptr(), 2**40]), source, wanted, SIZE=SIZE)
        assert (wanted.tolist(), fence.out_of_bounds) == (source.tolist(), None)
        follow[(1,)](torch.tensor([2**40]), source, wanted, SIZE=SIZE)
    assert wanted.tolist() == [0.0] * SIZE


def test_descriptors_are_fenced() -> None:
    descriptors = pytest.importorskip("triton.tools.tensor_descriptor")  # Triton 3.4 and later
    source, wanted = torch.arange(float(SIZE)), torch.zeros(SIZE)
    with memory_fence() as fence:
        describe[(1,)](descriptors.TensorDescriptor(source, [SIZE], [1], [SIZE]), wanted, source, SIZE=SIZE)
    assert (wanted.tolist(), fence.out_of_bounds) == ((2 * source).tolist(), None)


def test_an_exchange_out_of_bounds_changes_nothing() -> None:
    cell, old = torch.zeros(1, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    with memory_fence() as fence:
        exchange[(1,)](cell, old, 0)
        assert (cell.tolist(), fence.out_of_bounds) == ([5], None)
        exchange[(1,)](cell, old, 2**34)
    assert (cell.tolist(), old.tolist(), fence.out_of_bounds_elements) == ([5], [0], 1)


def test_a_whole_storage_is_inside() -> None:
    """A view's surroundings are inside; the first element behind them is not."""
    whole = torch.arange(3.0 * SIZE)
    with memory_fence() as fence:
        wanted = torch.zeros(SIZE)
        copy[(1,)](whole[SIZE : 2 * SIZE], wanted, SIZE, 0, SIZE=SIZE)
        assert (wanted.tolist(), fence.out_of_bounds) == (whole[2 * SIZE :].tolist(), None)


def test_masked_elements_are_not_out_of_bounds() -> None:
    fence = Fence()
    fence.enclose([("x", torch.zeros(SIZE))])
    at = torch.zeros(SIZE).data_ptr() + 2**40 + torch.arange(SIZE).numpy().astype("uint64")
    assert not fence.inside(at, 4, torch.zeros(SIZE, dtype=torch.bool).numpy(), stored=False).any()
    assert (fence.record.out_of_bounds, fence.record.out_of_bounds_elements) == (None, 0)


def test_the_nearest_storage_is_named() -> None:
    x, fence = torch.zeros(SIZE), Fence()
    fence.enclose([("x", x)])
    fence.inside(torch.tensor([x.data_ptr() - 12]).numpy().astype("uint64"), 4, True, stored=False)
    access = fence.record.out_of_bounds
    assert access == OutOfBoundsAccess("x", -3, stored=False)
    assert access.words == "reads out of bounds, 3 elements before x's storage"


def test_the_fence_is_down_again_even_after_an_error() -> None:
    from triton.runtime import interpreter

    def parts() -> list[object]:
        builder = interpreter.InterpreterBuilder
        return [builder.create_masked_load, builder.create_atomic_cas, interpreter._implicit_cvt]

    def fail_inside() -> None:
        with memory_fence():
            assert all(new is not old for new, old in zip(parts(), before, strict=True))
            raise KeyError

    before = parts()
    with pytest.raises(KeyError):
        fail_inside()
    assert parts() == before
    assert copied(0).tolist() == list(range(1, SIZE + 1))
