"""Launches with tuples and with tensor descriptors among their arguments."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
import triton
from native_kernels import function_of

from fuzz_decode.triton_native.launch import install_native_engine, watch_launches

install_native_engine()

TUPLES = """
@triton.jit
def kernel(pointers, sizes, out, N: tl.constexpr):
    at = tl.arange(0, N)
    if sizes[1] is None:
        value = tl.load(pointers[0] + at * sizes[0][0])
    else:
        value = tl.load(pointers[1] + at * sizes[0][1], mask=at < sizes[1], other=0)
    tl.store(out + at, value)
"""


@pytest.mark.parametrize("count", [None, 5])
def test_tuples(count: int | None) -> None:
    x, y, out = torch.arange(16.0), torch.arange(48) * 2, torch.zeros(16)

    function_of(TUPLES)[(1,)]((x, y), ((1, 3), count), out, N=16)

    assert torch.equal(out, x if count is None else torch.where(x < 5, 6 * x, 0))


class Pair(NamedTuple):
    tensor: torch.Tensor
    factor: int


NAMED = """
@triton.jit
def kernel(pair, out):
    at = tl.arange(0, 16)
    tl.store(out + at, tl.load(pair.tensor + at + 8) * pair.factor)
"""


def test_a_named_tuple_keeps_its_names() -> None:
    x, out = torch.arange(16.0), torch.zeros(16)

    with watch_launches() as record:
        function_of(NAMED)[(1,)](Pair(x, 3), out)

    assert out.tolist() == [*(3 * x[8:]).tolist(), *[0.0] * 8]
    assert record.out_of_bounds is not None
    assert (record.out_of_bounds.tensor, record.out_of_bounds.elements) == ("pair.0", 1)


DESCRIPTORS = """
@triton.jit
def kernel(source, target, row):
    block = source.load([row, 0])
    target.store([row, 8], block * 2)
"""


@pytest.mark.skipif(triton.__version__ < "3.4", reason="this release of Triton has no descriptors of the host")
@pytest.mark.parametrize("row", [0, 12])
def test_tensor_descriptors_of_the_host(row: int) -> None:
    from triton.tools.tensor_descriptor import TensorDescriptor

    x, y = torch.arange(20 * 24.0).reshape(20, 24), torch.zeros(20, 32)
    source = TensorDescriptor(x, [20, 20], [24, 1], [16, 16])

    with watch_launches() as record:
        function_of(DESCRIPTORS)[(1,)](source, TensorDescriptor.from_tensor(y, [16, 16]), row)

    wanted = torch.zeros(20, 32)
    wanted[row : row + 16, 8:24] = 2 * x[row : row + 16, :16]
    assert torch.equal(y, wanted)
    assert record.out_of_bounds is None


@pytest.mark.skipif(triton.__version__ < "3.5", reason="this release of Triton has no padding of descriptors")
def test_a_descriptor_that_pads_with_nan() -> None:
    from triton.tools.tensor_descriptor import TensorDescriptor

    x, y = torch.ones(16, 16), torch.zeros(20, 32)
    source = TensorDescriptor.from_tensor(x, [16, 16], padding="nan")

    function_of(DESCRIPTORS)[(1,)](source, TensorDescriptor.from_tensor(y, [16, 16]), 4)

    assert bool((y[4:16, 8:24] == 2).all())
    assert bool(y[16:, 8:24].isnan().all())
