"""Layouts give the strides that engines really use (real-bugs.md, part b), and every element a place of its own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import BUFFER_AXES, CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout, dense, family

XPU = {"layer": 1, "kv": 2, "block": 1233, "slot": 64, "head": 4, "dim": 256}
SMALL = {"layer": 3, "kv": 2, "block": 10, "slot": 16, "head": 4, "dim": 32}

ROW = 4 * 32  # of SMALL: one token of all heads
PLANE = 16 * ROW  # one block of K or V


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NHD", {"block": PLANE, "slot": ROW, "head": 32, "dim": 1}),
        ("HND", {"block": PLANE, "head": 16 * 32, "slot": 32, "dim": 1}),
        ("split", {"kv": 10 * PLANE, "block": PLANE, "slot": ROW, "head": 32, "dim": 1}),
        ("split HND", {"kv": 10 * PLANE, "block": PLANE, "head": 16 * 32, "slot": 32, "dim": 1}),
        ("interleaved", {"block": 2 * PLANE, "kv": PLANE, "slot": ROW, "head": 32, "dim": 1}),
        ("interleaved HND", {"block": 2 * PLANE, "kv": PLANE, "head": 16 * 32, "slot": 32, "dim": 1}),
        ("packed", {"block": 2 * PLANE, "slot": 2 * ROW, "head": 64, "kv": 32, "dim": 1}),
        ("packed HND", {"block": 2 * PLANE, "head": 16 * 64, "slot": 64, "kv": 32, "dim": 1}),
        ("cross-layer", {"block": 3 * 2 * PLANE, "layer": 2 * PLANE, "kv": PLANE, "slot": ROW, "head": 32, "dim": 1}),
        ("cross-layer HND", {"block": 3 * 2 * PLANE, "layer": 2 * PLANE, "head": 16 * 64, "slot": 64, "kv": 32, "dim": 1}),
        (
            "cross-layer head-major",
            {"block": 3 * 2 * PLANE, "head": 3 * 16 * 64, "layer": 16 * 64, "slot": 64, "kv": 32, "dim": 1},
        ),
        ("layer-major", {"layer": 2 * 10 * PLANE, "kv": 10 * PLANE, "block": PLANE, "slot": ROW, "head": 32, "dim": 1}),
    ],
)
def test_each_family_has_its_engines_strides(name: str, expected: dict[str, int]) -> None:
    assert Layout(FAMILIES[name]).strides(SMALL) == expected


def test_the_families_are_orders_of_the_buffer_axes() -> None:
    for order in FAMILIES.values():
        assert set(CACHE_AXES) <= set(order) <= set(BUFFER_AXES)
        assert len(set(order)) == len(order)


def test_the_xpu_cache_has_the_strides_of_its_bug_report() -> None:
    """vllm-xpu-kernels PR 258: k and v [1233, 64, 4, 256], strides (131072, 1024, 256, 1), V at storage offset 65536."""
    strides = Layout(FAMILIES["interleaved"]).strides(XPU)

    assert [strides[axis] for axis in CACHE_AXES] == [131072, 1024, 256, 1]
    assert strides["kv"] == 65536


def test_mla_rows_of_576_are_dense() -> None:
    sizes = {"block": 7, "slot": 64, "head": 1, "dim": 576}

    strides = dense(CACHE_AXES).strides(sizes)

    assert (strides["block"], strides["slot"], strides["dim"]) == (64 * 576, 576, 1)


def test_a_token_pool_has_one_row_per_block() -> None:
    """SGLang: [tokens, heads, dim] is a cache with blocks of one slot."""
    assert dense(CACHE_AXES).strides({"block": 99, "slot": 1, "head": 8, "dim": 128})["block"] == 8 * 128


def test_a_page_padded_to_a_mamba_state_is_no_multiple_of_a_row() -> None:
    """vLLM issue 49716: pages of 264192 bytes in float16 are 132096 elements."""
    page = Layout(FAMILIES["interleaved"], (1024, 0, 0, 0, 0))

    assert page.strides(XPU)["block"] == 264192 // 2
    assert page.extent(XPU) == 1233 * 132096


def test_padding_of_an_axis_moves_it_and_every_axis_outside() -> None:
    layout = Layout(CACHE_AXES, (1, 10, 100, 0))

    assert layout.strides({"block": 2, "slot": 3, "head": 4, "dim": 5}) == {
        "dim": 1,
        "head": 5 + 100,
        "slot": 4 * 105 + 10,
        "block": 3 * 430 + 1,
    }


def test_padding_of_the_innermost_axis_spreads_its_elements() -> None:
    assert Layout(QUERY_AXES, (0, 0, 2)).strides({"seq": 2, "head": 3, "dim": 4}) == {"dim": 3, "head": 12, "seq": 36}


def test_the_offset_moves_the_end_and_no_stride() -> None:
    sizes = {"seq": 2, "column": 5}

    assert Layout(TABLE_AXES, offset=37).strides(sizes) == dense(TABLE_AXES).strides(sizes)
    assert Layout(TABLE_AXES, offset=37).extent(sizes) == 37 + 10


def test_the_extent_ends_after_the_last_padded_step() -> None:
    assert Layout(TABLE_AXES, (3, 0)).extent({"seq": 4, "column": 5}) == 4 * (5 + 3)


def test_an_axis_of_size_one_takes_no_room() -> None:
    layout = Layout(CACHE_AXES, (0, 0, 1000, 0))
    sizes = {"block": 2, "slot": 4, "head": 1, "dim": 16}

    assert layout.strides(sizes) == {"dim": 1, "head": 1016, "slot": 16, "block": 64}
    assert layout.extent(sizes) == 128


@pytest.mark.parametrize(("pad", "stride"), [(-15, 1), (-16, 0), (0, 16), (13, 29)])
def test_an_axis_of_size_one_may_have_any_stride(pad: int, stride: int) -> None:
    """vLLM PR 40737: a single KV head with a stride that fits nothing."""
    sizes = {"block": 2, "slot": 4, "head": 1, "dim": 16}
    layout = Layout(CACHE_AXES, (0, 0, pad, 0))

    assert layout.strides(sizes) == {"dim": 1, "head": stride, "slot": 16, "block": 64}


def test_padding_defaults_to_none_on_every_axis() -> None:
    assert Layout(CACHE_AXES).pad == (0, 0, 0, 0)
    assert Layout(CACHE_AXES) == Layout(CACHE_AXES, (0, 0, 0, 0)) == dense(CACHE_AXES)


@pytest.mark.parametrize(
    ("layout", "padded"),
    [
        (dense(CACHE_AXES), False),
        (Layout(CACHE_AXES, offset=5), False),
        (Layout(TABLE_AXES, (0, 1)), True),
        (Layout(TABLE_AXES, (-1, 0)), True),
    ],
)
def test_padded_means_padding_on_some_axis(layout: Layout, padded: bool) -> None:
    assert layout.padded is padded


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (dense(CACHE_AXES), "NHD"),
        (Layout(FAMILIES["cross-layer head-major"]), "cross-layer head-major"),
        (Layout(FAMILIES["interleaved"], (8, 0, 1, 0, 0), 37), "interleaved, block+8, slot+1, offset 37"),
        (Layout(CACHE_AXES, (0, 0, -13, 0)), "NHD, head+-13"),
        (dense(QUERY_AXES), "dense"),
        (Layout(QUERY_AXES, (8, 0, 0)), "seq>head>dim, seq+8"),
        (Layout(("column", "seq"), (3, 0)), "column>seq, column+3"),
    ],
)
def test_a_layout_reads_as_its_family_then_padding_then_offset(layout: Layout, text: str) -> None:
    assert str(layout) == text


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_recognised(name: str) -> None:
    order = FAMILIES[name]
    v = None if "kv" in order else Layout(order, offset=8)

    assert family(Layout(order, offset=3), v) == name


@pytest.mark.parametrize(
    ("k", "v", "name"),
    [
        (dense(CACHE_AXES), None, "MLA prefix"),
        (Layout(FAMILIES["HND"]), None, "MLA prefix"),
        (dense(CACHE_AXES), Layout(FAMILIES["HND"]), "K and V differ"),
        (Layout(("slot", "block", "head", "dim")), Layout(("slot", "block", "head", "dim")), "permuted"),
        (Layout(("slot", "kv", "block", "head", "dim")), None, "permuted"),
    ],
)
def test_other_arrangements_have_names_too(k: Layout, v: Layout | None, name: str) -> None:
    assert family(k, v) == name


@given(st.data())
@settings(max_examples=100, deadline=None, database=None)
def test_every_element_has_a_place_of_its_own_within_the_extent(data: st.DataObject) -> None:
    order = tuple(data.draw(st.permutations(BUFFER_AXES)))
    sizes = {axis: data.draw(st.integers(1, 3)) for axis in order}
    layout = Layout(order, tuple(data.draw(st.integers(0, 4)) for _ in order), data.draw(st.integers(0, 9)))
    strides = layout.strides(sizes)

    places = [
        layout.offset + sum(strides[axis] * index for axis, index in zip(order, indices, strict=True))
        for indices in itertools.product(*(range(sizes[axis]) for axis in order))
    ]

    assert len(set(places)) == len(places)
    assert min(places) == layout.offset
    assert max(places) < layout.extent(sizes)


def test_a_placed_layout_is_a_pair_with_strides_and_extent() -> None:
    case = Case(seq_lens=(5,), block_size=4, k=Layout(FAMILIES["HND"], (8, 0, 0, 0), 3))
    layout, sizes = placed = case.layouts()["k"]
    assert (layout, sizes) == (case.k, case.cache_sizes(case.k_row))
    assert placed.strides == layout.strides(sizes) == {"block": 72, "head": 64, "slot": 16, "dim": 1}
    assert placed.extent == layout.extent(sizes) == 3 + 2 * 72
    assert case.span == max(other.extent for other in case.layouts().values())
