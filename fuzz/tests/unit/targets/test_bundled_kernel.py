"""What the bundled kernel declares is what it does: the launches tell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.layout import CACHE_AXES, QUERY_AXES, Layout
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.oracles.expected import rounding_of
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets import bundled_kernel, resolve
from fuzz_decode.workers.devices import pick_device
from fuzz_decode_kernels import paged_decode as module
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

pick_device("cpu")
FLOAT8: dict[str, Any] = {"cache_dtype": "float8_e4m3fn", "k_scale": 1.0, "v_scale": 1.0}
H100 = SimpleNamespace(multi_processor_count=132, shared_memory_per_block_optin=232_448)
FOLLOWS_LENGTHS = {"BLOCK_R", "BLOCK_S"}  # the shape of a merge
PREFIX = Case(seq_lens=(3,), head_dim=64, value_head_dim=64, block_size=2, v=None, dtype="float16")
WIDE = Case(seq_lens=(3,), head_dim=576, value_head_dim=512, block_size=2, v=None, dtype="float16")
ODD_HEAD = Layout(CACHE_AXES, (0, 0, 3 - 16, 0))  # of size 1, so that its stride does not count
CHOSEN = (
    Case(),
    Case(dtype="float16"),
    Case(k=ODD_HEAD),
    Case(k=Layout(CACHE_AXES, (), 4)),
    Case(k=Layout(CACHE_AXES, (), 2)),
    Case(v=Layout(CACHE_AXES, (), 1)),
    Case(seq_lens=(1, 1), q=Layout(QUERY_AXES, (2, 0, 0))),
    Case(block_size=2, k=Layout(CACHE_AXES, (0, 1, 0, 0))),
    Case(head_dim=18),
    Case(value_head_dim=24),
    Case(value_head_dim=24, dtype="float16", **FLOAT8),
    Case(dtype="bfloat16", **FLOAT8),
    Case(group=64),
    Case(group=16, q_len=4, seq_lens=(4,)),
    Case(softcap=2.0, sinks=True, alibi=True),
    PREFIX,
    WIDE,
    Case(seq_lens=(3,), head_dim=64, value_head_dim=32, block_size=2, v=None),
)


class Recorded:
    """Stands for a kernel: what it would be compiled for is kept, and nothing is launched."""

    def __init__(self) -> None:
        self.seen: tuple[Hashable, ...] = ()

    def __getitem__(self, grid: tuple[int]) -> Recorded:
        return self

    def __call__(self, *arguments: Any, **constants: Any) -> None:
        kinds = [argument.dtype if isinstance(argument, Tensor) else type(argument) for argument in arguments]
        self.seen = (*kinds, *((name, value) for name, value in constants.items() if name not in FOLLOWS_LENGTHS))


@pytest.fixture(scope="module")
def launched() -> Iterator[Callable[[Case], Hashable]]:
    """Of a case: what both kernels would be compiled for on a GPU."""
    attend, merge, shape = Recorded(), Recorded(), module._shape_of_program

    def on_gpu(*arguments: Any) -> Any:
        return shape(*arguments[:-1], torch.device("cuda"))

    def recorded(case: Case) -> Hashable:
        problem = build_problem(validate(case), "cpu")
        module.paged_decode(*problem.arguments(), **problem.options())
        return attend.seen, merge.seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_attend_share", attend)
        patch.setattr(module, "_merge_shares", merge)
        patch.setattr(module, "_shape_of_program", on_gpu)
        patch.setattr(torch.cuda, "get_device_properties", lambda device: H100)
        yield recorded


@pytest.mark.slow
def test_cases_of_the_same_key_and_only_they_are_run_by_the_same_kernels(launched: Callable[[Case], Hashable]) -> None:
    cases = [*CHOSEN, *itertools.islice(case_stream(0, CaseSpace()), 250)]
    pairs = {(bundled_kernel.compiles_for(case), launched(case)) for case in cases}
    keys, kernels = ({pair[side] for pair in pairs} for side in (0, 1))
    assert len(keys) == len(kernels) == len(pairs) > 60


def test_kernels_that_differ_in_one_constant_only_have_other_keys(launched: Callable[[Case], Hashable]) -> None:
    """The chosen cases are there for it: hardly two of them are run by the same kernels."""
    assert len({launched(case) for case in CHOSEN}) > len(CHOSEN) // 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cache_dtype", [None, *CACHE_DTYPES])
def test_weights_are_rounded_to_float16_where_q_is(dtype: str, cache_dtype: str | None) -> None:
    case = Case(dtype=dtype, **(FLOAT8 | {"cache_dtype": cache_dtype} if cache_dtype else {}))
    rounding = rounding_of(resolve("bundled").arithmetic_of(case), case, interpreted=False)
    weights = "float16" if cache_dtype and dtype == "bfloat16" else dtype
    assert (rounding.probabilities, rounding.probabilities_tiny) == (UNIT_ROUNDOFF[weights], TINY[weights])
    assert (rounding.out, rounding.out_tiny) == (UNIT_ROUNDOFF[dtype], TINY[dtype])


def test_where_the_same_bits_are_promised_the_plain_layout_has_the_same_programs(
    launched: Callable[[Case], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET")
    cases = [*CHOSEN, *itertools.islice(case_stream(1, CaseSpace()), 150)]
    promised = [case for case in cases if bundled_kernel.arithmetic(case).same_bits_anywhere]
    assert len(cases) / 4 < len(promised) < len(cases)
    for case in promised:
        assert shape_of(launched(case)) == shape_of(launched(in_plain_layout(case)))


def shape_of(kernels: tuple[tuple[Hashable, ...], Hashable]) -> set[Hashable]:
    """What the order of sums hangs on."""
    constants = ("BLOCK_H", "TILE", "num_warps")
    return {pair for pair in kernels[0] if isinstance(pair, tuple) and pair[0] in constants}


def test_bits_hang_on_the_layout_where_it_decides_on_a_gpu_how_rows_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Case(group=2, q=Layout(QUERY_AXES, (0, 1, 0)))
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert bundled_kernel.arithmetic(odd).same_bits_anywhere
    monkeypatch.delenv("TRITON_INTERPRET")
    assert not bundled_kernel.arithmetic(odd).same_bits_anywhere
    assert not bundled_kernel.arithmetic(PREFIX).same_bits_anywhere
    assert bundled_kernel.arithmetic(Case(k=Layout(CACHE_AXES, (0, 4, 0, 0)))).same_bits_anywhere
    assert bundled_kernel.arithmetic(Case(head_dim=18, group=2, q=Layout(QUERY_AXES, (0, 1, 0)))).same_bits_anywhere


@pytest.mark.parametrize("dims", [512, 528, 1088])
def test_rows_of_many_float32_dims_are_taken_sixteen_at_a_time(dims: int) -> None:
    """64 of them and their keys need 462,848 bytes of shared memory; an H200 has 232,448 (float8 cache, 560 dims, q_len 8)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_properties", lambda device: H100)
        rows = [module._shape_of_program(64, dims, 16, 1, itemsize, torch.device("cuda"))[0] for itemsize in (4, 2)]
    assert rows == [16, 64]
