"""The accelerated interpreter computes what Triton's own does, and where Triton differs the original method stays."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import triton.language as tl
from triton.runtime import interpreter

from fuzz_decode.triton_interpreter.speed import builder_shortcuts, launches
from fuzz_decode.triton_interpreter.speed.install import is_known

pytestmark = pytest.mark.triton

PROGRAM = """
import sys
import torch
import fuzz_decode.triton_interpreter as interpreter
if sys.argv[1] == "plain":
    interpreter.is_known = lambda _: False
interpreter.patch_triton_interpreter()
from killing_cases import KILLED_BY, killing_case
from fuzz_decode.execute.invoke import invoke
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets import resolve
target = resolve("bundled")
for name in sorted(KILLED_BY)[::4][:25]:
    problem = build_problem(killing_case(name), "cpu")
    for tensor in (*invoke(problem, target), problem.buffers["out"].storage):
        print(hash(tensor.contiguous().view(torch.uint8).numpy().tobytes()))
"""


@pytest.mark.slow
def test_the_bundled_kernel_gives_the_same_bits_without_speedups() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, how],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for how in ("quick", "plain")
    ]
    assert printed[0].count("\n") == 75
    assert printed[0] == printed[1]


def handle(data: Any, dtype: Any) -> Any:
    return interpreter.TensorHandle(np.array(data).astype(interpreter._get_np_dtype(dtype)), dtype)


def test_a_method_that_does_more_than_call_a_ufunc_stays() -> None:
    def more(self: Any, lhs: Any, rhs: Any) -> Any:
        return handle(lhs.data + rhs.data + 1, lhs.dtype)

    assert builder_shortcuts._binary(more, interpreter.TensorHandle, builder_shortcuts.Samples(interpreter)) is more


def test_types_whose_results_triton_changes_are_left_to_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    def adds_one_to_floats(self: Any, lhs: Any, rhs: Any, operation: Any) -> Any:
        return interpreter.TensorHandle(operation(lhs.data, rhs.data) + (lhs.data.dtype.kind == "f"), lhs.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "binary_op", adds_one_to_floats)
    samples = builder_shortcuts.Samples(interpreter)
    add = builder_shortcuts._binary(lambda self, a, b: self.binary_op(a, b, np.add), interpreter.TensorHandle, samples)
    sums = [add(samples.builder, handle([2], dtype), handle([3], dtype)).data.item() for dtype in (tl.int32, tl.float32)]
    assert sums == [5, 6]


def test_results_that_differ_in_anything_are_not_the_same() -> None:
    def number(data: Any, dtype: Any) -> Any:
        return lambda: interpreter.TensorHandle(data, dtype)

    ones = np.ones((2, 2), np.float32)
    assert builder_shortcuts._same(number(ones, tl.float32), number(ones.copy(), tl.float32), [()])
    for other in (
        number(ones + 1, tl.float32),
        number(np.asfortranarray(ones), tl.float32),
        number(ones, tl.int32),
        lambda: 1 / 0,
    ):
        assert not builder_shortcuts._same(number(ones, tl.float32), other, [()])


def test_an_interpreter_with_other_parts_is_not_known() -> None:
    assert is_known(interpreter)
    assert not is_known(object())


def positional(a: int, b: int = 2, c: int = 3) -> None: ...


def keyword_only(a: int, *, b: int = 2) -> None: ...


@pytest.mark.parametrize("function", [positional, keyword_only])
@pytest.mark.parametrize(("given", "named"), [((1,), {}), ((1, 2), {}), ((), {"a": 4, "c": 5}), ((), {}), ((1,), {"a": 1})])
def test_arguments_are_bound_as_inspect_binds_them(function: Any, given: Any, named: Any) -> None:
    def outcome(bind: Any) -> Any:
        try:
            return bind(function, *given, **named)
        except TypeError as error:
            return str(error)

    assert outcome(lambda *a, **k: launches._call_args(inspect.getfullargspec, *a, **k)) == outcome(inspect.getcallargs)
