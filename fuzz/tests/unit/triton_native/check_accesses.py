"""Accesses out of bounds, and uses of undefined values, are reported with the kernel's line, the program and the tensor."""

from __future__ import annotations

import linecache

import pytest
import torch
from native_kernels import function_of, launch

from fuzz_decode.triton_native.execute import LaunchReport

COPY = """
@triton.jit
def kernel(x, y, n, shift, N: tl.constexpr):
    at = tl.program_id(0) * N + tl.arange(0, N)
    value = tl.load(x + at + shift, mask=at < n, other=0)
    tl.store(y + at, value, mask=at < n)  # store
"""


def test_a_load_behind_the_end() -> None:
    x, y = torch.arange(100, dtype=torch.int32), torch.full((100,), -1, dtype=torch.int32)

    report = launch(function_of(COPY), (7,), x=x, y=y, n=100, shift=3, N=16)

    assert report.outside is not None
    assert report.outside.place is not None
    assert (report.outside.tensor, report.outside.elements, report.outside.bytes, report.outside.stored) == ("x", 1, 4, False)
    assert (report.outside.place.program, report.outside_elements) == ((6, 0, 0), 3)
    assert "tl.load(x + at + shift" in linecache.getline(report.outside.place.file, report.outside.place.line)
    assert y.tolist() == [*range(3, 100), 0, 0, 0]


def test_a_store_before_the_start() -> None:
    memory = torch.full((64,), -1, dtype=torch.int16)
    y = torch.zeros(0, dtype=torch.int16).set_(torch.zeros(16, dtype=torch.int16).untyped_storage(), 4, (12,))  # type: ignore[call-overload]

    report = launch(function_of(COPY.replace("y + at,", "y + at - 6,")), x=memory, y=y, n=16, shift=0, N=16)

    assert report.outside is not None
    assert report.outside.place is not None
    assert (report.outside.tensor, report.outside.elements, report.outside.stored) == ("y", -2, True)
    assert report.outside_elements == 2
    assert "# store" in linecache.getline(report.outside.place.file, report.outside.place.line)


def test_another_tensor_next_to_it_is_outside() -> None:
    x, y = torch.zeros(16), torch.zeros(16)
    distance = (y.data_ptr() - x.data_ptr()) // 4

    report = launch(function_of(COPY), x=x, y=y, n=16, shift=distance, N=16)

    assert report.outside is not None
    assert report.outside.place is not None
    assert report.outside.tensor == "x"
    assert report.outside_elements == 16


def test_the_whole_storage_is_inside() -> None:
    x = torch.arange(40, dtype=torch.int32)[10:26]
    y = torch.zeros(16, dtype=torch.int32)

    assert launch(function_of(COPY), x=x, y=y, n=16, shift=14, N=16) == LaunchReport()
    assert y.tolist() == list(range(24, 40))


def test_reads_are_kept() -> None:
    x, y = torch.arange(100, dtype=torch.int32), torch.zeros(100, dtype=torch.int32)

    report = launch(function_of(COPY), (2,), {"keep_reads": True}, x=x, y=y, n=20, shift=85, N=16)

    assert report.reads is not None
    assert [(int(address) - x.data_ptr()) // 4 for address in report.reads] == list(range(85, 100))
    assert report.outside_elements == 5


UNDEFINED = """
@triton.jit
def kernel(x, y, n, N: tl.constexpr):
    at = tl.arange(0, N)
    value = tl.load(x + at, mask=at < n)
    {statement}
"""

WEIGHTED = "tl.store(y, tl.sum(({weight}).to({dtype}) * value.to({dtype})).to(tl.int32))"
MULTIPLIED = (
    "a, b = tl.broadcast_to(({weight}).to({dtype})[None, :], [N, N]), tl.broadcast_to(value.to({dtype})[:, None], [N, N])\n"
    "    tl.store(y + at, tl.sum(tl.dot(a, b), 0).to(tl.int32))"
)
HARMFUL = {
    "tl.store(y, tl.sum(value))": "store",
    "tl.store(y, tl.sum(tl.cumsum(value * 2)))": "store",
    "tl.store(y + at, value)": "store",
    "tl.store(y + at, tl.where(at < n + 1, value, 0))": "store",
    "tl.store(y + value, 1)": "address",
    "tl.store(y + at, 1, mask=value == 0)": "mask",
    "tl.store(y, tl.max(tl.sort(value)))": "store",
    "tl.atomic_add(y + at, value)": "store",
    "tl.store(y, tl.load(y + tl.max(value)))": "address",
    "if tl.max(value) > 3:\n        tl.store(y, 1)": "branch",
    "m = (value[:, None] + at[None, :]).to(tl.float32)\n    tl.store(y, tl.sum(tl.dot(m, m)).to(tl.int32))": "store",
    "total = 0\n    for i in range(2):\n        total += tl.sum(value)\n    tl.store(y, total)": "store",
    "tl.store(y, tl.sum(tl.trans(tl.join(value, at))))": "store",
    **dict.fromkeys(
        (
            WEIGHTED.format(weight="tl.where(at < n + 1, 1.0, 0.0)", dtype="tl.float32"),
            WEIGHTED.format(weight="tl.where(at < n, 1.0, value.to(tl.float32))", dtype="tl.float32"),
            WEIGHTED.format(weight="tl.where(at < n, 1.0, 1e-45)", dtype="tl.float32"),
            MULTIPLIED.format(weight="tl.where(at < n + 1, 1.0, 0.0)", dtype="tl.float16"),
            MULTIPLIED.format(weight="tl.where(at < n, 1.0, value.to(tl.float32))", dtype="tl.float16"),
        ),
        "store",
    ),
}
ZEROS = (("0.0", "float32"), ("-0.0", "float16"), ("0.0", "bfloat16"), ("-0.0", "float64"))
HARMLESS = (
    "tl.store(y, tl.sum(tl.where(at < n, value, 0)))",
    "tl.store(y + at, value, mask=at < n)",
    "tl.store(y + at, value + 1, mask=(at < n) & (value >= 0))",
    "tl.store(y + at, value * (at < n).to(tl.int32))",
    "tl.store(y + tl.where(at < n, value, 0), 1)",
    *(WEIGHTED.format(weight=f"tl.where(at < n, 1.0, {zero})", dtype=f"tl.{dtype}") for zero, dtype in ZEROS),
    *(MULTIPLIED.format(weight=f"tl.where(at < n, 1.0, {zero})", dtype=f"tl.{dtype}") for zero, dtype in ZEROS[:2]),
    "tl.store(y + at, tl.load(y + value, mask=at < n, other=0))",
    "tl.store(y + at, 1, mask=(at >= n) | (value >= 0))",
    "tl.store(y, tl.sum(tl.where((at < n)[:, None], value[:, None] + at[None, :], 0).reshape([N * N])))",
    "value = tl.where(at < n, value, 0)\n    for i in range(2):\n        value += value\n    tl.store(y + at, value)",
)


@pytest.mark.parametrize("statement", HARMFUL)
def test_a_result_that_depends_on_an_undefined_lane_is_reported(statement: str) -> None:
    x, y = torch.arange(16, dtype=torch.int32) % 4, torch.zeros(16, dtype=torch.int32)

    report = launch(function_of(UNDEFINED.format(statement=statement)), x=x, y=y, n=10, N=16)

    use = report.undefined[0]
    assert use.use == HARMFUL[statement]
    assert (use.tensor, use.place.program) == ("" if use.use == "branch" else "y", (0, 0, 0))
    assert use.place.line >= 9
    assert use.unwritten is None
    assert report.outside is None


@pytest.mark.parametrize("statement", [*HARMLESS, *HARMFUL])
def test_defined_results_are_not_reported(statement: str) -> None:
    x, y = torch.arange(16, dtype=torch.int32) % 4, torch.zeros(16, dtype=torch.int32)
    n = 10 if statement in HARMLESS else 16

    report = launch(function_of(UNDEFINED.format(statement=statement)), x=x, y=y, n=n, N=16)

    assert report == LaunchReport()


@pytest.mark.parametrize(("weight", "uses"), [(0, 0), (-128, 16)])
def test_a_product_of_integers_with_undefined_lanes(weight: int, uses: int) -> None:
    source = """
@triton.jit
def kernel(x, y, n, weight, M: tl.constexpr, K: tl.constexpr):
    at, row = tl.arange(0, K), tl.arange(0, M)
    value = tl.load(x + at[:, None] + 0 * row, mask=(at < n)[:, None])
    a = tl.broadcast_to(tl.where(at < n, 1, weight).to(tl.int8)[None, :], [M, K])
    tl.store(y + row, tl.max(tl.dot(a, value), 0))
"""
    x, y = torch.ones(32, dtype=torch.int8), torch.zeros(16, dtype=torch.int32)

    report = launch(function_of(source), x=x, y=y, n=20, weight=weight, M=16, K=32)

    assert report.undefined_elements == uses
    assert y.tolist() == [20] * 16


def test_an_assertion_that_fails_is_not_compiled_in_by_default() -> None:
    source = "@triton.jit\ndef kernel(x):\n    tl.device_assert(tl.load(x) > 0, 'positive')\n    tl.device_print('x', 1)\n"

    assert launch(function_of(source), x=torch.zeros(1)) == LaunchReport()
