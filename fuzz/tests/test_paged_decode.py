"""The bundled kernel: right on every view of a cache, in the interpreter and, where there is one, on a GPU."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fuzz_decode.build import Problem, build, dirty_allocations
from fuzz_decode.case import BlockTable, Case
from fuzz_decode.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.plan import pick_device
from fuzz_decode.strategies import cases
from fuzz_decode_kernels import paged_decode as module
from fuzz_decode_reference import Rounding, error_bound, gather_attention
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")  # log(0) in the interpreter is meant

DEVICE = pick_device("auto")
TILE = 32  # tokens per step in the interpreter; a part of a step on a GPU
paged_decode: Callable[..., tuple[Tensor, Tensor]] = module.paged_decode
splits: Callable[[int, int, int, int], tuple[int, int]] = module._splits


def check(case: Case) -> tuple[Tensor, Tensor]:
    """Run the kernel on the case, on dirty memory, and hold it to the bound. Returns what it answered."""
    problem = build(case.validate(), DEVICE)
    with dirty_allocations():
        out, lse = paged_decode(*problem.arguments(), out=problem.out, **options(problem))
    assert out is problem.out
    hold_to_bound(problem, out, lse)
    return out, lse


def options(problem: Problem) -> dict[str, Any]:
    return problem.options()


def hold_to_bound(problem: Problem, out: Tensor, lse: Tensor) -> None:
    case = problem.case
    expected = gather_attention(*problem.arguments(), **options(problem))
    unit = UNIT_ROUNDOFF[case.dtype]
    rounding = Rounding(unit, TINY[case.dtype], unit, TINY[case.dtype])
    allowed = error_bound(*problem.arguments(), rounding=rounding, **options(problem))
    assert (out.shape, out.dtype) == (expected[0].shape, problem.q.dtype)
    assert (lse.shape, lse.dtype) == (expected[1].shape, torch.float32)
    assert bool(((out.double() - expected[0]).abs() <= allowed.out).all())
    exact = lse.double() == expected[1]  # -inf included
    assert bool((exact | ((lse.double() - expected[1]).abs() <= allowed.lse)).all())


@settings(deadline=None, derandomize=True, max_examples=10)
@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_it_is_within_the_bound_on_whatever_is_drawn(dtype: str, data: st.DataObject) -> None:
    check(data.draw(cases(dtypes=(dtype,), max_seq_len=200, head_dims=(16, 40, 64, 128), huge_spans=False)))


@pytest.mark.parametrize("name", FAMILIES)
def test_it_honours_every_layout_of_the_wild(name: str) -> None:
    """With padding after every axis but the last, an offset, and K and V in one buffer where they are."""
    order = FAMILIES[name]
    layers = 2 if "layer" in order else 1
    k = Layout(order, (*range(3, 2 + len(order)), 0), 5)
    v = None if "kv" in order else Layout(FAMILIES["HND"], (7, 0, 1, 0))
    table = BlockTable(placement="permuted", spare_blocks=2)
    check(Case(seq_lens=(5, 2), num_kv_heads=2, group=2, block_size=2, k=k, v=v, layers=layers, layer=layers - 1, table=table))


def test_it_honours_a_stride_of_1024_between_dims() -> None:
    k = Layout(("block", "slot", "head", "dim"), (0, 0, 0, 1023))
    v = Layout(("dim", "head", "slot", "block"), (1000, 24, 0, 3))
    query = Layout(("dim", "head", "seq"), (1024, 3, 1), 9)
    table = BlockTable(layout=Layout(("column", "seq"), (5, 3)), placement="reversed", extra_columns=2, unused="huge")
    case = Case(seq_lens=(5, 3), num_kv_heads=2, group=3, block_size=2, k=k, v=v, q=query, out=query, table=table)
    assert case.layouts()["k"][0].strides(case.cache_sizes(16))["dim"] == 1024
    check(case)


def test_a_value_prefix_of_k_is_read_in_place() -> None:
    check(Case(seq_lens=(9,), group=2, head_dim=72, value_head_dim=64, block_size=4, v=None, dtype="float16"))


def test_empty_sequences_give_zero_and_minus_infinity() -> None:
    out, lse = check(Case(seq_lens=(0, 3, 0), block_size=2, num_kv_heads=2))
    assert not out[[0, 2]].any()
    assert bool((lse[[0, 2]] == -torch.inf).all())


def test_a_batch_of_empty_sequences_reads_nothing() -> None:
    out, lse = check(Case(seq_lens=(0, 0), table=BlockTable(unused="minus one")))
    assert not out.any()
    assert bool((lse == -torch.inf).all())


@pytest.mark.parametrize("group", [15, 16, 17, 33])
def test_more_query_heads_than_fit_into_one_tile_are_all_answered(group: int) -> None:
    check(Case(seq_lens=(3,), num_kv_heads=2, group=group, block_size=2))


@pytest.mark.parametrize("rows", [15, 16, 17])
def test_every_row_is_merged(rows: int) -> None:
    check(Case(seq_lens=(1,) * rows))


@pytest.mark.parametrize("length", [1, TILE - 1, TILE, TILE + 1, 2 * TILE])
def test_splits_without_a_token_change_nothing(length: int) -> None:
    """A table that could hold far more tokens than there are."""
    out, lse = check(Case(seq_lens=(length,), block_size=TILE, table=BlockTable(extra_columns=4, unused="huge")))
    narrow, narrow_lse = check(Case(seq_lens=(length,), block_size=TILE))
    torch.testing.assert_close(out, narrow)
    torch.testing.assert_close(lse, narrow_lse)


@pytest.mark.parametrize("window", [1, 31, 32, 33, 64, 99, 100, 101, 2**31 - 1])
def test_a_window_hides_all_but_the_last_tokens(window: int) -> None:
    check(Case(seq_lens=(100, 3, 0), block_size=8, window=window))


@pytest.mark.parametrize("softcap", [1e-3, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("data", ["gaussian", "large"])
def test_softcap_saturates_without_overflow(softcap: float, data: str) -> None:
    check(Case(seq_lens=(40,), group=3, block_size=8, softcap=softcap, data=data))


def test_huge_scores_neither_overflow_nor_vanish() -> None:
    check(Case(seq_lens=(40,), group=6, block_size=8, head_dim=128, value_head_dim=16, scale=1.0, data="large"))


@pytest.mark.parametrize("dims", [(1, 1), (1, 64), (40, 16), (16, 72), (17, 33)])
def test_dims_need_not_be_powers_of_two_or_alike(dims: tuple[int, int]) -> None:
    check(Case(seq_lens=(5,), block_size=2, head_dim=dims[0], value_head_dim=dims[1]))


@pytest.mark.skipif(DEVICE == "cuda", reason="the GPU may be too small; the CPU commits memory lazily")
def test_addresses_beyond_2_to_the_31_elements_are_reached() -> None:
    """K and V of block 1 lie more than 2**31 elements behind block 0."""
    k = Layout(FAMILIES["interleaved"], (2**31, 0, 0, 0, 0))
    case = Case(seq_lens=(3,), block_size=2, dtype="float16", k=k, v=None)
    assert build(case, DEVICE).k_cache.stride(0) > 2**31
    check(case)


@pytest.mark.skipif(DEVICE == "cuda", reason="the GPU may be too small; the CPU commits memory lazily")
def test_products_of_block_id_and_stride_beyond_2_to_the_31_are_reached() -> None:
    table = BlockTable(first_block=70_000)
    k = Layout(CACHE_AXES, (2**15, 0, 0, 0))
    check(Case(seq_lens=(3,), block_size=2, dtype="float16", k=k, table=table))


def test_without_out_it_makes_a_new_one() -> None:
    problem = build(Case(seq_lens=(3, 1)), DEVICE)
    out, lse = paged_decode(*problem.arguments())
    assert out.is_contiguous()
    assert out.data_ptr() != problem.out.data_ptr()
    hold_to_bound(problem, out, lse)


def test_gaps_of_out_stay_as_they_were() -> None:
    problem = build(Case(seq_lens=(3, 1), group=2, out=Layout(QUERY_AXES, (5, 3, 0), 2)), DEVICE)
    before = problem.buffers["out"].storage.clone()
    paged_decode(*problem.arguments(), out=problem.out)
    after = problem.buffers["out"].storage.clone()
    for storage in (before, after):
        storage.as_strided(problem.out.shape, problem.out.stride(), problem.out.storage_offset()).zero_()
    assert torch.equal(before.view(torch.int32), after.view(torch.int32))


def test_the_same_values_in_another_layout_give_the_same_bits() -> None:
    k = Layout(FAMILIES["cross-layer HND"], (9, 0, 0, 0, 1, 0), 3)
    table = BlockTable(layout=Layout(TABLE_AXES[::-1]), placement="permuted", spare_blocks=3, unused="stale")
    case = Case(seq_lens=(70, 3), num_kv_heads=2, group=2, block_size=4, k=k, v=None, layers=3, layer=1, table=table)
    odd = build(case, DEVICE)
    plain = build(case.plain(), DEVICE, odd.values)
    for a, b in zip(paged_decode(*odd.arguments()), paged_decode(*plain.arguments()), strict=True):
        assert torch.equal(a, b)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(1, 10**6), st.integers(1, 10**5), st.sampled_from((16, 32, 64, 128)), st.integers(1, 600))
def test_splits_cover_the_table_in_whole_tiles(max_len: int, rows: int, tile: int, programs: int) -> None:
    count, length = splits(max_len, rows, tile, programs)
    assert 1 <= count <= module.MAX_SPLITS
    assert length % tile == 0
    assert count * length >= max_len
    assert (count - 1) * length < max_len  # the last one has something to do


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(1, 600))
def test_splits_are_no_more_than_the_device_can_use(max_len: int, rows: int, programs: int) -> None:
    count, _ = splits(max_len, rows, TILE, programs)
    assert count == 1 or (count - 1) * rows < programs


def test_the_launcher_never_waits_for_the_device() -> None:
    """No call that would copy a tensor's value to the host."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(paged_decode)))
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    assert not called & {"item", "tolist", "cpu", "numpy", "synchronize", "nonzero", "any", "all", "max", "min", "sum"}
    tensors = {"q", "k_cache", "v_cache", "block_table", "seq_lens", "out", "lse"}
    conversions = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in {"int", "float", "bool"}
    ]
    assert not tensors & {ast.unparse(argument) for node in conversions for argument in node.args}
