"""Replayed recordings of operations do what the operations do, to the last bit and the last error."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime import interpreter

from fuzz_decode.triton_interpreter.speed import traced_operations
from fuzz_decode.triton_interpreter.speed.call_signatures import Signatures

pytestmark = [
    pytest.mark.no_gpu,
    pytest.mark.triton,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]
from_3_4 = pytest.mark.skipif(not hasattr(interpreter, "interpreter_semantic"), reason="Triton is older than 3.4")
SIZE = 16


@triton.jit
def scaled(x, factor):  # type: ignore[no-untyped-def]  # device code
    return x * factor + x


@triton.jit
def attend(q, k, out, lens, table, scale, SIZE: tl.constexpr, CAUSAL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Casts, broadcasts, masks, reductions, dots, loops over values, nested functions, pointers in memory and scalars."""
    row, column = tl.arange(0, SIZE), tl.arange(0, SIZE)
    at = row[:, None] * SIZE + column[None, :]
    length = tl.load(lens + tl.program_id(0))
    keys = tl.load(tl.load(table + tl.program_id(0)).to(tl.pointer_type(k.dtype.element_ty)) + at)
    total = tl.zeros([SIZE, SIZE], tl.float32)
    for first in range(0, length, 4):
        inside = (column[None, :] >= first) & (column[None, :] < tl.minimum(first + 4, length))
        if CAUSAL:
            inside &= column[None, :] <= row[:, None]
        scores = tl.dot(tl.load(q + at, mask=inside, other=0.0), tl.trans(keys)) * scale
        scores = tl.where(inside, scaled(scores, 0.5), float("-inf"))
        top = tl.max(scores, axis=1)
        top = tl.where(top == float("-inf"), 0.0, top)
        total += tl.exp(scores - top[:, None])
    for step in tl.static_range(2):
        total = total * (step - 1.5) + tl.cumsum(total, 1) / (tl.sum(total, 1) + length)[:, None]
    place = out + tl.program_id(0) * SIZE * SIZE + at
    tl.store(place, total.to(out.dtype.element_ty), mask=(at // 3 + at % 5 < 60) & ((at >> 1 ^ 5) != 8))


@triton.jit
def descriptors(x, out, lens, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    source = tl.make_tensor_descriptor(x, [SIZE, SIZE], [SIZE, 1], [8, SIZE])
    target = tl.make_tensor_descriptor(out, [SIZE, SIZE], [SIZE, 1], [8, SIZE])
    for first in range(0, SIZE, 8):
        target.store([first, 0], -source.load([first, 0]) + tl.atomic_add(lens + first // 8, 7).to(tl.float32))


@triton.jit
def constants(x, out, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    values = tl.load(x + at)
    tl.store(out + at, values * 0.0)
    tl.store(out + SIZE + at, values * -0.0)
    tl.store(out + 2 * SIZE + at, values + 1)
    tl.store(out + 3 * SIZE + at, values * True)
    tl.store(out + 4 * SIZE + at, values * float("nan"))


@triton.jit
def counting(out, number):  # type: ignore[no-untyped-def]  # device code
    for place in range(number):
        tl.store(out + place, place * 3)


@triton.jit
def if_wanted(x, out, wanted):  # type: ignore[no-untyped-def]  # device code
    tl.store(out, tl.load(x, mask=wanted > 0, other=5.0))


def unrecorded(*_: Any) -> NoReturn:
    raise KeyError


def attended(dtype: torch.dtype, *, causal: bool = True) -> Tensor:
    q, k = (torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(n)).to(dtype) for n in range(2))
    out, lens = torch.full((2, SIZE, SIZE), 7.0).to(dtype), torch.tensor([5, 16], dtype=torch.int32)
    table = torch.tensor([k.data_ptr()] * 2)
    attend[(2,)](q, k, out, lens, table, 0.3, SIZE=SIZE, CAUSAL=causal)
    return out


def described() -> Tensor:
    x, lens = torch.arange(256.0).reshape(SIZE, SIZE), torch.tensor([4, 5], dtype=torch.int32)
    out = torch.empty_like(x)
    descriptors[(1,)](x, out, lens, SIZE=SIZE)
    return torch.cat([out.flatten(), lens])


def with_constants() -> Tensor:
    out = torch.empty(5, SIZE)
    constants[(1,)](torch.ones(SIZE), out, SIZE=SIZE)
    return out


def bits(tensor: Tensor) -> bytes:
    return tensor.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
def test_a_replayed_kernel_gives_the_same_bits(dtype: torch.dtype, causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [bits(attended(dtype, causal=causal)) for _ in range(2)]
    monkeypatch.setattr(Signatures, "of_call", unrecorded)
    assert recorded == [bits(attended(dtype, causal=causal))] * 2


@from_3_4
def test_descriptors_and_atomics_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [bits(described()) for _ in range(2)]
    monkeypatch.setattr(Signatures, "of_call", unrecorded)
    assert recorded == [bits(described())] * 2


@from_3_4
def test_a_second_run_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = attended(torch.float32)
    for name in ("add", "mul", "less_than", "where", "cast", "broadcast_impl_value", "full", "dot", "store"):
        monkeypatch.setattr(type(interpreter.interpreter_semantic), name, unrecorded)
    assert torch.equal(attended(torch.float32), first)


def test_equal_constants_of_other_bits_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.0 and -0.0, of which Triton makes one only up to 3.8, 1 and True, NaN and NaN."""
    recorded = [with_constants() for _ in range(2)]
    assert recorded[0][2:4, 0].tolist() == [2.0, 1.0]
    monkeypatch.setattr(Signatures, "of_call", unrecorded)
    assert [bits(out) for out in recorded] == [bits(with_constants())] * 2


def test_a_front_end_that_needs_a_value_gets_that_of_this_run() -> None:
    """Triton evaluates a scalar mask."""
    out = torch.empty(1)
    for wanted, expected in ((1, 2.0), (0, 0.0), (1, 2.0)):
        if_wanted[(1,)](torch.tensor([2.0]), out, wanted)
        assert out.item() == pytest.approx(expected, abs=5.0 * (not wanted))


@pytest.mark.parametrize("kind", [SimpleNamespace, namedtuple("Pair", ["handle"])])
def test_an_object_that_holds_a_value_is_no_constant(kind: Any) -> None:
    recorder = traced_operations.Recorder(interpreter.interpreter_builder)
    assert recorder.text(kind(handle=3)) == "c0"
    with pytest.raises(traced_operations.ValueNeeded):
        recorder.text(kind(handle=traced_operations.Value("i0")))


def test_a_constant_of_tensors_is_no_part_of_a_signature() -> None:
    tensor = tl.tensor(interpreter.TensorHandle(np.zeros(1, np.int32), tl.int32), tl.int32)
    signatures = Signatures(tl)
    assert signatures.of_call((tl.constexpr(3),), {}, [])
    with pytest.raises(KeyError):
        signatures.of_call((tl.constexpr([tensor]),), {}, [])


def test_more_signatures_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_operations, "SIGNATURES", 4)
    out = torch.empty(50, dtype=torch.int32)
    counting[(1,)](out, 50)
    assert out.tolist() == [3 * place for place in range(50)]


@triton.jit
def wrong_shapes(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x + tl.arange(0, 16), tl.arange(0, 16) + tl.arange(0, 32))


@triton.jit
def pointer_plus_float(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x + 1.5, 0.0)


@triton.jit
def load_of_a_number(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, tl.load(tl.arange(0, 16)))


@triton.jit
def unequal_dot(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, tl.sum(tl.dot(tl.zeros([16, 32], tl.float32), tl.zeros([16, 16], tl.float32))))


@triton.jit
def slice_of_a_block(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, tl.sum(tl.arange(0, 16)[2:]))


@triton.jit
def no_power_of_two(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x + tl.arange(0, 12), 0.0)


@triton.jit
def too_large_a_number(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, tl.arange(0, 16).to(tl.int8) + 1000)


@triton.jit
def and_of_floats(x):  # type: ignore[no-untyped-def]  # device code
    tl.store(x, tl.load(x) & 1)


def failure(kernel: Any) -> list[tuple[type[BaseException], str]]:
    """The exceptions, with their causes, of a kernel that must fail."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  which one it is depends on the kernel
        kernel[(1,)](torch.zeros(64))
    error: BaseException | None = caught.value
    return [(type(error), str(error)) for error in causes(error)]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


@pytest.mark.parametrize(
    "kernel",
    [
        *(wrong_shapes, pointer_plus_float, load_of_a_number, unequal_dot),
        *(slice_of_a_block, no_power_of_two, too_large_a_number, and_of_floats),
    ],
    ids=lambda kernel: str(kernel.__name__),
)
def test_a_wrong_kernel_fails_as_without_recordings(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [failure(kernel) for _ in range(2)]
    monkeypatch.setattr(Signatures, "of_call", unrecorded)
    assert recorded == [failure(kernel)] * 2


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("shape", "wanted"), [((16, 1), (16, 8)), ((1, 8), (16, 8)), ((1, 1), (4, 8)), ((3, 1, 2), (3, 5, 2))])
def test_views_are_those_of_numpy(shape: tuple[int, ...], wanted: tuple[int, ...], order: Any) -> None:
    data = np.array(np.arange(math.prod(shape)).reshape(shape), order=order)
    builder, handle = interpreter.interpreter_builder, interpreter.TensorHandle(data, tl.int64)
    pairs = [(builder.create_broadcast(handle, wanted).data, np.broadcast_to(data, wanted))]
    pairs += [(builder.create_expand_dims(handle, axis).data, np.expand_dims(data, axis)) for axis in range(len(shape) + 1)]
    for got, expected in pairs:
        assert (got.shape, got.strides, got.dtype) == (expected.shape, expected.strides, expected.dtype)
        assert np.shares_memory(got, data)
