"""Kernels that were blamed although they are correct stay clean, and a fault in one of them is still found."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_decode import fuzz

pytestmark = pytest.mark.slow  # every test is a campaign

KERNELS = Path(__file__).parents[1] / "support" / "correct_kernels.py"
CORRECT = ("annotated_strides", "python_constructs", "asserts_its_strides", "sums_in_the_input_dtype")


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_kernel_is_not_blamed(name: str) -> None:
    assert fuzz(f"{KERNELS}:{name}", iters=30, seed=1, device="cpu") == ()


def test_float16_sums_that_would_overflow_get_smaller_data() -> None:
    """Scores of large and tagged data exceed float16: each blamed the kernel for what it declares."""
    assert fuzz(f"{KERNELS}:sums_in_the_input_dtype", iters=60, seed=0, dtypes=("float16",), device="cpu") == ()


def test_a_fault_shows_within_the_bound_of_narrow_sums() -> None:
    name = "sums_in_the_input_dtype_without_the_last_token"
    (finding,) = fuzz(f"{KERNELS}:{name}", iters=20, seed=0, dtypes=("float16",), device="cpu", stop_after=1)
    assert finding.signature == "wrong-value:out"
