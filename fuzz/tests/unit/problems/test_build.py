"""A built problem lies in memory exactly as its layouts say, and every byte that is not live is poison."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.allocations import poisoned_allocations
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.poison import FILL_LIMIT, is_unwritten, poison_out
from fuzz_decode.problems.problem import GUARD, Buffer, Problem
from fuzz_decode.problems.values import make_values
from fuzz_decode_reference import gather_attention

some = settings(max_examples=20, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
small = decode_cases(huge_spans=False, max_seq_len=200)

ORDINARY = Case(seq_lens=(5, 9), num_kv_heads=3, group=2, head_dim=16, value_head_dim=32, block_size=4, dtype="float16")


def in_family(name: str, case: Case = ORDINARY) -> Case:
    layout = Layout(FAMILIES[name])
    case = replace(case, k=layout, v=None if "kv" in layout.order else layout)
    return validate(replace(case, layers=3, layer=1) if "layer" in layout.order else case)


def storage_of(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def begin(problem: Problem, name: str) -> int:
    """Element of the buffer at which its layout's element 0 would lie without an offset."""
    return GUARD // problem.buffers[name].storage.element_size()


@pytest.mark.parametrize("name", FAMILIES)
def test_k_and_v_share_storage_as_the_family_says(name: str) -> None:
    problem = build_problem(in_family(name), "cpu")

    assert (storage_of(problem.k_cache) == storage_of(problem.v_cache)) is ("kv" in FAMILIES[name])


def test_separate_tensors_have_separate_storage() -> None:
    problem = build_problem(ORDINARY, "cpu")
    tensors = (problem.k_cache, problem.v_cache, problem.q, problem.out, problem.block_table, problem.seq_lens)

    assert len({storage_of(tensor) for tensor in tensors}) == 6


def test_the_interleaved_cache_of_the_xpu_bug() -> None:
    """vllm-xpu-kernels PR 258: k and v [blocks, 64, 4, 256], strides (131072, 1024, 256, 1), V 65536 elements after K."""
    case = Case(seq_lens=(130,), num_kv_heads=4, head_dim=256, value_head_dim=256, block_size=64, dtype="float16")
    problem = build_problem(in_family("interleaved", case), "cpu")

    for cache in (problem.k_cache, problem.v_cache):
        assert cache.shape == (3, 64, 4, 256)
        assert cache.stride() == (131072, 1024, 256, 1)
    assert problem.v_cache.storage_offset() - problem.k_cache.storage_offset() == 65536


def test_the_packed_cache_lies_side_by_side() -> None:
    case = replace(ORDINARY, head_dim=32, value_head_dim=32)
    problem = build_problem(in_family("packed", case), "cpu")

    assert problem.k_cache.stride() == problem.v_cache.stride() == (4 * 3 * 64, 3 * 64, 64, 1)
    assert problem.v_cache.storage_offset() - problem.k_cache.storage_offset() == 32


def test_a_layer_lies_within_the_shared_page() -> None:
    case = replace(ORDINARY, head_dim=32, value_head_dim=32)
    page = 4 * 3 * 32
    problem = build_problem(in_family("cross-layer", case), "cpu")

    assert problem.k_cache.stride() == (3 * 2 * page, 3 * 32, 32, 1)
    assert problem.k_cache.storage_offset() == begin(problem, "k") + 1 * 2 * page
    assert problem.v_cache.storage_offset() == begin(problem, "k") + 1 * 2 * page + page


def test_mla_values_are_a_view_of_the_keys() -> None:
    case = Case(seq_lens=(70,), group=16, head_dim=576, value_head_dim=512, block_size=64, v=None, dtype="bfloat16")
    problem = build_problem(case, "cpu")

    assert problem.v_cache.data_ptr() == problem.k_cache.data_ptr()
    assert problem.v_cache.shape == (2, 64, 1, 512)
    assert problem.v_cache.stride() == problem.k_cache.stride() == (64 * 576, 576, 576, 1)
    assert "v" not in problem.buffers


@given(decode_cases(max_seq_len=200))
@some
def test_views_have_exactly_the_shapes_and_strides_of_the_case(case: Case) -> None:
    problem = build_problem(case, "cpu")
    places = {"k": (problem.k_cache, case.k, CACHE_AXES), "q": (problem.q, case.q, QUERY_AXES)}
    places |= {"out": (problem.out, case.out, QUERY_AXES), "table.layout": (problem.block_table, case.table.layout, TABLE_AXES)}
    places["v"] = (problem.v_cache, case.k if case.v is None else case.v, CACHE_AXES)

    for name, (tensor, layout, axes) in places.items():
        sizes = case.cache_sizes(case.k_row) if name == "v" and case.v is None else case.layouts()[name][1]
        strides = layout.strides(sizes)
        assert tensor.stride() == tuple(strides[axis] for axis in axes)
    assert problem.k_cache.shape == (case.num_blocks, case.block_size, case.num_kv_heads, case.head_dim)
    assert problem.v_cache.shape == (case.num_blocks, case.block_size, case.num_kv_heads, case.value_head_dim)
    assert problem.q.shape == (case.num_seqs * case.q_len, case.num_q_heads, case.head_dim)
    assert problem.out.shape == (case.num_seqs * case.q_len, case.num_q_heads, case.value_head_dim)
    assert problem.block_table.shape == (case.num_seqs, case.table_width)
    assert problem.seq_lens.tolist() == list(case.seq_lens)
    assert problem.scale == case.softmax_scale


@given(small)
@some
def test_tensors_have_the_types_that_the_contract_says(case: Case) -> None:
    problem = build_problem(case, "cpu")

    assert {problem.q.dtype, problem.out.dtype} == {getattr(torch, case.dtype)}
    assert {problem.k_cache.dtype, problem.v_cache.dtype} == {getattr(torch, case.cache_dtype or case.dtype)}
    for tensor, used in ((problem.alibi_slopes, case.alibi), (problem.sinks, case.sinks)):
        assert (tensor is not None) is used
        assert tensor is None or (tensor.dtype, tensor.shape) == (torch.float32, (case.num_q_heads,))
    assert {problem.block_table.dtype, problem.seq_lens.dtype} == {torch.int32}


@given(small)
@some
def test_the_caches_hold_the_values_where_the_table_says(case: Case) -> None:
    problem = build_problem(case, "cpu")
    dtype = problem.k_cache.dtype

    assert torch.equal(problem.q, problem.values.q.to(problem.q.dtype))
    for seq, length in enumerate(case.seq_lens):
        tokens = torch.arange(hidden_tokens(case, length), length)
        blocks, slots = problem.block_table[seq, tokens // case.block_size].long(), tokens % case.block_size
        live = problem.values.tokens.of_seq[seq]
        assert torch.equal(problem.k_cache[blocks, slots].float(), problem.values.k[live].to(dtype).float())
        assert torch.equal(problem.v_cache[blocks, slots].float(), problem.values.v[live].to(dtype).float())


def hidden_tokens(case: Case, length: int) -> int:
    """Tokens of a sequence that no query token of it sees."""
    return 0 if case.window is None else max(0, length - (case.q_len - 1) - case.window)


def live_places(case: Case, name: str) -> list[Tensor]:
    """Elements of a buffer that are live, counted from its layout's origin, by the layout's arithmetic alone."""
    if name == "seq_lens":
        return [torch.arange(case.num_seqs)]
    if name in ("alibi_slopes", "sinks"):
        return [torch.arange(case.num_q_heads)]
    if name == "block_table":
        return [_grid(case.table.layout, case.table_sizes(), {axis: torch.arange(n) for axis, n in case.table_sizes().items()})]
    if name == "q":
        return [
            _grid(
                case.q,
                case.query_sizes(case.head_dim),
                {axis: torch.arange(n) for axis, n in case.query_sizes(case.head_dim).items()},
            )
        ]
    planes = [("k", 0, case.head_dim)] if name == "k" else [("v", 0, case.value_head_dim)]
    if name == "k" and "kv" in case.k.order:
        planes.append(("k", 1, case.value_head_dim))
    layout = case.v if name == "v" else case.k
    assert layout is not None
    sizes = case.cache_sizes(case.value_head_dim if name == "v" else case.k_row)
    blocks = case.blocks()
    found = []
    for row, length in zip(case.pages(), case.seq_lens, strict=True):
        for number, page in enumerate(row):
            start, used = number * case.block_size, min(case.block_size, length - number * case.block_size)
            hidden = min(used, max(0, hidden_tokens(case, length) - start))
            for _, plane, dim in planes:
                at = {
                    "layer": torch.tensor([case.layer]),
                    "kv": torch.tensor([plane]),
                    "block": torch.tensor([blocks[page]]),
                    "slot": torch.arange(hidden, used),
                    "head": torch.arange(case.num_kv_heads),
                    "dim": torch.arange(dim),
                }
                found.append(_grid(layout, sizes, at))
    return found


def _grid(layout: Layout, sizes: dict[str, int], at: dict[str, Tensor]) -> Tensor:
    places = torch.tensor([layout.offset])
    for axis, stride in layout.strides(sizes).items():
        places = (places[:, None] + at[axis] * stride).flatten()
    return places


@given(small)
@some
def test_every_byte_that_is_not_live_is_poison(case: Case) -> None:
    problem = build_problem(replace(case, beyond="minus one"), "cpu")

    for name, buffer in problem.buffers.items():
        if name == "out" or buffer.storage.nbytes > FILL_LIMIT:
            continue
        bits = buffer.storage.view(torch.uint8).view(len(buffer.storage), -1)
        dead = torch.ones(len(buffer.storage), dtype=torch.bool)
        for places in live_places(case, name):
            dead[begin(problem, name) + places] = False
        assert bool((bits[dead] == 0xFF).all()), name
        assert bool(dead[: begin(problem, name)].all())
        assert bool(dead[-begin(problem, name) :].all())


@given(small)
@some
def test_no_live_value_is_poison(case: Case) -> None:
    problem = build_problem(case, "cpu")

    for name, buffer in problem.buffers.items():
        if name in ("k", "v", "q", "alibi_slopes", "sinks"):
            for places in live_places(case, name):
                assert bool(torch.isfinite(buffer.storage[begin(problem, name) + places].float()).all())


@given(small)
@some
def test_all_of_outs_buffer_is_marked_unwritten(case: Case) -> None:
    problem = build_problem(case, "cpu")

    assert bool(is_unwritten(problem.buffers["out"].storage).all())
    assert bool(is_unwritten(problem.out).all())
    assert bool(torch.isnan(problem.out).all())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_unwritten_marker_is_not_a_computed_nan(dtype: str) -> None:
    kind = getattr(torch, dtype)
    others = torch.tensor([float("nan"), float("inf"), 0.0, 1.0]).to(kind)
    zero = torch.zeros(1, dtype=kind)
    arithmetic = torch.cat([zero / zero, others[1:2] - others[1:2], others[1:2] * zero])

    assert not is_unwritten(others).any()
    assert not is_unwritten(arithmetic).any()
    assert not is_unwritten(torch.full((4,), -1, dtype=torch.int8).repeat(4).view(kind)).any()


def test_a_written_element_is_seen_and_can_be_marked_again() -> None:
    problem = build_problem(replace(ORDINARY, out=Layout(("head", "seq", "dim"), (5, 3, 0), 7)), "cpu")
    problem.out[1, 2, 3] = 0.0

    assert is_unwritten(problem.out).sum() == problem.out.numel() - 1
    poison_out(problem)
    assert bool(is_unwritten(problem.buffers["out"].storage).all())


@pytest.mark.parametrize(
    ("unused", "rows"),
    [
        ("zero", [[7, 8, 0, 0], [0, 0, 0, 0], [9, 0, 0, 0]]),
        ("minus one", [[7, 8, -1, -1], [-1, -1, -1, -1], [9, -1, -1, -1]]),
        ("huge", [[7, 8, 2**31 - 1, 2**31 - 1], [2**31 - 1] * 4, [9, *[2**31 - 1] * 3]]),
    ],
)
def test_unused_table_entries_hold_what_the_case_says(unused: str, rows: list[list[int]]) -> None:
    case = Case(seq_lens=(5, 0, 4), block_size=4, table=BlockTable(first_block=7, extra_columns=2, unused=unused))

    assert build_problem(case, "cpu").block_table.tolist() == rows


def test_stale_table_entries_are_valid_blocks_of_the_pool() -> None:
    case = Case(seq_lens=(5, 0, 4), block_size=4, table=BlockTable(first_block=7, extra_columns=2, unused="stale"))
    table = build_problem(case, "cpu").block_table

    assert set(table.flatten().tolist()) == {7, 8, 9}
    assert table[0, :2].tolist() == [7, 8]
    assert table[2, 0] == 9


@pytest.mark.parametrize(("beyond", "length", "block"), [("minus one", -1, -1), ("zero", 0, 0), ("valid", 5, 12)])
def test_integers_beyond_the_ends_hold_what_the_case_says(beyond: str, length: int, block: int) -> None:
    table = BlockTable(layout=Layout(TABLE_AXES, (2, 0)), first_block=7, spare_blocks=3)
    problem = build_problem(validate(Case(seq_lens=(5, 0, 4), block_size=4, table=table, beyond=beyond)), "cpu")

    lengths = problem.seq_lens.as_strided((5,), (1,), problem.seq_lens.storage_offset() - 1)
    assert lengths.tolist() == [length, 5, 0, 4, length]
    assert set(problem.buffers["seq_lens"].storage.tolist()) == {length, 5, 0, 4}
    assert problem.block_table.as_strided((3, 4), (4, 1)).tolist() == [
        [7, 8, block, block],
        [0, 0, block, block],
        [9, 0, block, block],
    ]


def test_sequences_that_share_blocks_name_the_same_blocks() -> None:
    case = Case(seq_lens=(9, 12), block_size=4, table=BlockTable(shared_blocks=2, placement="permuted", spare_blocks=9), seed=5)
    table = build_problem(case, "cpu").block_table

    assert torch.equal(table[0, :2], table[1, :2])
    assert table[0, 2] != table[1, 2]


@pytest.mark.parametrize("cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_float8_caches_are_poisoned_with_nan(cache_dtype: str, dtype: str) -> None:
    """Between live rows, in the foreign block, before the window and in both guards; q and out stay in their dtype."""
    case = replace(ORDINARY, dtype=dtype, cache_dtype=cache_dtype, k_scale=0.5, v_scale=2.0, window=3, seq_lens=(6,))
    problem = build_problem(validate(replace(case, k=Layout(CACHE_AXES, (8, 0, 0, 0)), table=BlockTable(first_block=1))), "cpu")

    for name, cache in (("k", problem.k_cache), ("v", problem.v_cache)):
        storage = problem.buffers[name].storage
        assert storage.dtype == getattr(torch, cache_dtype)
        assert len(storage) > 2 * GUARD
        assert bool(torch.isnan(storage[:GUARD].float()).all())
        assert bool(torch.isnan(storage[-GUARD:].float()).all())
        assert bool(torch.isnan(cache[0].float()).all())
        assert bool(torch.isnan(cache[1, :3].float()).all())
        assert bool(torch.isfinite(cache[1, 3:].float()).all())
        assert bool(torch.isfinite(cache[2, :2].float()).all())
        assert bool(torch.isnan(cache[2, 2:].float()).all())


def test_slopes_and_sinks_lie_in_guarded_buffers() -> None:
    problem = build_problem(replace(ORDINARY, alibi=True, sinks=True), "cpu")

    for name, tensor, drawn in (
        ("alibi_slopes", problem.alibi_slopes, problem.values.alibi_slopes),
        ("sinks", problem.sinks, problem.values.sinks),
    ):
        storage, guard = problem.buffers[name].storage, GUARD // 4
        assert tensor is not None
        assert storage.dtype == torch.float32
        assert torch.equal(storage[guard:-guard], drawn)
        assert tensor.data_ptr() == storage[guard:].data_ptr()
        assert bool((storage.view(torch.uint8)[:GUARD] == 0xFF).all())
        assert bool((storage.view(torch.uint8)[-GUARD:] == 0xFF).all())
    assert len({storage_of(buffer.storage) for buffer in problem.buffers.values()}) == len(problem.buffers) == 8


def test_options_that_are_not_used_have_no_tensor() -> None:
    problem = build_problem(ORDINARY, "cpu")

    assert not {"alibi_slopes", "sinks"} & problem.buffers.keys()
    assert {name for name, value in problem.options().items() if value is not None} == {"q_len"}


def test_nothing_to_read_is_built_too() -> None:
    problem = build_problem(Case(seq_lens=(0, 0), table=BlockTable(unused="stale")), "cpu")

    assert problem.block_table.tolist() == [[0], [0]]
    assert bool(torch.isnan(problem.k_cache).all())


@given(small)
@some
def test_the_same_values_laid_out_plainly_give_the_same_bits(case: Case) -> None:
    problem = build_problem(case, "cpu")
    plain = build_problem(in_plain_layout(case), "cpu", problem.values)

    q, k, v, table, lengths, scale = problem.arguments()
    dense = (q.contiguous(), k.contiguous(), v.contiguous())
    out, lse = gather_attention(*dense, table, lengths, scale, **problem.options())
    plain_out, plain_lse = gather_attention(*plain.arguments(), **plain.options())

    assert torch.equal(out, plain_out)
    assert torch.equal(lse, plain_lse)
    assert bool(torch.isfinite(out).all())


def test_the_plain_problem_is_contiguous() -> None:
    case = in_family("cross-layer head-major")
    plain = build_problem(in_plain_layout(case), "cpu", make_values(case))

    for tensor in (plain.k_cache, plain.v_cache, plain.q, plain.out, plain.block_table):
        assert tensor.is_contiguous()


def test_building_twice_gives_the_same_bytes() -> None:
    one, other = build_problem(in_family("packed"), "cpu"), build_problem(in_family("packed"), "cpu")

    for name, buffer in one.buffers.items():
        assert torch.equal(buffer.storage.view(torch.uint8), other.buffers[name].storage.view(torch.uint8))


def test_the_arguments_are_the_six_positional_ones() -> None:
    problem = build_problem(ORDINARY, "cpu")
    expected = (problem.q, problem.k_cache, problem.v_cache, problem.block_table, problem.seq_lens, problem.scale)

    assert all(got is want for got, want in zip(problem.arguments(), expected, strict=True))


def test_a_view_starts_after_guard_and_offset() -> None:
    buffer = Buffer(torch.arange(100), guard=10)
    layout = Layout(("seq", "column"), (2, 0), 5)

    assert buffer.view(layout, {"seq": 2, "column": 3}, TABLE_AXES).tolist() == [[15, 16, 17], [20, 21, 22]]
    assert buffer.view(layout, {"seq": 2, "column": 3}, ("column",), seq=1).tolist() == [20, 21, 22]


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


HUGE = Case(seq_lens=(3,), block_size=2, dtype="float16", k=Layout(CACHE_AXES, (2**30, 0, 0, 0)), seed=4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_huge_span_stays_sparse() -> None:
    before = resident()
    problem = build_problem(HUGE, "cpu")

    assert len(problem.buffers["k"].storage) > 2**31
    assert resident() - before < 50 * 2**20


@pytest.mark.parametrize(
    "case",
    [
        HUGE,
        replace(HUGE, k=Layout(FAMILIES["interleaved"], (2**30, 0, 0, 0, 0)), v=None),
        replace(HUGE, table=BlockTable(placement="reversed")),
        replace(HUGE, k=Layout(("slot", "block", "head", "dim"), (2**30, 7, 0, 0))),
        replace(HUGE, v=Layout(CACHE_AXES, (2**30, 0, 0, 0)), k=Layout(CACHE_AXES)),
    ],
    ids=["page stride", "interleaved", "reversed", "slot outside", "V"],
)
def test_a_huge_span_holds_the_live_rows(case: Case) -> None:
    problem = build_problem(validate(case), "cpu")
    plain = build_problem(in_plain_layout(case), "cpu", problem.values)

    assert torch.equal(gather_attention(*problem.arguments())[0], gather_attention(*plain.arguments())[0])


def test_a_huge_span_is_poisoned_around_its_live_rows_and_at_its_ends() -> None:
    problem = build_problem(HUGE, "cpu")
    storage = problem.buffers["k"].storage
    start = problem.k_cache.storage_offset()

    assert bool((storage.view(torch.uint8)[:GUARD] == 0xFF).all())
    assert bool((storage.view(torch.uint8)[-GUARD:] == 0xFF).all())
    assert bool(torch.isnan(storage[start + 32 : start + 1000]).all())
    assert bool(torch.isnan(problem.k_cache[1, 1]).all())
    assert bool(torch.isfinite(problem.k_cache[1, 0]).all())


def test_memory_that_a_target_allocates_comes_dirty() -> None:
    like = torch.zeros(2, 3)
    with poisoned_allocations():
        found = [
            torch.empty(7),
            torch.empty((2, 3), dtype=torch.float16),
            torch.empty(()),
            torch.empty_like(like),
            torch.empty_like(like, dtype=torch.bfloat16),
            torch.empty_strided((2, 2), (5, 1)),
            like.new_empty((4,)),
            like.new_empty_strided((2, 2), (1, 2)),
            torch.empty(5, dtype=torch.float8_e4m3fn),
        ]

    assert [bool(torch.isnan(tensor.float()).all()) for tensor in found] == [True] * 9


def test_dirty_integers_are_minus_one() -> None:
    with poisoned_allocations():
        assert torch.empty(3, dtype=torch.int32).tolist() == [-1, -1, -1]
        assert torch.zeros(1).new_empty(2, dtype=torch.int64).tolist() == [-1, -1]


def test_memory_that_is_given_values_keeps_them() -> None:
    kept = torch.ones(3)
    with poisoned_allocations():
        found = [torch.zeros(3), torch.full((3,), 0.0), torch.zeros_like(kept), kept.new_zeros(3), torch.tensor([0.0] * 3)]
        view, total = kept[1:], kept + kept

    assert [tensor.tolist() for tensor in found] == [[0.0] * 3] * 5
    assert (kept.tolist(), view.tolist(), total.tolist()) == ([1.0] * 3, [1.0] * 2, [2.0] * 3)


def test_an_empty_allocation_may_be_empty() -> None:
    with poisoned_allocations():
        assert torch.empty(0).numel() == 0
        assert torch.empty((3, 0), dtype=torch.float16).shape == (3, 0)


def test_allocations_are_clean_again_afterwards() -> None:
    with poisoned_allocations():
        pass

    kept = torch.full((5,), 3.0)
    assert torch.empty(5, out=kept).tolist() == [3.0] * 5
