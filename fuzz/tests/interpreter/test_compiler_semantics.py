"""Python constructs in kernels: the interpreter gives what the compiled kernel gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from fuzz_decode.workers.devices import pick_device

DEVICE = pick_device("auto")
X = torch.arange(16, dtype=torch.int32)


@triton.jit
def conjunction(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, ((v > 2) and (v < 9)).to(tl.int64))


@triton.jit
def disjunction_of_three(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, ((v > 12) or (v < 1) or (v == n)).to(tl.int64))


@triton.jit
def negation(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, (not (v > n)).to(tl.int64))


@triton.jit
def chain(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, (2 < v <= n).to(tl.int64))


@triton.jit
def extrema(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, min(max(v, 5), n).to(tl.int64))


@triton.jit
def assigned(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    inside, outside = (v > 2) and not (v > n), v > 12 or v < 1
    either = inside or outside
    tl.store(out + i, either.to(tl.int64))


@triton.jit
def scalars(out, x, n):
    i = tl.arange(0, 16)
    tl.store(out + i, (i + max(n, 3) if n > 2 and not (n == 5) else i).to(tl.int64))  # noqa: SIM201  `not` is what is tested


EXPECTED = {
    conjunction: (X > 2) & (X < 9),
    disjunction_of_three: (X > 12) | (X < 1) | (X == 6),
    negation: X <= 6,
    chain: (X > 2) & (X <= 6),
    extrema: X.clamp(5, 6),
    assigned: ((X > 2) & (X <= 6)) | (X > 12) | (X < 1),
    scalars: X + 6,
}


@pytest.mark.filterwarnings("ignore:Logical operators")
@pytest.mark.parametrize("kernel", EXPECTED, ids=lambda kernel: kernel.fn.__name__)
def test_blocks_are_combined_element_by_element(kernel: Any) -> None:
    out = torch.full((16,), -1, dtype=torch.int64, device=DEVICE)
    kernel[(1,)](out, X.to(DEVICE), 6)
    assert out.tolist() == EXPECTED[kernel].long().tolist()


@triton.jit
def products(out, wide: tl.int64, by_name: tl.int64, narrow: tl.int32, plain, real: tl.float32):
    tl.store(out, wide * 3)
    tl.store(out + 1, by_name * 3)
    tl.store(out + 2, narrow * 3)
    tl.store(out + 3, plain * 3)
    tl.store(out + 4, (real * 3).to(tl.int64))


def launched(*numbers: float) -> list[int]:
    out = torch.zeros(5, dtype=torch.int64, device=DEVICE)
    products[(1,)](out, *numbers)
    return out.tolist()


def test_an_annotated_parameter_has_its_width() -> None:
    wrapped = int(np.array([3 * 2**30]).astype(np.int32)[0])
    assert launched(2**30, 2**30, 2**30, 2**30, 2.0) == [3 * 2**30, 3 * 2**30, wrapped, wrapped, 6]


def test_an_annotated_parameter_takes_a_number_of_another_kind() -> None:
    assert launched(1, -5, 7, 2, 4) == [3, -15, 21, 6, 12]


@triton.jit
def float_argument(out, x, scale):
    tl.store(out, (tl.load(x) * scale).to(tl.float32))


@triton.jit
def float_in_a_tuple(out, x, scale):
    one, total = 1, 0.333
    tl.store(out, (tl.load(x) * total * one).to(tl.float32))


@pytest.mark.parametrize("kernel", [float_argument, float_in_a_tuple], ids=lambda kernel: kernel.fn.__name__)
def test_a_float_is_a_float32_scalar_and_takes_part_in_promotion(kernel: Any) -> None:
    x, out = torch.tensor([1.001], dtype=torch.float16, device=DEVICE), torch.zeros(1, device=DEVICE)
    kernel[(1,)](out, x, 0.333)
    assert out.item() == (x.float() * torch.tensor([0.333], device=DEVICE)).item()
    assert out.item() != (x * 0.333).item()


@triton.jit
def loop(out, n, step: tl.int32):
    for i in range(0, n, 2**30):
        tl.store(out, i * step)
        out += 1


@pytest.mark.parametrize(("length", "products"), [(2**31 - 1, [0, -1073741824]), (2**31 + 1, [0, 3 * 2**30, 3 * 2**31])])
def test_the_variable_of_a_loop_is_as_wide_as_its_bounds(length: int, products: list[int]) -> None:
    out = torch.zeros(len(products), dtype=torch.int64, device=DEVICE)
    loop[(1,)](out, length, 3)
    assert out.tolist() == products


def own_max(*values: Any) -> str:
    return f"mine of {len(values)}"


def test_other_functions_of_that_name_are_called_as_they_are() -> None:
    from triton.runtime import interpreter

    if DEVICE == "cpu":
        assert interpreter._fuzz_decode_extremum(own_max, 1, 2) == "mine of 2"
        assert interpreter._fuzz_decode_extremum(max, [3, 1], key=lambda number: -number) == 1


@triton.jit
def quotients(out, x, n):
    i = tl.arange(0, 16)
    v = tl.load(x + i)
    tl.store(out + i, v // n)
    tl.store(out + 16 + i, v % n)
    tl.store(out + 32 + i, v >> 1)


@pytest.mark.parametrize("divisor", [3, -3])
def test_quotients_of_negative_numbers_are_those_of_c(divisor: int) -> None:
    """Rounded towards 0, while Python rounds down."""
    x, out = X - 8, torch.zeros(48, dtype=torch.int32, device=DEVICE)
    quotients[(1,)](out, x.to(DEVICE), divisor)
    quotient = torch.div(x, divisor, rounding_mode="trunc")
    assert out.tolist() == [*quotient.tolist(), *(x - quotient * divisor).tolist(), *(x >> 1).tolist()]


@triton.jit
def block_as_a_condition(out, x, n):
    v = tl.load(x + tl.arange(0, 16))
    if v > n:
        tl.store(out, 1)


@triton.jit
def scalar_as_a_python_number(out, x, n):
    tl.store(out, int(n))


@triton.jit
def scalar_among_others(out, x, n):
    if n in (1, 2):
        tl.store(out, 1)


@pytest.mark.no_gpu
@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (
            scalar_as_a_python_number,
            r"int\(\) of a value known at run time only; Triton's compiler takes",
        ),
        (scalar_among_others, "`in` with a value known at run time only; Triton's compiler takes `==` for that"),
    ],
)
def test_a_runtime_value_is_no_python_number(kernel: Any, words: str) -> None:
    with pytest.raises(Exception, match=words):
        kernel[(1,)](torch.zeros(1), X, 6)


@pytest.mark.no_gpu
def test_a_block_is_no_condition() -> None:
    with pytest.raises(Exception, match="is a block; Triton's compiler takes scalars only"):
        block_as_a_condition[(1,)](torch.zeros(1), X, 6)


@triton.jit
def total_that_widens(out, x, n):
    v = tl.load(x + tl.arange(0, 16))
    total = tl.zeros([16], tl.float16)
    for _ in range(n):
        total += v * 0.5
    tl.store(out + tl.arange(0, 16), total)


@triton.jit
def number_that_becomes_a_block(out, x, n):
    v, total = tl.load(x + tl.arange(0, 16)), 0
    while n > 0:
        n -= 1
        total = total + v
    tl.store(out + tl.arange(0, 16), total)


@pytest.mark.no_gpu
@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (total_that_widens, r"turns `total` from <\['?16'?\], fp16> into <\['?16'?\], fp32>"),
        (number_that_becomes_a_block, r"turns `total` from int32 into <\['?16'?\], int32>"),
    ],
)
def test_a_loop_changes_no_type(kernel: Any, words: str) -> None:
    with pytest.raises(Exception, match=f"{words}; Triton's compiler keeps its type"):
        kernel[(1,)](torch.zeros(16), X, 2)


@triton.jit
def one_name_in_two_loops(out, x, n, FLAG: tl.constexpr):
    i = tl.arange(0, 16)
    total = tl.zeros([16], tl.float32)
    for _ in range(2):
        v = tl.load(x + i)
        total += v
    for j in range(2):
        v = j * 0.5 if FLAG else j
        total += v
    for v in range(2):
        total += v
    tl.store(out + i, total.to(tl.int64))


@pytest.mark.parametrize("flag", [True, False])
def test_a_name_that_the_compiler_forgets_may_change_its_type(flag: bool) -> None:
    out = torch.zeros(16, dtype=torch.int64, device=DEVICE)
    one_name_in_two_loops[(1,)](out, X.to(DEVICE), 2, flag)
    assert out.tolist() == [int(2 * x + (0.5 if flag else 1) + 1) for x in range(16)]


@triton.jit
def integer_that_widens(out, x, step: tl.int64):
    total = 0
    for _ in range(2):
        total += step
    tl.store(out, total)


@pytest.mark.no_gpu
def test_a_loop_may_widen_an_integer() -> None:
    """The compiler refuses it unless the step is 1, which is a constant there."""
    out = torch.zeros(1, dtype=torch.int64)
    integer_that_widens[(1,)](out, X, 1)
    assert out.item() == 2


@triton.jit
def assigned_in_a_condition(out, x, n):
    i = tl.arange(0, 16)
    inside = (v := tl.load(x + i)) > 2 and v < 9
    tl.store(out + i, tl.where(inside, v, 0))


def test_an_assignment_in_a_condition_holds_after_it() -> None:
    out = torch.zeros(16, dtype=torch.int32, device=DEVICE)
    assigned_in_a_condition[(1,)](out, X.to(DEVICE), 2)
    assert out.tolist() == [x if 2 < x < 9 else 0 for x in range(16)]


@triton.jit
def factor_that_is_doubled(out, x, FACTOR: tl.constexpr):
    FACTOR *= 2
    tl.store(out, (tl.load(x) * FACTOR).to(tl.float32))


def test_a_constant_that_is_changed_is_a_scalar() -> None:
    x, out = torch.tensor([1.001], dtype=torch.float16, device=DEVICE), torch.zeros(1, device=DEVICE)
    factor_that_is_doubled[(1,)](out, x, 0.1665)
    assert out.item() == (x.float() * torch.tensor([0.333], device=DEVICE)).item()
