"""The interpreter with all that makes it quick computes what Triton's own does, and where Triton differs it keeps its own way."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from triton.runtime import interpreter

from fuzz_decode.triton_interpreter.speed import builder_shortcuts as shortcuts
from fuzz_decode.triton_interpreter.speed import launches
from fuzz_decode.triton_interpreter.speed.install import is_known

PROGRAM = """
import itertools, sys
import fuzz_decode.triton_interpreter as interpreter
if sys.argv[1] == "plain":
    interpreter.is_known = lambda _: False
interpreter.mend()
from fuzz_decode.problems.build import build_problem
from fuzz_decode.execute.run_case import returned
from fuzz_decode.generate.case_stream import drawn_stream
from fuzz_decode.targets import resolve
target = resolve("bundled")
for case in itertools.islice(drawn_stream(5, target.case_space()), 25):
    problem = build(case, "cpu")
    for tensor in (*returned(problem, target), problem.buffers["out"].storage):
        print(hash(tensor.contiguous().view(torch.uint8).numpy().tobytes()))
"""


@pytest.mark.skipif(triton.__version__.startswith(("3.2", "3.3", "3.4", "3.5", "3.6")), reason="loops need mending there")
def test_the_bundled_kernel_gives_the_same_bits_as_in_triton_s_own_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", "import torch\n" + PROGRAM, how],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for how in ("quick", "plain")
    ]
    assert told[0].count("\n") == 75
    assert told[0] == told[1]


def handle(data: Any, dtype: Any) -> Any:
    return interpreter.TensorHandle(np.array(data).astype(interpreter._get_np_dtype(dtype)), dtype)


def test_a_method_that_does_more_than_an_operation_is_left_alone() -> None:
    def more(self: Any, lhs: Any, rhs: Any) -> Any:
        return handle(lhs.data + rhs.data + 1, lhs.dtype)

    assert shortcuts._binary(more, interpreter.TensorHandle, shortcuts.Samples(interpreter)) is more


def test_types_whose_results_triton_changes_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def adds_one_to_floats(self: Any, lhs: Any, rhs: Any, operation: Any) -> Any:
        return interpreter.TensorHandle(operation(lhs.data, rhs.data) + (lhs.data.dtype.kind == "f"), lhs.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "binary_op", adds_one_to_floats)
    samples = shortcuts.Samples(interpreter)
    add = shortcuts._binary(lambda self, a, b: self.binary_op(a, b, np.add), interpreter.TensorHandle, samples)
    sums = [add(samples.builder, handle([2], dtype), handle([3], dtype)).data.item() for dtype in (tl.int32, tl.float32)]
    assert sums == [5, 6]


def test_results_that_differ_in_anything_are_not_the_same() -> None:
    def number(data: Any, dtype: Any) -> Any:
        return lambda: interpreter.TensorHandle(data, dtype)

    ones = np.ones((2, 2), np.float32)
    assert shortcuts._same(number(ones, tl.float32), number(ones.copy(), tl.float32), [()])
    for other in (
        number(ones + 1, tl.float32),
        number(np.asfortranarray(ones), tl.float32),
        number(ones, tl.int32),
        lambda: 1 / 0,
    ):
        assert not shortcuts._same(number(ones, tl.float32), other, [()])


def test_another_triton_keeps_its_own_way() -> None:
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
