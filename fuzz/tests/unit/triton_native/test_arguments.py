"""Arguments of a launch get the types and values that Triton's binder gives them, without specialisation on values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton.language as tl
from torch import Tensor
from triton.runtime import jit
from triton.runtime.jit import JITFunction

from fuzz_decode.triton_native.arguments import Arguments, bind
from fuzz_decode.triton_native.parameters import Constant, parameters

BOOL = jit.type_canonicalisation_dict["bool"]


def plain(x, y, n=3, BLOCK: tl.constexpr = 16):  # type: ignore[no-untyped-def]  # device code
    pass


def annotated(x, wide: tl.int64, narrow: tl.int8):  # type: ignore[no-untyped-def]  # device code
    pass


annotated.__annotations__["x"] = "const *fp16"  # Triton's own notation


def bound(function: Any, *positional: Any, **named: Any) -> Arguments:
    return bind(JITFunction(function), positional, named)


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (1, "i32"),
        (16, "i32"),
        (2**31 - 1, "i32"),
        (-(2**31), "i32"),
        (2**31, "i64"),
        (-(2**31) - 1, "i64"),
        (2**63 - 1, "i64"),
        (2**63, "u64"),
        (True, BOOL),
        (0.5, "fp32"),
        (torch.zeros(1), "*fp32"),
        (torch.zeros(1, dtype=torch.bfloat16), "*bf16"),
        (torch.zeros(1, dtype=torch.float8_e4m3fn), "*fp8e4nv"),
        (torch.zeros(1, dtype=torch.float8_e5m2), "*fp8e5"),
        (torch.zeros(1, dtype=torch.int64), "*i64"),
        (torch.zeros(1, dtype=torch.bool), f"*{BOOL}"),
        (torch.nn.Parameter(torch.zeros(1)), "*fp32"),
    ],
)
def test_a_value_has_the_type_that_triton_gives_it(value: Any, type: str) -> None:
    assert bound(plain, value, 0).types["x"] == type


def test_arguments_come_by_position_by_name_and_by_default() -> None:
    arguments = bound(plain, 1, y=2, BLOCK=32)

    assert arguments.meta == {"x": 1, "y": 2, "n": 3, "BLOCK": 32}
    assert arguments.values == {"x": 1, "y": 2, "n": 3}
    assert arguments.types == dict.fromkeys("xyn", "i32")
    assert arguments.constants == {"BLOCK": 32}


def test_what_is_known_at_compile_time_is_a_constant_whatever_the_parameter_says() -> None:
    function = JITFunction(annotated)

    arguments = bound(plain, None, function, tl.constexpr(4), tl.float16)

    assert arguments.constants == {"x": None, "y": function, "n": 4, "BLOCK": tl.float16}
    assert (arguments.types, arguments.values) == ({}, {})


def test_annotated_types_are_kept() -> None:
    x = torch.zeros(1, dtype=torch.float16)

    assert bound(annotated, x, 1, 2).types["wide"] == "i64"
    assert bound(annotated, x, 1, 2).types["narrow"] == "i8"
    assert bound(annotated, x, 1, 2).types["x"] == "*kfp16"


def test_a_number_that_does_not_fit_its_annotation_is_an_error() -> None:
    with pytest.raises(OverflowError, match="argument narrow: 200 does not fit into i8"):
        bound(annotated, torch.zeros(1, dtype=torch.float16), 1, 200)


def test_a_tensor_under_another_dtype_is_passed_as_its_tensor() -> None:
    x = torch.zeros(4, dtype=torch.uint8)

    arguments = bound(plain, jit.reinterpret(x, tl.float8e5), 0)

    assert arguments.types["x"] == "*fp8e5"
    assert arguments.values["x"] is x


def test_a_tuple_is_passed_in_parts() -> None:
    x = torch.zeros(4, dtype=torch.float16)

    arguments = bound(plain, (x, (2, None, tl.constexpr(5)), 1.5), 0)

    assert arguments.types["x"] == ("*fp16", ("i32", Constant(None), Constant(5)), "fp32")
    assert {name: arguments.values[name] for name in ("x.1.0", "x.2", "y")} == {"x.1.0": 2, "x.2": 1.5, "y": 0}
    assert arguments.values["x.0"] is x
    assert parameters(arguments.types, 5) == ["x.0", "x.1.0", "x.2", "y", "n"]


def test_a_tensor_descriptor_is_passed_as_a_pointer_with_sizes_and_strides() -> None:
    x = torch.zeros(8, 4)
    descriptor = SimpleNamespace(base=x, shape=[8, 4], strides=[4, 1], block_shape=[2, 4])

    arguments = bound(plain, descriptor, 0)

    assert arguments.types["x"] == "tensordesc<fp32[2, 4]>"
    for flags in range(3):
        names = parameters(arguments.types, 11 + flags)
        assert [arguments.values[name] for name in names[1:5]] == [8, 4, 4, 1]
        assert names[5 : 5 + flags] == ["x.padding", "x.round_f32_to_tf32"][:flags]
        assert [arguments.values[name] for name in names[5 + flags : 9 + flags]] == [8, 4, 4, 1]
        assert len(names) == len(set(names)) == 11 + flags


def test_options_of_a_launch_are_no_arguments() -> None:
    arguments = bound(plain, 1, 2, num_warps=8, num_stages=3, waves_per_eu=2, debug=True)

    assert arguments.meta == {"x": 1, "y": 2, "n": 3, "BLOCK": 16}


@pytest.mark.parametrize(
    ("positional", "named", "error"),
    [
        ((1, 2), {"BLOK": 3}, KeyError),
        ((1,), {}, TypeError),
        ((1, 2, 3, 4, 5), {}, TypeError),
        ((1, 2), {"x": 3}, TypeError),
        (("text", 2), {}, TypeError),
        ((([1], 2), 2), {}, TypeError),
    ],
)
def test_what_no_kernel_takes_is_an_error(positional: tuple[Any, ...], named: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        bound(plain, *positional, **named)


def test_a_view_is_passed_as_it_is() -> None:
    view: Tensor = torch.zeros(8)[3:]

    assert bound(plain, view, 0).values["x"] is view
