"""Triton IR as text: operations, types, regions and lines."""

from __future__ import annotations

import pytest

from fuzz_decode.triton_native.operations import Operation, Type
from fuzz_decode.triton_native.ttir import parse
from fuzz_decode.triton_native.unsupported import Unsupported

LOOP = """
#loc = loc("/tmp/kernel.py":4:0)
#loc1 = loc(unknown)
#loc2 = loc("/tmp/kernel.py":9:12)
#loc3 = loc("/tmp/helper.py":3:4)
#loc4 = loc("total"(#loc2))
#loc5 = loc(callsite(#loc3 at #loc4))
#loc6 = loc(callsite(#loc1 at #loc2))
module {
  tt.func public @kernel(%x: !tt.ptr<f16> loc("x"(#loc)), %n: i32 {tt.divisibility = 16 : i32} loc("n"(#loc))) {
    %c0 = arith.constant 0 : i32 loc(#loc1)
    %cst = arith.constant dense<0xFF800000> : tensor<32xf32> loc(#loc6)
    %acc:2 = scf.for %i = %c0 to %n step %c0 iter_args(%a = %cst, %b = %c0) -> (tensor<32xf32>, i32)  : i32 {
      %p = tt.splat %x : !tt.ptr<f16> -> tensor<32x!tt.ptr<f16>> loc(#loc5)
      %v, %w = tt.split %q : tensor<16x2xi8> -> tensor<16xi8> loc(#loc2)
      %l = tt.load %p, %m {cachePolicy = #tt.cache_policy<cache_modifier = cg>} : tensor<32x!tt.ptr<f16>> loc(#loc2)
      scf.yield %a, %b : tensor<32xf32>, i32 loc(#loc2)
    } {tt.num_stages = 3 : i32} loc(#loc4)
    %r:2 = "tt.reduce"(%acc#0, %acc#0) <{axis = 0 : i32}> ({
    ^bb0(%s: f32 loc("s"(#loc2)), %t: f32 loc(unknown), %u: f32 loc(unknown), %z: f32 loc(unknown)):
      tt.reduce.return %s, %t : f32, f32 loc(#loc2)
    }) : (tensor<32xf32>, tensor<32xf32>) -> (f32, f32) loc(#loc2)
    tt.return loc(#loc)
  } loc(#loc)
} loc(#loc)
"""


@pytest.fixture
def operations() -> dict[str, Operation]:
    return {operation.name: operation for operation in parse(LOOP)[0].blocks[0].operations}


def test_a_function_has_named_and_typed_parameters() -> None:
    function = parse(LOOP)[0]

    assert (function.name, function.parameters) == ("kernel", ["%x", "%n"])
    assert function.types == [Type("pointer", None, "f16"), Type("i32")]


def test_a_loop_has_bounds_variables_and_a_body(operations: dict[str, Operation]) -> None:
    loop = operations["scf.for"]

    assert loop.results == ["%acc#0", "%acc#1"]
    assert loop.types == [Type("f32", (32,)), Type("i32")]
    assert loop.operands == ["%c0", "%n", "%c0", "%cst", "%c0"]
    assert loop.variables == ["%i", "%a", "%b"]
    assert [inner.name for inner in loop.regions[0][0].operations] == ["tt.splat", "tt.split", "tt.load", "scf.yield"]


def test_types_of_results_are_derived_where_they_are_not_printed(operations: dict[str, Operation]) -> None:
    splat, split, load, _ = operations["scf.for"].regions[0][0].operations

    assert splat.types == [Type("pointer", (32,), "f16")]
    assert split.types == [Type("i8", (16,))] * 2
    assert (load.types, load.operands) == ([Type("f16", (32,))], ["%p", "%m"])


def test_the_line_is_that_of_the_innermost_function_outside_of_triton(operations: dict[str, Operation]) -> None:
    splat, split, *_ = operations["scf.for"].regions[0][0].operations

    assert (splat.line.file, splat.line.number) == ("/tmp/helper.py", 3)
    assert (split.line.file, split.line.number) == ("/tmp/kernel.py", 9)
    assert operations["arith.constant"].line.number == 9  # where the operation itself has no line, its caller's


def test_a_reduction_has_the_block_that_combines_elements(operations: dict[str, Operation]) -> None:
    reduction = operations["tt.reduce"]

    assert (reduction.integer("axis"), reduction.shape) == (0, (32,))
    assert reduction.regions[0][0].arguments == ["%s", "%t", "%u", "%z"]


def test_an_unknown_type_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"the type !tt\.tensordesc<16x16xf16>"):
        parse(LOOP.replace("!tt.ptr<f16> loc(", "!tt.tensordesc<16x16xf16> loc(", 1))
