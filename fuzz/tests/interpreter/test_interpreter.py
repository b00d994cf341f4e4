"""The patched interpreter computes as torch does, in every dtype that is drawn, and runs kernels that expect a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda_libdevice

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.launches import self_test
from fuzz_decode.targets.target import target_from_function
from fuzz_decode.triton_interpreter import narrow_floats

pytestmark = [
    pytest.mark.no_gpu,
    pytest.mark.triton,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # overflow and 0 * inf are in the data on purpose
]


@triton.jit
def convert(source, wanted, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    tl.store(wanted + at, tl.load(source + at).to(wanted.dtype.element_ty))


@triton.jit
def attend(q, k, v, out, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    row, column = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    at = row * SIZE + column
    scores = tl.dot(tl.load(q + at), tl.load(k + at).T)
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    sums = tl.sum(weights, 1)[:, None]
    acc = tl.dot(weights.to(v.dtype.element_ty), tl.load(v + at)) / sums
    tl.store(out + at, acc.to(out.dtype.element_ty))


@triton.jit
def reductions(x, total, largest, place, running, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    values = tl.load(x + tl.arange(0, SIZE))
    tl.store(total, tl.sum(values))
    top, at = tl.max(values, 0, return_indices=True)
    tl.store(largest, top)
    tl.store(place, at)
    tl.store(running + tl.arange(0, SIZE), tl.cumsum(values, 0))


@triton.jit
def take_third(values):  # type: ignore[no-untyped-def]  # device code
    return values[0, 3]


@triton.jit
def indexes_in_a_helper(x, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    values = tl.load(x + tl.arange(0, SIZE))
    tl.store(x, take_third(values))


def all_bfloat16() -> Tensor:
    return torch.arange(2**16, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16)


def same(got: Tensor, expected: Tensor) -> bool:
    """Equal, with NaN equal to NaN and -0 different from 0."""
    nan = expected.isnan()
    return bool((got.isnan() == nan).all()) and got[~nan].tolist() == expected[~nan].tolist()


def converted(source: Tensor, dtype: torch.dtype) -> Tensor:
    wanted = torch.empty(source.shape, dtype=dtype)
    convert[(1,)](source, wanted, SIZE=len(source))
    return wanted


def test_the_self_test_finds_nothing() -> None:
    assert self_test.refused() == {}


def test_every_bfloat16_widens_exactly() -> None:
    assert same(converted(all_bfloat16(), torch.float32), all_bfloat16().float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_rounds_to_nearest_even(dtype: torch.dtype) -> None:
    """Random bit patterns cover subnormals, overflow and NaN; every halfway point between two bfloat16 covers the ties."""
    bits = torch.randint(-(2**31), 2**31, (2**14,), generator=torch.Generator().manual_seed(1)).int()
    halfway = (torch.arange(2**14, dtype=torch.int32) << 18) | 0x8000
    for source in (bits.view(torch.float32), halfway.view(torch.float32)):
        assert same(converted(source, dtype), source.to(dtype))


@pytest.mark.parametrize("integer", [torch.int32, torch.int64])
def test_integers_become_bfloat16_and_back(integer: torch.dtype) -> None:
    source = torch.arange(-512, 512, dtype=integer)
    assert same(converted(source, torch.bfloat16), source.to(torch.bfloat16))
    assert converted(source.to(torch.bfloat16), integer).tolist() == source.to(torch.bfloat16).to(integer).tolist()


@pytest.mark.parametrize("name", narrow_floats.FLOAT8)
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16, torch.float16])
def test_every_float8_widens_exactly(name: str, wanted: torch.dtype) -> None:
    if name in ("fp8e4b8", "fp8e5b16") and tuple(map(int, triton.__version__.split(".")[:2])) < (3, 8):
        pytest.skip(f"Triton {triton.__version__} has no {name} in its interpreter")
    codes = torch.arange(256, dtype=torch.uint8).view(narrow_floats.FLOAT8[name])
    assert same(converted(codes, wanted), codes.float().to(wanted))


def test_float8_rounds_to_nearest_even_and_saturates() -> None:
    source = torch.cat([torch.randn(250) * 100, torch.tensor([447.0, 449.0, 1e6, -1e6, float("inf"), float("nan")])])
    expected = source.clamp(-448, 448).to(torch.float8_e4m3fn)
    assert same(converted(source, torch.float8_e4m3fn).float(), expected.float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_attention_in_sixteen_bits_is_attention(dtype: torch.dtype) -> None:
    q, k, v = (torch.randn(16, 16, generator=torch.Generator().manual_seed(n)).to(dtype) for n in range(3))
    out = torch.empty(16, 16, dtype=dtype)
    attend[(1,)](q, k, v, out, SIZE=16)
    weights = (q.float() @ k.float().T).softmax(-1)
    assert (out.float() - weights @ v.float()).abs().max() < 8 * torch.finfo(dtype).eps


def test_reductions_of_bfloat16() -> None:
    x = torch.randn(64, generator=torch.Generator().manual_seed(0)).bfloat16()
    total, largest, running = (torch.empty(n, dtype=torch.bfloat16) for n in (1, 1, 64))
    place = torch.empty(1, dtype=torch.int32)
    reductions[(1,)](x, total, largest, place, running, SIZE=64)
    assert largest.item() == x.max().item()
    assert place.item() == x.argmax().item()
    assert abs(total.item() - x.float().sum().item()) < 64 * 2.0**-8
    assert (running.float() - x.float().cumsum(0)).abs().max() < 16 * 2.0**-8


def test_a_sum_of_bfloat16_rounds_at_every_level() -> None:
    """256 + 1 stays 256 in bfloat16: a sum in float32 would see the ones."""
    x = torch.ones(64, dtype=torch.bfloat16)
    x[:32] = 256.0
    total, other = torch.empty(1, dtype=torch.bfloat16), torch.empty(64, dtype=torch.bfloat16)
    reductions[(1,)](x, total, other, torch.empty(1, dtype=torch.int32), other, SIZE=64)
    assert total.item() == 32 * 256
    assert x.float().sum().item() == 32 * 257


def test_atomics_on_bfloat16_are_refused() -> None:
    @triton.jit
    def add(x):  # type: ignore[no-untyped-def]  # device code
        tl.atomic_add(x, tl.load(x))

    ours, theirs = "atomic operations on bfloat16", "atomic_add does not support bf16"  # the front end's own, up to 3.3
    with pytest.raises(Exception, match=f"{ours}|{theirs}") as caught:
        add[(1,)](torch.ones(1, dtype=torch.bfloat16))
    if ours in str(caught.value):
        assert isinstance(caught.value, NotImplementedError) or isinstance(caught.value.__cause__, NotImplementedError)


@triton.jit
def caps(x, y, power, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
    at = tl.arange(0, SIZE)
    values = tl.load(x + at)
    tl.store(y + at, 30.0 * libdevice.tanh(values / 30.0))
    tl.store(power + at, cuda_libdevice.pow(values, 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_libdevice_is_there(dtype: torch.dtype) -> None:
    x = (100 * torch.randn(16, generator=torch.Generator().manual_seed(0))).to(dtype)
    y, power = torch.empty_like(x), torch.empty_like(x)
    caps[(1,)](x, y, power, SIZE=16)
    assert torch.allclose(y.float(), 30 * torch.tanh(x.float() / 30), rtol=2 * torch.finfo(dtype).eps)
    assert torch.allclose(power.float(), x.float() ** 2, rtol=2 * torch.finfo(dtype).eps)


def test_the_rest_of_libdevice_is_not_implemented_and_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"libdevice\.j0 in Triton's interpreter"):
        libdevice.j0(1.0)


def test_the_self_test_finds_truncation_to_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Triton's own interpreter."""

    def truncate(values: Any) -> Any:
        return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)

    monkeypatch.setattr(narrow_floats, "_to_bfloat16", truncate)
    assert self_test.refused() == {"bfloat16": "rounding differs from torch"}


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_the_self_test_finds_misread_float8(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of NaN read as numbers, as by Triton's own interpreter."""
    values = narrow_floats._float8_values

    def finite(name: str) -> Any:
        wrong = narrow_floats.FLOAT8[name] == getattr(torch, dtype)
        return np.nan_to_num(values(name), nan=480.0) if wrong else values(name)

    monkeypatch.setattr(narrow_floats, "_float8_values", finite)
    assert self_test.refused() == {dtype: "widening to float32 differs from torch"}


def test_an_autotuned_kernel_runs() -> None:
    configs = [triton.Config({"BLOCK": 16}, num_warps=2), triton.Config({"BLOCK": 32}, num_stages=3)]

    @triton.autotune(configs=configs, key=["size"])
    @triton.heuristics({"EVEN": lambda given: given["size"] % given["BLOCK"] == 0})
    @triton.jit
    def double(x, y, size, BLOCK: tl.constexpr, EVEN: tl.constexpr):  # type: ignore[no-untyped-def]  # device code
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + at, 2 * tl.load(x + at, mask=at < size), mask=at < size)

    x = torch.arange(40.0)
    y = torch.empty_like(x)
    double[lambda meta: (triton.cdiv(40, meta["BLOCK"]),)](x, y, 40)
    assert y.tolist() == [2.0 * n for n in range(40)]


def test_a_kernel_may_ask_for_a_driver_and_an_architecture() -> None:
    target = triton.runtime.driver.active.get_current_target()
    assert (target.backend, target.arch) == ("cuda", 90)
    assert triton.runtime.driver.active.utils.get_device_properties(0)["multiprocessor_count"] > 0


def test_an_exception_has_its_line_in_the_kernel_and_the_calls_that_led_there() -> None:
    def decode(q: Tensor, *rest: Any) -> Tensor:
        indexes_in_a_helper[(1,)](q, SIZE=16)
        return q

    (finding,) = run_case(Case(), target_from_function("sample", decode), "cpu").findings

    assert finding.signature == "exception-ValueError:call"
    assert finding.message.endswith(": return values[0, 3]")
    assert [line.split(": ", 1)[1] for line in finding.calls.splitlines()] == [
        "indexes_in_a_helper[(1,)](q, SIZE=16)",
        "tl.store(x, take_third(values))",
        "return values[0, 3]",
    ]
