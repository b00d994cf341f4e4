"""Launches reach the machine with bound arguments and a grid, and what it reports reaches those who watch."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime import autotuner
from triton.runtime.jit import JITFunction

from fuzz_decode.launches.record import OutOfBoundsAccess, Place, UndefinedUse
from fuzz_decode.triton_native import execute, launch
from fuzz_decode.triton_native.execute import LaunchReport, Unsupported
from fuzz_decode.triton_native.launch import watch_launches

COMPILED = execute.compiled
PLACE = Place("/kernels/decode.py", 42, (3, 0, 0))
OUTSIDE = OutOfBoundsAccess("x", 256, False, 512, PLACE)


def copy(x, y, n, BLOCK: tl.constexpr = 16):  # type: ignore[no-untyped-def]  # device code
    pass


class Machine:
    """Stands for the engine: keeps the launches, and answers with one report."""

    def __init__(self) -> None:
        self.report = LaunchReport()
        self.compiled: list[dict[str, Any]] = []
        self.launches: list[tuple[dict[str, Any], tuple[int, ...], str | int]] = []
        self.refused: Exception | None = None

    def compile(self, function: Any, types: dict[str, str], constants: dict[str, Any]) -> Any:
        self.compiled.append(constants)
        if self.refused and constants["BLOCK"] != 64:
            raise self.refused
        return SimpleNamespace(name="copy")

    def run(self, kernel: Any, values: dict[str, Any], grid: tuple[int, ...], *, order: str | int, **_: Any) -> Any:
        self.launches.append((values, grid, order))
        return self.report


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine()
    monkeypatch.setattr(JITFunction, "run", launch._run)
    monkeypatch.setattr(autotuner.Autotuner, "_bench", launch._time_of)
    without_gpu = SimpleNamespace(active=SimpleNamespace(get_benchmarker=lambda: None))  # Triton 3.2 asks it for a clock
    monkeypatch.setattr(autotuner, "driver", without_gpu, raising=False)
    monkeypatch.setattr(execute, "compiled", machine.compile)
    monkeypatch.setattr(execute, "run", machine.run)
    yield machine
    assert launch._watches == []


@pytest.mark.parametrize(
    ("grid", "sizes"),
    [((2,), (2, 1, 1)), ([2, 3], (2, 3, 1)), ((2, 3, 4), (2, 3, 4)), (lambda meta: (meta["n"] // meta["BLOCK"],), (4, 1, 1))],
)
def test_a_grid_has_three_sizes(grid: Any, sizes: tuple[int, ...], machine: Machine) -> None:
    JITFunction(copy)[grid](1, 2, 64)

    assert machine.launches == [({"x": 1, "y": 2, "n": 64}, sizes, "forward")]


def test_an_empty_grid_runs_nothing(machine: Machine) -> None:
    JITFunction(copy)[(0,)](1, 2, 64)

    assert (len(machine.compiled), machine.launches) == (1, [])


def test_warming_up_compiles_without_running(machine: Machine) -> None:
    kernel = JITFunction(copy).warmup(torch.float32, torch.float32, 64, BLOCK=32, grid=(1,))
    kernel._init_handles()

    assert (machine.compiled, machine.launches, kernel.n_spills) == ([{"BLOCK": 32}], [], 0)
    kernel[(2,)](1, 2, 64)
    assert machine.launches == [({"x": 1, "y": 2, "n": 64}, (2, 1, 1), "forward")]


def test_hooks_before_a_launch_are_called(machine: Machine) -> None:
    called = []
    function = JITFunction(copy)
    function.add_pre_run_hook(lambda *positional, **named: called.append(positional))
    function[(1,)](1, 2, 3)

    assert called == [(1, 2, 3)]


def test_heuristics_give_constants(machine: Machine) -> None:
    kernel = triton.heuristics({"BLOCK": lambda arguments: arguments["n"] // 2})(JITFunction(copy))
    kernel[(1,)](1, 2, 64)

    assert machine.compiled == [{"BLOCK": 32}]


def tuned(hook: Any = None) -> Any:
    configs = [triton.Config({"BLOCK": size}, num_warps=4, pre_hook=hook) for size in (16, 32, 64, 128)]
    return triton.autotune(configs, key=["n"], do_bench=lambda *_, **__: [0.0])(JITFunction(copy))


def test_autotuning_takes_the_first_configuration(machine: Machine) -> None:
    hooked: list[int] = []
    tuned(lambda arguments: hooked.append(arguments["BLOCK"]))[lambda meta: (meta["BLOCK"],)](1, 2, 64)

    assert [grid for _, grid, _ in machine.launches] == [(16, 1, 1)]
    assert (machine.compiled, hooked) == ([{"BLOCK": 16}] * 2, [16])


def test_autotuning_leaves_out_configurations_that_do_not_compile(machine: Machine) -> None:
    machine.refused = CompileTimeAssertionFailure(None, None, "BLOCK is not 64")
    kernel = tuned()
    kernel[lambda meta: (meta["BLOCK"],)](1, 2, 64)
    kernel[lambda meta: (meta["BLOCK"],)](1, 2, 64)

    assert [grid for _, grid, _ in machine.launches] == [(64, 1, 1)] * 2


def test_accesses_out_of_bounds_are_recorded_by_all_who_watch(machine: Machine) -> None:
    machine.report = LaunchReport(OUTSIDE, 17)
    with watch_launches() as outer:
        JITFunction(copy)[(1,)](1, 2, 3)
        with watch_launches() as inner:
            JITFunction(copy)[(1,)](1, 2, 3)

    assert outer.out_of_bounds == inner.out_of_bounds == OutOfBoundsAccess("x", 256, False, 512, PLACE)
    assert (outer.out_of_bounds_elements, inner.out_of_bounds_elements) == (34, 17)


def test_a_use_of_an_undefined_value_names_the_storage(machine: Machine) -> None:
    x = torch.zeros(8)
    machine.report = LaunchReport(undefined=(UndefinedUse("store", "x", PLACE),))
    with watch_launches() as record:
        JITFunction(copy)[(1,)](x[3:], 2, 3)

    assert record.undefined == [UndefinedUse("store", "x", PLACE, x.data_ptr())]


def test_the_innermost_order_holds(machine: Machine) -> None:
    with watch_launches("backward"), watch_launches():
        JITFunction(copy)[(1,)](1, 2, 3)
        with watch_launches(5):
            JITFunction(copy)[(1,)](1, 2, 3)

    assert [order for *_, order in machine.launches] == ["backward", 5]


def test_reads_are_kept_for_those_who_want_them(machine: Machine) -> None:
    machine.report = LaunchReport(reads="some")
    with watch_launches(keep_reads=True) as record, watch_launches() as other:
        JITFunction(copy)[(1,)](1, 2, 3)

    assert (record.reads, other.reads) == (["some"], None)


def test_a_kernel_that_cannot_be_run_is_recorded_although_the_target_catches_the_exception(machine: Machine) -> None:
    machine.refused = Unsupported("tt.inline_asm")
    with watch_launches() as record, pytest.raises(Unsupported):
        JITFunction(copy)[(1,)](1, 2, 3)

    assert record.unsupported == "the native engine does not support tt.inline_asm"


def test_a_fault_of_the_engine_is_not_that_of_the_kernel(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "source_key", lambda *_: {}["arith.unheard_of"])
    monkeypatch.setattr(execute, "compiled", COMPILED)
    with watch_launches() as record, pytest.raises(Unsupported):
        JITFunction(copy)[(1,)](1, 2, 3)

    failed = "the native engine does not support kernel copy, on which it fails (KeyError: 'arith.unheard_of')"
    assert record.unsupported == failed


def test_an_error_of_the_compiler_is_that_of_the_kernel(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "source_key", lambda *_: triton.cdiv("a", 2))
    monkeypatch.setattr(execute, "compiled", COMPILED)
    with watch_launches() as record, pytest.raises(TypeError):
        JITFunction(copy)[(1,)](1, 2, 3)

    assert record.unsupported == ""


def test_a_failed_assertion_of_a_kernel_is_raised(machine: Machine) -> None:
    machine.report = LaunchReport(failed_assertion="n is odd")
    with pytest.raises(AssertionError, match="n is odd"):
        JITFunction(copy)[(1,)](1, 2, 3)


def test_a_changed_global_is_an_error(machine: Machine) -> None:
    function, names = JITFunction(copy), {"SIZE": 2}
    assert function.cache_key  # finds the globals
    function.used_global_vals = {("SIZE", id(names)): (1, names)}
    with pytest.raises(RuntimeError, match="Global variable SIZE has changed since we compiled this kernel, from 1 to 2"):
        function[(1,)](1, 2, 3)
