"""A case is frozen plain data: it travels through JSON, has one order, and says in words what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz_decode.cases.case import DEFAULTS, BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout, dense
from fuzz_decode.cases.serialization import canonical_json, case_digest, case_from_json, case_to_json
from fuzz_decode.cases.simplicity import SIZE_FIELDS, features_of, in_plain_layout, simplicity_key, without_feature
from fuzz_decode.cases.validity import validate
from fuzz_decode.errors import CaseError, UsageError
from fuzz_decode.generate.draw_case import decode_cases

some = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

HND = Layout(FAMILIES["HND"])
INTERLEAVED = Layout(FAMILIES["interleaved"])
LAYERED = Layout(FAMILIES["cross-layer"])
CACHE = list(CACHE_AXES)

RICH = Case(
    seq_lens=(5, 0, 33),
    num_kv_heads=2,
    group=3,
    head_dim=64,
    value_head_dim=32,
    block_size=16,
    dtype="bfloat16",
    k=Layout(FAMILIES["cross-layer"], (8, 0, 0, 1, 0, 0), 3),
    v=None,
    layers=3,
    layer=1,
    q=Layout(("head", "seq", "dim")),
    out=Layout(QUERY_AXES, (64, 0, 0)),
    table=BlockTable(Layout(TABLE_AXES, (2, 0)), "permuted", 4, 2, 1, 3, "stale"),
    window=17,
    softcap=30.0,
    scale=0.3,
    data="large",
    seed=7,
)


@given(decode_cases())
@some
def test_json_gives_the_same_case_back(case: Case) -> None:
    text = json.dumps(case_to_json(case), allow_nan=False)

    assert case_from_json(json.loads(text)) == case


@given(decode_cases())
@some
def test_repr_is_the_call_that_makes_the_case_and_says_no_more_than_it_must(case: Case) -> None:
    assert eval(repr(case)) == case
    assert (repr(case) == "Case()") == (case == Case())


@given(decode_cases())
@some
def test_the_digest_survives_json(case: Case) -> None:
    assert case_digest(case_from_json(json.loads(json.dumps(case_to_json(case))))) == case_digest(case)


def test_the_digest_is_the_same_on_every_machine() -> None:
    """File names in corpora depend on it: a change here renames every corpus file."""
    assert case_digest(Case()) == "f8c2a4076bb5"
    assert case_digest(RICH) == "f4b1f800da13"


def test_missing_fields_take_their_defaults() -> None:
    assert case_from_json({}) == Case()
    assert case_from_json({"table": {"spare_blocks": 2}}) == Case(table=BlockTable(spare_blocks=2))
    assert case_from_json({"k": {"order": list(HND.order)}}) == Case(k=HND)


def test_a_whole_number_reads_as_a_float_where_a_float_is_meant() -> None:
    assert case_from_json({"scale": 1, "softcap": 30}) == Case(scale=1.0, softcap=30.0)
    assert canonical_json(case_from_json({"scale": 1})) == canonical_json(Case(scale=1.0))


def test_a_case_cannot_be_changed() -> None:
    case = Case()

    with pytest.raises(dataclasses.FrozenInstanceError):
        case.seed = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.table.first_block = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.k.offset = 1  # type: ignore[misc]


def test_cases_are_set_members() -> None:
    assert len({Case(), Case(), RICH, dataclasses.replace(RICH, seed=8)}) == 3


def bad(name: str, value: object) -> dict[str, object]:
    """A case's JSON with one field, possibly dotted, set."""
    group, _, field = name.rpartition(".")
    if not group:
        return {field: value}
    return {group: {field: value} if group == "table" else {"order": CACHE if group in "kv" else list(QUERY_AXES), field: value}}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (bad("num_kv_heads", 0), "num_kv_heads: 0 "),
        (bad("num_kv_heads", 10**15), "num_kv_heads: "),
        (bad("group", -1), "group: -1 "),
        (bad("group", 10**15), "group: "),
        (bad("head_dim", 0), "head_dim: 0 "),
        (bad("head_dim", 10**15), "head_dim: "),
        (bad("value_head_dim", 10**15), "value_head_dim: "),
        (bad("block_size", 0), "block_size: 0 "),
        (bad("block_size", 10**15), "block_size: "),
        (bad("layers", 0), "layers: 0 "),
        (bad("layers", 10**15), "layers: "),
        (bad("layers", 2), "layers: 2, but no layout has a layer axis"),
        (bad("layer", 1), "layer: 1 "),
        (bad("layer", -1), "layer: -1 "),
        (bad("seed", -1), "seed: -1 "),
        (bad("seq_lens", []), "seq_lens: 0 sequences"),
        (bad("seq_lens", [0] * (2**17 + 1)), "seq_lens: 131073 sequences"),
        (bad("seq_lens", [-1]), "seq_lens: -1 "),
        (bad("seq_lens", [10**15]), "seq_lens: 1000000000000000 "),
        ({"seq_lens": [2**20], "head_dim": 256}, "seq_lens: uses"),
        ({"seq_lens": [1], "block_size": 2**16, "num_kv_heads": 2**10}, "seq_lens: uses"),
        (bad("dtype", "float8"), "dtype: 'float8' "),
        (bad("q_len", 0), "q_len: 0 "),
        (bad("q_len", 2**10 + 1), "q_len: 1025 "),
        ({"seq_lens": [3, 0, 1], "q_len": 2}, "seq_lens: 1 is less than q_len = 2"),
        (bad("cache_dtype", "float8"), "cache_dtype: 'float8' "),
        (bad("cache_dtype", ""), "cache_dtype: '' "),
        (bad("k_scale", 1.0), "k_scale: 1.0, but a cache_dtype has both scales"),
        ({"cache_dtype": "float8_e5m2", "k_scale": 1.0}, "v_scale: None, but a cache_dtype has both scales"),
        ({"cache_dtype": "float8_e5m2", "k_scale": 0.0, "v_scale": 1.0}, "k_scale: 0.0 "),
        ({"data": "tagged", "alibi": True}, "data: tagged needs V apart from K, no softcap, no alibi, "),
        (bad("data", "zeros"), "data: 'zeros' "),
        (bad("scale", float("nan")), "scale: nan "),
        (bad("scale", float("inf")), "scale: inf "),
        (bad("scale", 0.0), "scale: 0.0 "),
        (bad("scale", -1.0), "scale: -1.0 "),
        (bad("softcap", float("nan")), "softcap: nan "),
        (bad("softcap", 0), "softcap: 0.0 "),
        (bad("window", 0), "window: 0 "),
        (bad("window", -1), "window: -1 "),
        (bad("window", 10**15), "window: "),
        (bad("table.first_block", -1), "table.first_block: -1 "),
        (bad("table.first_block", 10**15), "table.first_block: "),
        (bad("table.first_block", 2**31 - 1), "table.first_block: block ids up to 2147483647 do not fit"),
        (bad("table.first_block", 2**30), "k: spans"),
        (bad("table.spare_blocks", 10**15), "table.spare_blocks: "),
        (bad("table.shared_blocks", -1), "table.shared_blocks: -1 "),
        (bad("table.extra_columns", 10**15), "table.extra_columns: "),
        (bad("table.extra_columns", 2**30), "table.extra_columns: the block table has"),
        (bad("table.placement", "random"), "table.placement: 'random' "),
        (bad("table.unused", "nan"), "table.unused: 'nan' "),
        (bad("k.order", ["block", "slot", "head"]), "k.order: "),
        (bad("k.order", [*CACHE, "dim"]), "k.order: "),
        (bad("k.order", [*CACHE, "page"]), "k.order: "),
        (bad("k.order", []), "k.order: "),
        (bad("v.order", ["kv", *CACHE]), "v.order: "),
        (bad("q.order", CACHE), "q.order: "),
        (bad("out.order", ["seq", "seq", "dim"]), "out.order: "),
        ({"table": {"layout": {"order": ["seq"]}}}, "table.layout.order: "),
        (bad("k.pad", [1]), "k.pad: 1 numbers for 4 axes"),
        (bad("k.pad", [0, 0, 0, 0, 0]), "k.pad: 5 numbers for 4 axes"),
        (bad("k.pad", [0, 0, 0, -1]), "k.pad: -1 on axis dim"),
        (bad("k.pad", [0, 0, -17, 0]), "k.pad: -17 on axis head"),
        (bad("k.pad", [10**15, 0, 0, 0]), "k: spans"),
        (bad("v.pad", [0, 10**15, 0, 0]), "v: spans"),
        (bad("out.pad", [0, 0, 10**15]), "out: spans"),
        (bad("q.offset", -1), "q.offset: -1 "),
        (bad("q.offset", 10**15), "q: spans"),
        ({"k": {"order": list(INTERLEAVED.order)}}, "v: must be null"),
        ({"v": None, "value_head_dim": 32}, "value_head_dim: 32 cannot be a prefix"),
        ({"data": "tagged", "softcap": 1.0}, "data: tagged needs"),
        ({"data": "tagged", "v": None}, "data: tagged needs"),
        ({"data": "tagged", "head_dim": 8}, "data: tagged needs"),
        ({"data": "tagged", "value_head_dim": 8}, "data: tagged needs"),
        ({"data": "tagged", "table": {"first_block": 2**24}}, "data: tagged needs"),
        ({"data": "tagged", "block_size": 4097}, "data: tagged needs"),
        ({"data": "tagged", "num_kv_heads": 4097}, "data: tagged needs"),
    ],
)
def test_a_wrong_value_is_named(data: dict[str, Any], named: str) -> None:
    with pytest.raises(CaseError) as caught:
        case_from_json(data)

    assert str(caught.value).startswith(f"case field {named}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "case: expected an object, found list"),
        (None, "case: expected an object, found NoneType"),
        ({"heads": 2}, "case: unknown field 'heads'; known are seq_lens, "),
        ({"table": {"colour": 2}}, "case.table: unknown field 'colour'; known are layout, "),
        ({"k": {"order": CACHE, "strides": [1]}}, "case.k: unknown field 'strides'; known are order, pad, offset"),
        ({"group": [2]}, "case.group: expected int, found [2]"),
        ({"group": True}, "case.group: expected int, found true"),
        ({"group": 2.0}, "case.group: expected int, found 2.0"),
        ({"group": "2"}, 'case.group: expected int, found "2"'),
        ({"group": None}, "case.group: expected int, found null"),
        ({"group": {}}, "case.group: expected int, found {}"),
        ({"dtype": 16}, "case.dtype: expected str, found 16"),
        ({"dtype": None}, "case.dtype: expected str, found null"),
        ({"window": 1.5}, "case.window: expected int | None, found 1.5"),
        ({"window": False}, "case.window: expected int | None, found false"),
        ({"scale": "1"}, 'case.scale: expected float | None, found "1"'),
        ({"scale": True}, "case.scale: expected float | None, found true"),
        ({"softcap": [1.0]}, "case.softcap: expected float | None, found [1.0]"),
        ({"seq_lens": 3}, "case.seq_lens: expected a list, found int"),
        ({"seq_lens": "12"}, "case.seq_lens: expected a list, found str"),
        ({"seq_lens": [1, 2.5]}, "case.seq_lens: expected int, found 2.5"),
        ({"seq_lens": [True]}, "case.seq_lens: expected int, found true"),
        ({"seq_lens": [[1]]}, "case.seq_lens: expected int, found [1]"),
        ({"k": None}, "case.k: expected an object, found NoneType"),
        ({"k": CACHE}, "case.k: expected an object, found list"),
        ({"v": "NHD"}, "case.v: expected an object, found str"),
        ({"k": {}}, "case.k.order: is missing"),
        ({"k": {"order": "block"}}, "case.k.order: expected a list, found str"),
        ({"k": {"order": [1, 2, 3, 4]}}, "case.k.order: expected str, found 1"),
        ({"k": {"order": CACHE, "pad": None}}, "case.k.pad: expected a list, found NoneType"),
        ({"k": {"order": CACHE, "pad": [0.5, 0, 0, 0]}}, "case.k.pad: expected int, found 0.5"),
        ({"q": {"order": CACHE, "offset": "8"}}, 'case.q.offset: expected int, found "8"'),
        ({"table": []}, "case.table: expected an object, found list"),
        ({"table": {"layout": 3}}, "case.table.layout: expected an object, found int"),
        ({"table": {"unused": -1}}, "case.table.unused: expected str, found -1"),
    ],
)
def test_a_wrong_kind_is_named(data: Any, text: str) -> None:
    with pytest.raises(CaseError) as caught:
        case_from_json(data)

    assert str(caught.value).startswith(text)


def test_a_case_error_is_a_usage_error() -> None:
    """The command line turns usage errors into one line and exit code 2."""
    assert issubclass(CaseError, UsageError)


def test_validate_gives_a_good_case_back() -> None:
    case = Case(k=INTERLEAVED, v=None)

    assert validate(case) is case
    assert validate(RICH) is RICH


@pytest.mark.parametrize(
    ("simpler", "case"),
    [
        (Case(seq_lens=(100,)), Case(seq_lens=(1, 1))),
        (Case(seq_lens=(2,), num_kv_heads=8), Case(seq_lens=(3,))),
        (Case(group=16), Case(num_kv_heads=2)),
        (Case(window=1), Case(group=2)),
        (Case(head_dim=576, value_head_dim=512), Case(window=1)),
        (Case(block_size=256), Case(head_dim=32)),
        (Case(k=HND), Case(k=HND, softcap=1.0)),
        (Case(k=HND), Case(k=Layout(HND.order, (1, 0, 0, 0)))),
        (Case(k=Layout(HND.order, offset=1)), Case(k=Layout(HND.order, offset=2))),
        (Case(table=BlockTable(first_block=1)), Case(table=BlockTable(first_block=2))),
        (Case(k=Layout(CACHE_AXES, (0, 0, -1, 0))), Case(k=Layout(CACHE_AXES, (0, 0, -2, 0)))),
    ],
)
def test_the_simpler_case_sorts_first(simpler: Case, case: Case) -> None:
    assert simplicity_key(simpler) < simplicity_key(case)


@given(decode_cases())
@some
def test_nothing_drawn_is_simpler_than_the_default_but_an_empty_one(case: Case) -> None:
    assert simplicity_key(case) >= simplicity_key(Case()) or case.seq_lens == (0,)


@given(decode_cases(), decode_cases())
@some
def test_only_equal_cases_have_equal_sort_keys(one: Case, other: Case) -> None:
    assert (simplicity_key(one) == simplicity_key(other)) == (one == other)


def test_the_default_has_no_features() -> None:
    assert features_of(Case()) == {}


def test_sizes_are_no_features() -> None:
    assert features_of(Case(seq_lens=(3, 4), num_kv_heads=2, group=2, head_dim=64, value_head_dim=32, block_size=8)) == {}


def test_features_say_in_words_what_is_not_plain() -> None:
    assert features_of(RICH) == {
        "dtype": "bfloat16",
        "k": "cross-layer, block+8, slot+1, offset 3",
        "layers": "3",
        "layer": "1",
        "q": "head>seq>dim",
        "out": "seq>head>dim, seq+64",
        "window": "17",
        "softcap": "30.0",
        "scale": "0.3",
        "data": "large",
        "seed": "7",
        "table.layout": "seq>column, seq+2",
        "table.placement": "permuted",
        "table.first_block": "4",
        "table.spare_blocks": "2",
        "table.shared_blocks": "1",
        "table.extra_columns": "3",
        "table.unused": "stale",
    }


def test_v_inside_k_is_a_feature_only_where_k_does_not_say_so() -> None:
    assert list(features_of(Case(k=INTERLEAVED, v=None))) == ["k"]
    assert list(features_of(Case(v=None))) == ["v"]


@given(decode_cases())
@some
def test_without_a_feature_the_others_stay(case: Case) -> None:
    for feature in features_of(case):
        fewer = without_feature(case, feature)

        assert feature not in features_of(fewer)
        follow = {"k": {"layers", "layer"}, "cache_dtype": {"k_scale", "v_scale"}}.get(feature, set())
        assert features_of(case).keys() - features_of(fewer).keys() <= {feature, *follow}
        assert {name: getattr(fewer, name) for name in SIZE_FIELDS} == {name: getattr(case, name) for name in SIZE_FIELDS}


def test_without_every_feature_only_sizes_are_left() -> None:
    case = RICH
    for feature in features_of(RICH):
        case = without_feature(case, feature)

    assert case == Case(**{name: getattr(RICH, name) for name in SIZE_FIELDS})


def test_v_leaves_k_when_ks_layout_goes() -> None:
    assert without_feature(Case(k=INTERLEAVED, v=None), "k") == Case()
    assert without_feature(Case(k=LAYERED, v=None, layers=3, layer=2), "k") == Case()


OPTIONED = Case(
    seq_lens=(5,),
    q_len=3,
    cache_dtype="float8_e5m2",
    k_scale=0.3,
    v_scale=2.0,
    alibi=True,
    sinks=True,
)


def test_options_are_features() -> None:
    assert features_of(validate(OPTIONED)) == {
        "q_len": "3",
        "cache_dtype": "float8_e5m2",
        "k_scale": "0.3",
        "v_scale": "2.0",
        "alibi": "True",
        "sinks": "True",
    }
    assert OPTIONED.options() == {"q_len", "k_scale", "v_scale", "alibi_slopes", "sinks"}


def test_a_scale_of_one_is_no_feature() -> None:
    """A float8 cache has scales: the case without one has it at 1."""
    fewer = validate(without_feature(OPTIONED, "k_scale"))

    assert fewer.k_scale == 1.0
    assert features_of(OPTIONED).keys() - features_of(fewer).keys() == {"k_scale"}
    assert OPTIONED.options() == fewer.options()


@pytest.mark.parametrize("feature", features_of(OPTIONED))
def test_without_an_option_the_case_is_valid(feature: str) -> None:
    assert features_of(validate(without_feature(OPTIONED, feature))).keys() < features_of(OPTIONED).keys()
    assert without_feature(OPTIONED, "cache_dtype") == dataclasses.replace(OPTIONED, cache_dtype=None, k_scale=None, v_scale=None)


def test_fields_that_are_not_used_are_left_out_of_files() -> None:
    """Those that older versions do not know: they read the files, and digests stay."""
    later = {"q_len", "cache_dtype", "k_scale", "v_scale", "alibi", "sinks"}

    assert not later & case_to_json(Case()).keys()
    assert later <= case_to_json(OPTIONED).keys()
    assert case_from_json(json.loads(canonical_json(OPTIONED))) == OPTIONED


def test_defaults_name_every_feature_there_can_be() -> None:
    assert features_of(RICH).keys() <= DEFAULTS.keys()


@given(decode_cases())
@some
def test_the_plain_case_is_contiguous_and_in_order(case: Case) -> None:
    plain = validate(in_plain_layout(case))

    assert (plain.k, plain.v, plain.q, plain.out) == (dense(CACHE_AXES), dense(CACHE_AXES), dense(QUERY_AXES), dense(QUERY_AXES))
    assert plain.blocks() == list(range(plain.num_pages))
    assert plain.table.layout == dense(TABLE_AXES)
    kept = (*sorted(SIZE_FIELDS), "dtype", "window", "softcap", "scale", "data", "seed", "table_width", "num_pages")
    assert [getattr(plain, name) for name in kept] == [getattr(case, name) for name in kept]
    assert plain.pages() == case.pages()


def test_pages_are_numbered_sequence_by_sequence() -> None:
    assert Case(seq_lens=(5, 0, 4, 1), block_size=4).pages() == [[0, 1], [], [2], [3]]


@pytest.mark.parametrize(
    ("lengths", "shared", "pages"),
    [
        ((8, 8), 1, [[0, 1], [0, 2]]),
        ((8, 8), 2, [[0, 1], [0, 1]]),
        ((8, 8), 9, [[0, 1], [0, 1]]),
        ((8, 3, 16), 1, [[0, 1], [0], [0, 2, 3, 4]]),
        ((3, 16), 2, [[0], [0, 1, 2, 3]]),
        ((0, 8), 2, [[], [0, 1]]),
        ((8, 0), 2, [[0, 1], []]),
        ((8,), 2, [[0, 1]]),
    ],
)
def test_shared_blocks_are_those_of_the_first_sequence(lengths: tuple[int, ...], shared: int, pages: list[list[int]]) -> None:
    case = Case(seq_lens=lengths, block_size=4, table=BlockTable(shared_blocks=shared))

    assert case.pages() == pages
    assert case.num_pages == len({page for row in pages for page in row})


@given(decode_cases())
@some
def test_pages_number_every_block_that_is_used(case: Case) -> None:
    pages = case.pages()

    assert sorted({page for row in pages for page in row}) == list(range(case.num_pages))
    assert [len(row) for row in pages] == [-(-length // case.block_size) for length in case.seq_lens]


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [("identity", [10, 11, 12, 13]), ("reversed", [13, 12, 11, 10])],
)
def test_pages_lie_in_placement_order_from_the_first_block(placement: str, blocks: list[int]) -> None:
    case = Case(seq_lens=(4,), table=BlockTable(placement=placement, first_block=10, spare_blocks=3))

    assert case.blocks() == blocks
    assert case.num_blocks == 17


def test_permuted_pages_lie_anywhere_but_before_the_first_block() -> None:
    table = BlockTable(placement="permuted", first_block=10, spare_blocks=3)
    found = [Case(seq_lens=(4,), seed=seed, table=table).blocks() for seed in range(200)]

    assert all(len(set(blocks)) == 4 for blocks in found)
    assert {block for blocks in found for block in blocks} == set(range(10, 17))
    assert found[7] == Case(seq_lens=(4,), seed=7, table=table).blocks()


@given(decode_cases())
@some
def test_blocks_are_distinct_and_within_the_pool(case: Case) -> None:
    blocks = case.blocks()

    assert len(set(blocks)) == len(blocks) == case.num_pages
    assert all(case.table.first_block <= block < case.num_blocks for block in blocks)


@pytest.mark.parametrize(
    ("lengths", "extra", "width"), [((0,), 0, 1), ((0,), 2, 3), ((1,), 0, 1), ((4,), 0, 1), ((5,), 0, 2), ((5, 17), 3, 8)]
)
def test_the_table_is_as_wide_as_the_longest_sequence_and_its_extra_columns(
    lengths: tuple[int, ...], extra: int, width: int
) -> None:
    assert Case(seq_lens=lengths, block_size=4, table=BlockTable(extra_columns=extra)).table_width == width


def test_an_empty_case_still_has_a_block() -> None:
    assert Case(seq_lens=(0,)).num_blocks == 1
    assert Case(seq_lens=(0,)).blocks() == []


def test_the_default_scale_is_one_over_the_root_of_the_head_dim() -> None:
    assert Case(head_dim=64).softmax_scale == 0.125
    assert Case(head_dim=64, scale=0.3).softmax_scale == 0.3


@pytest.mark.parametrize(
    ("case", "row"),
    [
        (Case(head_dim=64, value_head_dim=32), 64),
        (Case(head_dim=32, value_head_dim=64), 32),
        (Case(head_dim=32, value_head_dim=64, k=INTERLEAVED, v=None), 64),
        (Case(head_dim=64, value_head_dim=32, k=INTERLEAVED, v=None), 64),
    ],
)
def test_rows_of_a_buffer_that_k_and_v_share_fit_both(case: Case, row: int) -> None:
    assert case.k_row == row
