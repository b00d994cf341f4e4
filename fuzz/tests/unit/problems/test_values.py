"""Values are a function of the case, and tagged values spell the address they were read from."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import CACHE_DTYPES, DATA_MODES, DTYPES
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.validity import tags_fit
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.values import Values, live_tokens, make_values, read_tag, tag_base, without_overflow
from fuzz_decode_reference import gather_attention

some = settings(max_examples=20, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

TAGGED = Case(seq_lens=(5, 33), num_kv_heads=3, group=2, head_dim=40, value_head_dim=40, block_size=4, data="tagged", seed=3)
PINNED = {
    "gaussian": "11ed41a2b81edaf9",
    "uniform": "17c048397d592867",
    "large": "dbe715ed4c1db873",
    "tagged": "f55e32b0b94b0685",
}
LARGE = Case(seq_lens=(20, 20, 20), num_kv_heads=2, group=4, head_dim=16, value_head_dim=16, block_size=4, data="large")


def tensors(values: Values) -> list[Tensor]:
    chosen = [] if values.chosen is None else [values.chosen]
    return [values.q, values.k, values.v, *chosen, values.tokens.page, values.tokens.slot, *values.tokens.of_seq]


def same(one: Values, other: Values) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def attention(case: Case) -> Tensor:
    problem = build_problem(case, "cpu")
    return gather_attention(*problem.arguments(), **problem.options())[0]


def scores(case: Case) -> Tensor:
    """Scores of every query row against every token of its own sequence, flat, from the values themselves."""
    values = make_values(case)
    heads = torch.arange(case.num_q_heads) // case.group
    found = [
        torch.einsum("hd,thd->ht", values.q[seq].double(), values.k[tokens][:, heads].double()).flatten()
        for seq, tokens in enumerate(values.tokens.of_seq)
    ]
    return torch.cat(found) * case.softmax_scale


@given(decode_cases(huge_spans=False))
@some
def test_the_same_case_has_the_same_values(case: Case) -> None:
    assert same(make_values(case), make_values(case))


def test_the_global_random_state_neither_matters_nor_moves() -> None:
    torch.manual_seed(1)
    first = make_values(TAGGED)
    state = torch.get_rng_state()
    second = make_values(TAGGED)

    assert same(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("mode", ["gaussian", "uniform", "large"])
def test_another_seed_gives_other_values(mode: str) -> None:
    case = replace(LARGE, data=mode)

    assert not torch.equal(make_values(case).k, make_values(replace(case, seed=1)).k)


@pytest.mark.parametrize("mode", DATA_MODES)
def test_values_do_not_depend_on_where_they_lie(mode: str) -> None:
    """But for the tags of V, which are addresses."""
    case = replace(TAGGED, data=mode)
    elsewhere = replace(
        case, k=Layout(FAMILIES["cross-layer"], (5, 0, 0, 0, 0, 0), 3), v=None, layers=2, layer=1, table=BlockTable(first_block=9)
    )
    here, there = make_values(case), make_values(elsewhere)

    assert torch.equal(here.q, there.q)
    assert torch.equal(here.k, there.k)
    assert torch.equal(here.v, there.v) is (mode != "tagged")


def first_visible(case: Case, length: int) -> int:
    """The oldest token that the first query token of a sequence sees."""
    return 0 if case.window is None else max(0, length - (case.q_len - 1) - case.window)


@given(decode_cases(huge_spans=False))
@some
def test_values_have_one_row_for_each_visible_slot(case: Case) -> None:
    values = make_values(case)
    live = {
        (page, place % case.block_size)
        for row, length in zip(case.pages(), case.seq_lens, strict=True)
        for place in range(first_visible(case, length), length)
        for page in [row[place // case.block_size]]
    }

    assert {(int(p), int(s)) for p, s in zip(values.tokens.page, values.tokens.slot, strict=True)} == live
    assert values.k.shape == (len(live), case.num_kv_heads, case.head_dim)
    assert values.v.shape == (len(live), case.num_kv_heads, case.value_head_dim)
    assert values.q.shape == (case.num_seqs * case.q_len, case.num_q_heads, case.head_dim)
    seen = [length - first_visible(case, length) for length in case.seq_lens]
    assert [len(tokens) for tokens in values.tokens.of_seq] == seen


@given(decode_cases(huge_spans=False))
@some
def test_tokens_of_a_sequence_are_in_order(case: Case) -> None:
    tokens = live_tokens(case)

    for row, length, indices in zip(case.pages(), case.seq_lens, tokens.of_seq, strict=True):
        visible = range(first_visible(case, length), length)
        assert tokens.page[indices].tolist() == [row[place // case.block_size] for place in visible]
        assert tokens.slot[indices].tolist() == [place % case.block_size for place in visible]


def test_a_shared_prefix_is_the_same_tokens() -> None:
    tokens = live_tokens(Case(seq_lens=(10, 9, 3), block_size=4, table=BlockTable(shared_blocks=2)))
    first, second, third = tokens.of_seq

    assert torch.equal(first[:8], second[:8])
    assert not set(first[8:].tolist()) & set(second[8:].tolist())
    assert torch.equal(third, first[:3])
    assert len(tokens.page) == 10 + 1


def test_a_partly_filled_shared_block_is_live_as_far_as_its_longest_sequence() -> None:
    """Sequence 1 owns slots of the shared block that sequence 0 does not reach."""
    tokens = live_tokens(Case(seq_lens=(2, 4), block_size=4, table=BlockTable(shared_blocks=1)))

    assert tokens.page.tolist() == [0, 0, 0, 0]
    assert tokens.slot.tolist() == [0, 1, 2, 3]


def test_no_tokens_are_no_rows() -> None:
    for mode in DATA_MODES:
        values = make_values(Case(seq_lens=(0, 0), data=mode))

        assert values.k.shape == (0, 1, 16)
        assert torch.isfinite(values.q).all()


@pytest.mark.parametrize("mode", ["gaussian", "uniform", "large"])
def test_v_is_a_prefix_of_k_in_mla(mode: str) -> None:
    values = make_values(Case(seq_lens=(5,), head_dim=576, value_head_dim=512, v=None, data=mode))

    assert torch.equal(values.v, values.k[..., :512])


def test_uniform_data_weighs_every_visible_token_alike() -> None:
    case = replace(TAGGED, data="uniform", seq_lens=(9,), window=4)
    values = make_values(case)

    assert not values.q.any()
    expected = values.v[values.tokens.of_seq[0][-4:]].double().mean(dim=0).repeat_interleave(case.group, dim=0)
    assert torch.allclose(attention(case)[0], expected, rtol=1e-12, atol=0)


def test_gaussian_data_is_of_ordinary_size() -> None:
    values = make_values(Case(seq_lens=(200,), head_dim=64, value_head_dim=64))

    for tensor in (values.k, values.v):
        assert abs(tensor.mean()) < 0.05
        assert 0.95 < tensor.std() < 1.05


@pytest.mark.parametrize("head_dim", [16, 72, 576])
def test_every_large_score_overflows_exp(head_dim: int) -> None:
    found = torch.cat([scores(replace(LARGE, head_dim=head_dim, seed=seed)) for seed in range(6)])

    assert found.abs().min() > 88


@pytest.mark.parametrize("head_dim", [16, 72, 576])
def test_large_scores_pass_finite_mask_sentinels(head_dim: int) -> None:
    """Below -5e4 a kernel that masks with a finite sentinel prefers the masked token (real-bugs.md, lesson 4)."""
    lowest = [scores(replace(LARGE, head_dim=head_dim, seed=seed)).min() for seed in range(6)]

    assert sum(bool(score < -5e4) for score in lowest) >= 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_operands_are_exact_in_every_dtype(dtype: torch.dtype) -> None:
    values = make_values(LARGE)

    assert torch.equal(values.q.to(dtype).float(), values.q)
    assert torch.equal(values.k.to(dtype).float(), values.k)


def test_large_dot_products_are_exact_in_float32() -> None:
    values = make_values(replace(LARGE, head_dim=576, num_kv_heads=1))
    single = torch.einsum("shd,td->sht", values.q, values.k[:, 0])

    assert torch.equal(single.double(), torch.einsum("shd,td->sht", values.q.double(), values.k[:, 0].double()))


def wanted(case: Case, values: Values, token: int, head: int) -> dict[str, int]:
    block = case.blocks()[int(values.tokens.page[token])]
    return {"block": block, "slot": int(values.tokens.slot[token]), "head": head}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first_block", [0, 63, 70_000, 2**24 - 200])
def test_tags_round_trip_through_each_dtype(dtype: str, first_block: int) -> None:
    case = replace(TAGGED, dtype=dtype, block_size=100, seq_lens=(150,), table=BlockTable(first_block=first_block))
    values = make_values(case)
    stored = values.v.to(getattr(torch, dtype))

    assert torch.equal(stored.float(), values.v)
    for token in range(0, len(stored), 7):
        for head in range(case.num_kv_heads):
            assert read_tag(stored[token, head]) == wanted(case, values, token, head)


@pytest.mark.parametrize("value_head_dim", [16, 40, 64, 72, 80, 96, 128, 256, 512])
def test_tags_spell_the_last_slot_and_head(value_head_dim: int) -> None:
    case = Case(seq_lens=(4096,), block_size=4096, num_kv_heads=8, value_head_dim=value_head_dim, data="tagged")

    assert read_tag(make_values(case).v[4095, 7]) == {"block": 0, "slot": 4095, "head": 7}


def test_the_tags_of_different_places_differ() -> None:
    tags = make_values(TAGGED).v.flatten(0, 1)

    assert len({tuple(tag.tolist()) for tag in tags}) == len(tags)


@given(decode_cases(options=("window",), huge_spans=True, max_seq_len=400))
@some
def test_tagged_attention_spells_the_chosen_token(case: Case) -> None:
    assume(tags_fit(case))
    case = replace(case, data="tagged")
    problem = build_problem(case, "cpu")
    out = gather_attention(*problem.arguments(), window=case.window)[0].to(problem.out.dtype)

    chosen = problem.values.chosen
    assert chosen is not None
    for seq, length in enumerate(case.seq_lens):
        for head in range(case.num_q_heads):
            token = int(chosen[seq, head])
            if length == 0:
                assert token == -1
                continue
            assert read_tag(out[seq, head]) == wanted(case, problem.values, token, head // case.group)


@given(decode_cases(options=("window",), huge_spans=False, max_seq_len=400))
@some
def test_chosen_tokens_are_visible(case: Case) -> None:
    assume(tags_fit(case))
    values = make_values(replace(case, data="tagged"))

    assert values.chosen is not None
    for tokens, chosen in zip(values.tokens.of_seq, values.chosen, strict=True):
        visible = tokens if case.window is None else tokens[-case.window :]
        assert set(chosen.tolist()) <= (set(visible.tolist()) or {-1})


def test_chosen_tokens_sit_where_bugs_live() -> None:
    """First and last token, both sides of a block's edge, and the window's edge."""
    case = Case(seq_lens=(20,), block_size=8, group=16, data="tagged", window=15)
    chosen = {int(token) for seed in range(20) for token in _chosen(replace(case, seed=seed))}

    assert {0, 8 - 5, 16 - 5, 19 - 5} <= chosen


def _chosen(case: Case) -> Tensor:
    chosen = make_values(case).chosen
    assert chosen is not None
    return chosen.flatten()


def test_the_winner_takes_all_in_float32() -> None:
    """Every other token weighs nothing beside 1, so any order of summation gives the tag to the last bit."""
    case = replace(TAGGED, seq_lens=(300, 40), scale=0.3)
    values = make_values(case)
    heads = torch.arange(case.num_q_heads) // case.group

    assert values.chosen is not None
    for seq, tokens in enumerate(values.tokens.of_seq):
        logits = torch.einsum("hd,thd->ht", values.q[seq], values.k[tokens][:, heads]) * case.softmax_scale
        best = logits.topk(2, dim=-1)
        assert torch.equal(tokens[best.indices[:, 0]], values.chosen[seq])
        assert (best.values[:, 0] - best.values[:, 1] >= 40).all()


def test_only_tagged_values_choose_tokens() -> None:
    assert [make_values(replace(TAGGED, data=mode)).chosen is None for mode in DATA_MODES] == [True, True, True, False]


@pytest.mark.parametrize("dim", [16, 40, 72, 80, 96])
@pytest.mark.parametrize("shift", [1, 3, 8, -1])
def test_a_shifted_row_does_not_decode(dim: int, shift: int) -> None:
    row = make_values(replace(TAGGED, value_head_dim=dim)).v[7, 1]

    assert read_tag(row) is not None
    assert read_tag(torch.roll(row, shift)) is None


def test_a_mean_of_two_rows_does_not_decode() -> None:
    tags = make_values(TAGGED).v

    assert read_tag((tags[3, 0] + tags[4, 0]) / 2) is None
    assert read_tag((tags[0, 0] + tags[32, 2]) / 2) is None


def test_half_of_two_rows_does_not_decode() -> None:
    tags = make_values(TAGGED).v

    assert read_tag(torch.cat([tags[3, 0, :20], tags[4, 0, 20:]])) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, 1.0, -64.0, 1e30])
def test_junk_does_not_decode(value: float) -> None:
    row = make_values(TAGGED).v[0, 0].clone()

    assert read_tag(torch.full((40,), value)) is None
    row[17] = value
    assert read_tag(row) is None


def test_a_tag_survives_a_small_rounding_error() -> None:
    row = make_values(TAGGED).v[7, 1]

    assert read_tag(row + 0.2) == read_tag(row) == read_tag(row - 0.2)
    assert read_tag(row + 0.3) is None


def test_the_tag_of_the_wrong_mode_is_none() -> None:
    values = make_values(dataclasses.replace(TAGGED, data="gaussian"))

    assert read_tag(values.v[0, 0]) is None


FLOAT8_TAGGED = replace(TAGGED, k_scale=0.3, v_scale=1.7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cache_dtype", CACHE_DTYPES)
@pytest.mark.parametrize("v_scale", [0.3, 0.5, 1.7, 2.0])
def test_tags_round_trip_through_float8_caches_and_scaled_outputs(cache_dtype: str, dtype: str, v_scale: float) -> None:
    """Digits in base 16 or 8 are exact; the output in q's dtype is that times v_scale, rounded."""
    table = BlockTable(first_block=2**24 - 200)
    case = replace(
        FLOAT8_TAGGED, cache_dtype=cache_dtype, v_scale=v_scale, dtype=dtype, seq_lens=(150,), block_size=100, table=table
    )
    values, base = make_values(case), {"float8_e4m3fn": 16, "float8_e5m2": 8}[cache_dtype]
    stored = values.v.to(getattr(torch, cache_dtype)).float()

    assert tag_base(case) == base
    assert torch.equal(stored, values.v)
    assert stored.max() == base - 1
    assert torch.equal(values.k.to(getattr(torch, cache_dtype)).float(), values.k)
    for token in range(0, len(stored), 7):
        for head in range(case.num_kv_heads):
            out = (stored[token, head] * v_scale).to(getattr(torch, dtype))
            assert read_tag(out.double() / v_scale, base) == wanted(case, values, token, head)


@pytest.mark.parametrize("cache_dtype", CACHE_DTYPES)
def test_sixteen_dims_spell_an_address_in_float8(cache_dtype: str) -> None:
    sizes = {"seq_lens": (4096,), "block_size": 4096, "num_kv_heads": 8, "value_head_dim": 16, "data": "tagged"}
    case = Case(cache_dtype=cache_dtype, k_scale=0.5, v_scale=0.5, **sizes)  # type: ignore[arg-type]  # fields differ in type

    assert read_tag(make_values(case).v[4095, 7], tag_base(case)) == {"block": 0, "slot": 4095, "head": 7}


@given(decode_cases(options=("window", "q_len", "sinks", "k_scale", "v_scale"), huge_spans=False, max_seq_len=100))
@some
def test_tagged_attention_spells_the_chosen_token_with_every_option_that_tags_allow(case: Case) -> None:
    assume(tags_fit(case))
    case = replace(case, data="tagged")
    problem = build_problem(case, "cpu")
    out = gather_attention(*problem.arguments(), **problem.options())[0].to(problem.out.dtype).double() / (case.v_scale or 1.0)

    chosen = problem.values.chosen
    assert chosen is not None
    for row in range(case.num_seqs * case.q_len):
        for head in range(case.num_q_heads):
            token = int(chosen[row, head])
            assert (token == -1) is (case.seq_lens[row // case.q_len] == 0)
            if token >= 0:
                assert read_tag(out[row, head], tag_base(case)) == wanted(case, problem.values, token, head // case.group)


@pytest.mark.parametrize("window", [None, 1, 2, 3])
def test_each_query_token_chooses_what_it_sees(window: int | None) -> None:
    """The last query token's own token is seen by itself alone, the first one's window ends with itself."""
    case = Case(seq_lens=(7,), q_len=4, group=16, data="tagged", window=window)
    seen: list[set[int]] = [set() for _ in range(4)]
    for seed in range(20):
        values = make_values(replace(case, seed=seed))
        assert values.chosen is not None
        for row, chosen in enumerate(values.chosen):
            seen[row] |= set(values.tokens.slot[chosen].tolist()) | set(values.tokens.page[chosen].tolist())

    for row, found in enumerate(seen):
        first = 0 if window is None else max(0, 4 + row - window)
        assert found - {0} == set(range(first, 4 + row)) - {0}


def test_slopes_and_sinks_are_of_ordinary_size_and_of_a_stream_of_their_own() -> None:
    case = Case(num_kv_heads=8, group=32)
    values = make_values(case)

    assert values.alibi_slopes.shape == values.sinks.shape == (256,)
    assert float(values.alibi_slopes.min()) >= 1 / 32
    assert float(values.alibi_slopes.max()) <= 1
    assert 1.5 < float(values.sinks.std()) < 2.5
    assert same(values, make_values(replace(case, alibi=True, sinks=True)))
    assert not torch.equal(values.sinks, make_values(replace(case, seed=1)).sinks)


@pytest.mark.parametrize(("mode", "digest"), PINNED.items())
def test_values_of_older_cases_stay_as_they_were(mode: str, digest: str) -> None:
    """Bit for bit: stored cases fail or pass as they did before there were sinks, slopes, float8 and q_len."""
    found = hashlib.sha256()
    for seed in range(3):
        values = make_values(replace(TAGGED, data=mode, seed=seed, window=20))
        for tensor in tensors(values):
            found.update(tensor.contiguous().numpy().tobytes())

    assert found.hexdigest()[:16] == digest


@pytest.mark.parametrize("data", ["gaussian", "large", "tagged"])
@pytest.mark.parametrize(
    "fields", [{"head_dim": 576}, {"head_dim": 64}, {"cache_dtype": "float8_e4m3fn", "k_scale": 1.7, "v_scale": 2.0}]
)
def test_sums_of_limited_values_fit_the_format(data: str, fields: dict[str, Any]) -> None:
    """q is divided by a power of two, and no other value changes; the chosen tokens of tagged data still win."""
    case = Case(
        **{"seq_lens": (40, 9), "num_kv_heads": 2, "group": 3, "block_size": 16, "dtype": "float16", "data": data, **fields}
    )
    values = make_values(case)
    limited = without_overflow(case, values, 61_000.0)
    factor = max(1.0, case.k_scale or 1.0)
    k = limited.k.repeat_interleave(case.group, dim=1)
    assert float(torch.einsum("rhd,thd->rht", limited.q.abs(), k.abs()).max()) * factor <= 61_000.0
    assert same(replace(limited, q=values.q), values)
    assert torch.equal(limited.q * float(values.q.abs().max() / limited.q.abs().max()), values.q)


def test_a_token_that_no_longer_wins_is_not_chosen() -> None:
    case = Case(seq_lens=(40,), block_size=16, scale=0.001, data="tagged")
    values = make_values(case)
    limited = without_overflow(case, values, 61_000.0)
    assert limited.chosen is not None
    assert values.chosen is not None
    assert int(values.chosen.min()) >= 0
    assert limited.chosen.tolist() == [[-1]]
    assert same(without_overflow(case, values, 1e9), values)
