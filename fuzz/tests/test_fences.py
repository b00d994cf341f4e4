"""A kernel that reads and writes wildly survives inside the fence, is told of, and dies again outside."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode.interpreter.fences import Wild, fenced, standing
from fuzz_decode.plan import pick_device

pytestmark = pytest.mark.skipif(pick_device("auto") != "cpu", reason="kernels here are compiled, not interpreted")

SIZE = 8


@triton.jit
def copy(source, wanted, read_at: tl.int64, write_at: tl.int64, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    tl.store(wanted + write_at + at, tl.load(source + read_at + at))


@triton.jit
def count(total, at: tl.int64, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    tl.atomic_add(total + at + tl.arange(0, SIZE), 1.0)


def copied(read_at: int, write_at: int = 0) -> Tensor:
    wanted = torch.full((SIZE,), 9.0)
    copy[(1,)](torch.arange(1.0, SIZE + 1), wanted, read_at, write_at, SIZE=SIZE)
    return wanted


def test_what_lies_outside_reads_as_zero() -> None:
    with fenced() as fence:
        assert copied(2**34).tolist() == [0.0] * SIZE
    assert fence.wild is not None and fence.wild_elements == SIZE
    assert (fence.wild.tensor in ("source", "wanted"), fence.wild.stored) == (True, False)
    assert abs(fence.wild.elements - 2**34) < 2**32
    assert fence.wild.words.startswith("reads memory far from what it was given, ")


def test_what_is_stored_outside_is_dropped() -> None:
    with fenced() as fence:
        assert copied(0, -(2**34)).tolist() == [9.0] * SIZE
    assert fence.wild is not None
    assert fence.wild.stored and fence.wild.elements < 0


def test_atomic_operations_outside_are_dropped() -> None:
    total = torch.zeros(SIZE)
    with fenced() as fence:
        count[(1,)](total, 2**34, SIZE=SIZE)
        assert fence.wild_elements == SIZE
        count[(1,)](total, 0, SIZE=SIZE)
    assert total.tolist() == [1.0] * SIZE
    assert fence.wild_elements == SIZE


def test_storages_count_whole() -> None:
    """A view's surroundings are inside; the first element behind them is not."""
    whole = torch.arange(3.0 * SIZE)
    with fenced() as fence:
        wanted = torch.zeros(SIZE)
        copy[(1,)](whole[SIZE : 2 * SIZE], wanted, SIZE, 0, SIZE=SIZE)
        assert (wanted.tolist(), fence.wild) == (whole[2 * SIZE :].tolist(), None)


def test_what_is_masked_is_not_wild() -> None:
    with fenced() as fence:
        fence.enclose([("x", torch.zeros(SIZE))])
        at = torch.zeros(SIZE).data_ptr() + 2**40 + torch.arange(SIZE).numpy().astype("uint64")
        assert not fence.inside(at, 4, torch.zeros(SIZE, dtype=torch.bool).numpy(), stored=False).any()
    assert (fence.wild, fence.wild_elements) == (None, 0)


def test_the_nearest_storage_is_named() -> None:
    x = torch.zeros(SIZE)
    with fenced() as fence:
        fence.enclose([("x", x)])
        fence.inside(torch.tensor([x.data_ptr() - 12]).numpy().astype("uint64"), 4, True, stored=False)
    assert fence.wild == Wild("x", -3, stored=False)
    assert fence.wild.words == "reads memory far from what it was given, 3 elements before x's storage"


def test_the_fence_is_down_again_even_after_an_error() -> None:
    from triton.runtime import interpreter

    before = interpreter.InterpreterBuilder.create_masked_load, interpreter.GridExecutor._init_args_hst
    with pytest.raises(KeyError), fenced():
        assert standing()
        assert interpreter.InterpreterBuilder.create_masked_load is not before[0]
        raise KeyError
    assert not standing()
    assert (interpreter.InterpreterBuilder.create_masked_load, interpreter.GridExecutor._init_args_hst) == before
    assert copied(0).tolist() == list(range(1, SIZE + 1))
