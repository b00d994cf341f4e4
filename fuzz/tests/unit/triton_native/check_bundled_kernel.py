"""The bundled kernel through the native engine, on drawn cases, within the error bound of the float64 reference."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from native_kernels import launch
from triton.runtime.jit import JITFunction

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.problems.allocations import poisoned_allocations
from fuzz_decode.problems.build import build_problem
from fuzz_decode.triton_native.execute import LaunchReport
from fuzz_decode_kernels.paged_decode import paged_decode
from fuzz_decode_reference import Rounding, error_bound, gather_attention
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

CASES = list(itertools.islice(case_stream(0, CaseSpace()), 50))
GPU = SimpleNamespace(shared_memory_per_block_optin=232448, multi_processor_count=132)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[LaunchReport]:
    """Of every launch: kernels run on the native engine."""
    found: list[LaunchReport] = []

    def run(function: Any, *positional: Any, grid: tuple[int, ...], warmup: bool = False, **named: Any) -> None:
        arguments = {**dict(zip(function.arg_names, positional, strict=False)), **named}
        known = {p.name: arguments.get(p.name, p.default) for p in function.params}
        found.append(launch(function, grid, **known))

    monkeypatch.setattr(JITFunction, "run", run)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: GPU)
    return found


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_it_is_within_the_bound(case: Case, reports: list[LaunchReport]) -> None:
    problem = build_problem(validate(case), "cpu")
    inputs, options = problem.arguments(), problem.options()
    with poisoned_allocations():
        out, lse = paged_decode(*inputs, out=problem.out, **options)

    unit, tiny = UNIT_ROUNDOFF[case.dtype], TINY[case.dtype]
    expected = gather_attention(*inputs, **options)
    allowed = error_bound(*inputs, rounding=Rounding(unit, tiny, unit, tiny, scaled_after_sum=True), **options)
    assert bool(((out.double() - expected[0]).abs() <= allowed.out).all())
    assert bool(((lse.double() == expected[1]) | ((lse.double() - expected[1]).abs() <= allowed.lse)).all())
    assert set(reports) == {LaunchReport()}
