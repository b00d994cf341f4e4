"""The bundled kernel: right on every view of a cache, in the interpreter and, where there is one, on a GPU."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from machine import DEVICE
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.allocations import poisoned_allocations
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Problem
from fuzz_decode_kernels import paged_decode as module
from fuzz_decode_reference import Rounding, error_bound, gather_attention
from fuzz_decode_reference.bound import TINY, UNIT_ROUNDOFF

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")  # log(0) in the interpreter is meant
TILE = 32  # tokens per step in the interpreter; a part of a step on a GPU
paged_decode: Callable[..., tuple[Tensor, Tensor]] = module.paged_decode
shares: Callable[[int, int, int], int] = module._shares


def check(case: Case) -> tuple[Tensor, Tensor]:
    """Run the kernel on the case, on dirty memory, and hold it to the bound. Returns what it answered."""
    problem = build_problem(validate(case), DEVICE)
    with poisoned_allocations():
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
    rounding = Rounding(unit, TINY[case.dtype], unit, TINY[case.dtype], scaled_after_sum=True)
    allowed = error_bound(*problem.arguments(), rounding=rounding, **options(problem))
    assert (out.shape, out.dtype) == (expected[0].shape, problem.q.dtype)
    assert (lse.shape, lse.dtype) == (expected[1].shape, torch.float32)
    assert bool(((out.double() - expected[0]).abs() <= allowed.out).all())
    exact = lse.double() == expected[1]  # -inf included
    assert bool((exact | ((lse.double() - expected[1]).abs() <= allowed.lse)).all())


@pytest.mark.slow
@settings(deadline=None, derandomize=True, max_examples=10)
@given(st.data())
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_it_is_within_the_bound_on_whatever_is_drawn(dtype: str, data: st.DataObject) -> None:
    check(data.draw(decode_cases(dtypes=(dtype,), max_seq_len=200, head_dims=(16, 40, 64, 128), huge_spans=False)))


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
def test_merge_covers_every_query_row(rows: int) -> None:
    check(Case(seq_lens=(1,) * rows))


@pytest.mark.parametrize("length", [1, TILE - 1, TILE, TILE + 1, 2 * TILE])
def test_room_in_the_table_changes_nothing(length: int) -> None:
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


@pytest.mark.no_gpu  # it may be too small; the CPU commits memory lazily
def test_addresses_beyond_2_to_the_31_elements_are_reached() -> None:
    """K and V of block 1 lie more than 2**31 elements behind block 0."""
    k = Layout(FAMILIES["interleaved"], (2**31, 0, 0, 0, 0))
    case = Case(seq_lens=(3,), block_size=2, dtype="float16", k=k, v=None)
    assert build_problem(case, DEVICE).k_cache.stride(0) > 2**31
    check(case)


@pytest.mark.no_gpu  # it may be too small; the CPU commits memory lazily
def test_products_of_block_id_and_stride_beyond_2_to_the_31_are_reached() -> None:
    table = BlockTable(first_block=70_000)
    k = Layout(CACHE_AXES, (2**15, 0, 0, 0))
    check(Case(seq_lens=(3,), block_size=2, dtype="float16", k=k, table=table))


@pytest.mark.no_gpu  # it may be too small; the CPU commits memory lazily
@pytest.mark.parametrize("outermost", ["head", "slot"])
@pytest.mark.parametrize("pad", [2**30, 2**30 + 1], ids=["in vectors", "element by element"])
def test_products_of_head_or_slot_and_a_stride_of_32_bits_are_reached(outermost: str, pad: int) -> None:
    """The stride fits into 32 bits, and the product does not."""
    order = (outermost, *(axis for axis in CACHE_AXES if axis != outermost))
    k = Layout(order, (pad, 0, 0, 0))
    check(Case(seq_lens=(4,), num_kv_heads=3, block_size=4, dtype="float16", k=k, v=k))


def test_without_out_it_makes_a_new_one() -> None:
    problem = build_problem(Case(seq_lens=(3, 1)), DEVICE)
    out, lse = paged_decode(*problem.arguments())
    assert out.is_contiguous()
    assert out.data_ptr() != problem.out.data_ptr()
    hold_to_bound(problem, out, lse)


def test_gaps_of_out_stay_as_they_were() -> None:
    problem = build_problem(Case(seq_lens=(3, 1), group=2, out=Layout(QUERY_AXES, (5, 3, 0), 2)), DEVICE)
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
    odd = build_problem(case, DEVICE)
    plain = build_problem(in_plain_layout(case), DEVICE, odd.values)
    for a, b in zip(paged_decode(*odd.arguments()), paged_decode(*plain.arguments()), strict=True):
        assert torch.equal(a, b)


def with_programs(programs: int, patch: pytest.MonkeyPatch) -> None:
    """So many are wanted, whatever the device."""
    shape = module._shape_of_program

    def fewer(*arguments: Any) -> Any:
        block_h, tile, _, options = shape(*arguments)
        return block_h, tile, programs, options

    patch.setattr(module, "_shape_of_program", fewer)


RAGGED = {
    "one": (100,),
    "ragged": (0, 1, 33, 0, 200, 32, 64, 7, 0),
    "a long one last": (1, 1, 1, 1, 500),
    "a long one first": (500, 0, 1, 1, 1),
    "more than are looked at at once": tuple(number * 37 % 71 for number in range(131)),
    "empty but the last": (*(0,) * 130, 65),
}


@pytest.mark.slow
@pytest.mark.parametrize("lengths", RAGGED.values(), ids=RAGGED)
@pytest.mark.parametrize("programs", [1, 2, 3, 8, 200])
def test_shares_hold_every_token_once(programs: int, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """With scores of 0 the LSE is the logarithm of how many there are."""
    with_programs(programs, monkeypatch)
    problem = build_problem(Case(seq_lens=lengths, block_size=16), DEVICE)
    problem.q.zero_()
    with poisoned_allocations():
        out, lse = paged_decode(*problem.arguments())
    hold_to_bound(problem, out, lse)
    torch.testing.assert_close(lse.exp().flatten(), torch.tensor(lengths, dtype=torch.float32, device=lse.device))


@pytest.mark.parametrize("programs", [1, 3, 7])
def test_shares_hold_what_blocks_of_query_rows_see(programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of rows see unlike numbers of tokens, within a window."""
    with_programs(programs, monkeypatch)
    check(Case(seq_lens=(40, 0, 150, 36), q_len=36, group=1, num_kv_heads=2, block_size=8, window=50))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(0, 2000))
def test_shares_fill_the_device_or_hold_whole_sequences(num_seqs: int, tiles_of_one: int, programs: int) -> None:
    tiles = num_seqs * tiles_of_one
    count = shares(num_seqs, tiles, programs)
    most = max(1, min(tiles, programs))
    assert 1 <= count <= most
    assert count % num_seqs == 0 or 10 * count >= 9 * most


@pytest.mark.slow
def test_drawn_cases_reach_rows_in_vectors_and_rows_of_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, vector = set(), module._vector

    def spied(*tensors: Tensor) -> int:
        found: int = vector(*tensors)
        vectors.add(found)
        return found

    monkeypatch.setattr(module, "_vector", spied)
    for case in itertools.islice(case_stream(0, CaseSpace(huge_spans=False, max_seq_len=40)), 30):
        check(case)
    assert vectors >= {1, 4, 8}


@pytest.mark.parametrize("dtype", DTYPES)
def test_offsets_in_vectors_and_in_elements_give_the_same_bits(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that spans too much for the former is larger than what is built."""
    case = Case(seq_lens=(40, 0, 5), num_kv_heads=2, block_size=4, dtype=dtype, k=Layout(FAMILIES["interleaved HND"]), v=None)
    narrow = check(case)
    monkeypatch.setattr(module, "_span", lambda cache: 2**40)
    for ours, theirs in zip(check(case), narrow, strict=True):
        assert torch.equal(ours, theirs)


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


FLOAT8: dict[str, Any] = {"cache_dtype": "float8_e4m3fn", "k_scale": 0.3, "v_scale": 1.7}
FEATURES: dict[str, dict[str, Any]] = {
    "window": {"window": 3},
    "softcap": {"softcap": 1.0},
    "alibi": {"alibi": True},
    "sinks": {"sinks": True},
    "float8": FLOAT8,
    "q_len": {"q_len": 3},
    "tagged": {"data": "tagged"},
}
UNSPELLABLE = ({"tagged", "softcap"}, {"tagged", "alibi"})
PAIRS = [pair for pair in itertools.combinations_with_replacement(FEATURES, 2) if set(pair) not in UNSPELLABLE]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_each_feature_and_each_pair_of_them(pair: tuple[str, str], dtype: str) -> None:
    """A sequence in parts, an empty one, and permuted blocks."""
    changes = FEATURES[pair[0]] | FEATURES[pair[1]]
    table = BlockTable(placement="permuted", spare_blocks=2, extra_columns=3, unused="huge")
    out, lse = check(
        Case(seq_lens=(40, 0, 5), num_kv_heads=2, group=2, block_size=4, dtype=dtype, table=table, seed=1, **changes)
    )
    rows = slice(changes.get("q_len", 1), 2 * changes.get("q_len", 1))
    assert not out[rows].any()
    assert bool((lse[rows] == -torch.inf).all())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("data", ["gaussian", "large", "tagged"])
def test_float8_caches_of_each_kind_beside_each_dtype(cache_dtype: str, dtype: str, data: str) -> None:
    check(Case(seq_lens=(9, 3), group=2, block_size=4, dtype=dtype, data=data, **(FLOAT8 | {"cache_dtype": cache_dtype})))


def test_a_float8_value_prefix_of_k_is_read_in_place() -> None:
    """MLA: V within K, each with a scale of its own."""
    check(Case(seq_lens=(9,), group=16, head_dim=72, value_head_dim=64, block_size=4, v=None, dtype="bfloat16", **FLOAT8))


@pytest.mark.parametrize(("q_len", "group"), [(15, 1), (5, 3), (16, 1), (4, 4), (2, 8), (17, 1), (8, 5), (5, 8), (40, 1)])
@pytest.mark.parametrize("window", [None, 3])
def test_query_tokens_and_heads_share_tiles(q_len: int, group: int, window: int | None) -> None:
    """Tiles of 16 rows: filled, short of one, one over, and cut within a query token. A window narrower than q_len."""
    check(Case(seq_lens=(q_len, q_len + 33), q_len=q_len, num_kv_heads=2, group=group, block_size=8, window=window))


@pytest.mark.parametrize("length", [2, TILE - 1, TILE, TILE + 1, TILE + 2, 3 * TILE + 1])
@pytest.mark.parametrize("window", [None, 1, 2, TILE])
def test_query_tokens_on_either_side_of_a_part(length: int, window: int | None) -> None:
    """The first query token may end where another part begins, and its window before that."""
    table = BlockTable(extra_columns=3, unused="minus one")
    check(Case(seq_lens=(length,), q_len=2, group=2, block_size=TILE, window=window, table=table, sinks=True, alibi=True))


def test_sinks_larger_than_every_score_leave_little() -> None:
    problem = build_problem(Case(seq_lens=(40, 0), sinks=True, block_size=8, data="uniform"), DEVICE)
    assert problem.sinks is not None
    for sink in (-torch.inf, -1e4, 1e4):
        problem.sinks.fill_(sink)
        hold_to_bound(problem, *paged_decode(*problem.arguments(), **options(problem)))


def test_scales_of_one_change_no_bit() -> None:
    problem = build_problem(Case(seq_lens=(9,), cache_dtype="float8_e5m2", k_scale=1.0, v_scale=1.0), DEVICE)
    for scaled, plain in zip(
        paged_decode(*problem.arguments(), k_scale=1.0, v_scale=1.0), paged_decode(*problem.arguments()), strict=True
    ):
        assert torch.equal(scaled, plain)
