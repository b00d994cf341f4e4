"""A failing case and a target lead to the fault, by name and in a sentence, or to what is known; no wrong name is confident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sample_faults
import sample_targets
import torch
from killing_cases import killing_case
from machine import DEVICE
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, QUERY_AXES, Layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis
from fuzz_decode.diagnose.access_model import correct_model
from fuzz_decode.diagnose.diagnosis import beyond_reach
from fuzz_decode.diagnose.faults.catalogue import FAULTS
from fuzz_decode.diagnose.find_fault import examine
from fuzz_decode.diagnose.observation import make_experiment
from fuzz_decode.diagnose.predict import predict
from fuzz_decode.oracles.expected import expect
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets import resolve
from fuzz_decode.targets.target import Target, target_from_function

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")  # log(0) in the interpreter is meant
HND = Layout(FAMILIES["HND"])
INTERLEAVED = Layout(FAMILIES["interleaved"])
RICH = Case(
    seq_lens=(5, 0, 9),
    num_kv_heads=2,
    group=3,
    head_dim=24,
    block_size=4,
    k=Layout(FAMILIES["cross-layer HND"]),
    v=None,
    layers=2,
    layer=1,
    out=Layout(QUERY_AXES, (8, 16, 0), 3),
    table=BlockTable(placement="permuted", spare_blocks=2, extra_columns=1),
)

# mutant: the fault that its killing case leads to, and what the sentence says
NAMED = {
    "k-block-stride-dense": ("k-block-stride-dense", "K read as 16 (block_size * slot stride) instead of 32 (stride(0))"),
    "v-block-stride-dense": ("v-block-stride-dense", "V read as 16 (block_size * slot stride) instead of 32 (stride(0))"),
    "v-uses-k-strides": ("v-uses-k-strides", "strides of V read as (32, 32, 32, 1) (K's strides) instead of (16, 16, 16, 1)"),
    "head-stride-dense": ("k-head-stride-dense", "head stride of K read as 32 (head_dim, as in a dense NHD cache) instead of 64"),
    "gqa-modulo": ("gqa-modulo", "query head h reads KV head h % num_kv_heads instead of h // group"),
    "table-row-stride-needed-width": (
        "table-row-stride-needed-width",
        "of the block table read as 1 (the blocks that the longest",
    ),
    "tail-v-unmasked": (
        "tail-v-unmasked",
        "V of the last block's unused slots is read with weight 0: NaN there reaches the output",
    ),
    "tail-off-by-one": ("tail-one-more", "one token past the end of the sequence is visible"),
    "empty-split-not-neutral": (
        "empty-split-not-neutral",
        "as if splits without a visible token took part in the merge with lse 0, not -inf",
    ),
    "last-split-dropped": ("tokens-dropped", "token 32 of sequence 0, which sees 33, does not count"),
    "empty-split-unwritten": ("uninitialised-scratch", "reads memory that it allocated and never wrote"),
    "out-store-too-wide": ("out-store-too-wide", "rows of out are stored too wide: one element past value_head_dim"),
    "lse-base-2": ("lse-base-2", "lse is returned in base 2"),
    "softcap-in-base-2": ("softcap-of-base-2", "softcap is applied to scores times log2(e), and not multiplied by it"),
    "softcap-by-exp2": ("softcap-exp2", "2**score is taken of capped scores instead of exp(score)"),
    "kv-head-from-tiles": ("kv-head-tiles-of-16", "h // (group rounded up to tiles of 16, where it exceeds 16) instead of"),
    "kv-head-of-first-in-tile": (
        "kv-head-of-tile-of-16",
        "reads KV head h // 16 * 16 // group (that of the first head of its tile",
    ),
    "kv-head-is-tile": ("kv-head-is-tile-of-16", "reads KV head h // 16 (the number of its tile of 16, in groups beyond 16)"),
    "k-packed-by-another-x": ("k-packed-by-8-read-by-4", "with x = 8, is read with x = 4"),
    "split-size-of-smaller-tiles": (
        "tokens-dropped",
        "which sees 17, token 16 does not count: as if the splits of a sequence left gaps",
    ),
    "last-split-for-every-split": (
        "tokens-miscounted",
        "tokens 0 to 31 do not count, and token 32 counts twice: as if the last split took the place of every split",
    ),
    "partials-rounded": ("sums-in-bfloat16", "sums, weights or partial results are rounded to bfloat16, more coarsely"),
}


def diagnosed(case: Case, function: str, **options: object) -> Diagnosis:
    home = sample_faults if hasattr(sample_faults, function) else sample_targets
    return examine(DiagnoseRequest(validate(case), **options), target_from_function(function, getattr(home, function)), DEVICE)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_a_mutant_is_named(name: str) -> None:
    found = examine(DiagnoseRequest(killing_case(name)), resolve(f"mutant:{name}"), DEVICE)
    fault, words = NAMED[name]
    assert (found.fault, found.confident) == (fault, True)
    assert words in found.sentence
    assert found.evidence


def test_a_fault_of_k_moves_v_where_v_lies_in_k_s_rows() -> None:
    """The bundled kernel takes V from the rows of K that it has loaded; the minimal case shows the fault in lse alone."""
    latent = Case(
        seq_lens=(9,),
        num_kv_heads=2,
        head_dim=20,
        value_head_dim=16,
        block_size=4,
        k=Layout(FAMILIES["HND"], (40, 0, 0, 0)),
        v=None,
    )
    request = DiagnoseRequest(killing_case("k-block-stride-dense"), latent, seconds=120.0)
    found = examine(request, resolve("mutant:k-block-stride-dense"), DEVICE)
    assert (found.fault, found.confident) == ("k-block-stride-dense", True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutants", "case", "fault", "words"),
    [
        (
            "gqa-modulo+lse-base-2",
            Case(),
            "lse-base-2",
            "there is another fault, too: query head h reads KV head h % num_kv_heads",
        ),
        (
            "gqa-modulo+lse-base-2",
            Case(seq_lens=(3,), num_kv_heads=2, group=2),
            "gqa-modulo+lse-base-2",
            "two faults: query head h reads KV head h % num_kv_heads instead of h // group, and lse is returned in base 2",
        ),
    ],
)
def test_two_faults_are_both_named(mutants: str, case: Case, fault: str, words: str) -> None:
    found = examine(DiagnoseRequest(case, seconds=120.0), resolve(f"mutant:{mutants}"), DEVICE)
    assert (found.fault, found.confident) == (fault, True)
    assert words in found.sentence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "case", "fault"),
    [
        ("v_heads_taken_to_be_dense", Case(seq_lens=(2,), num_kv_heads=2, block_size=2, v=HND), "v-head-stride-dense"),
        ("k_and_v_blocks_taken_to_be_dense", Case(seq_lens=(3,), block_size=2, k=INTERLEAVED, v=None), "kv-block-stride-dense"),
        ("k_and_v_blocks_taken_to_be_dense", RICH, "kv-block-stride-dense"),
        ("out_rows_taken_to_be_dense", Case(seq_lens=(1, 1), out=Layout(QUERY_AXES, (8, 0, 0))), "out-row-stride-dense"),
        ("sees_one_more_within_blocks", Case(seq_lens=(1,), block_size=2), "tail-mask-one-more"),
        ("sees_one_more_within_blocks", Case(seq_lens=(13, 16, 33), block_size=16), "tail-mask-one-more"),
        ("sees_one_more_within_tiles", Case(seq_lens=(13, 16, 33), block_size=4), "tail-mask-one-more"),
        ("multiplies_the_tail_by_zero", Case(seq_lens=(1,), block_size=3), "tail-v-unmasked"),
        ("adds_to_unwritten_scratch", Case(), "uninitialised-scratch"),
        ("flickers", Case(), "nondeterministic"),
    ],
)
def test_a_user_s_target_is_named(function: str, case: Case, fault: str) -> None:
    found = diagnosed(case, function)
    assert (found.fault, found.confident) == (fault, bool(fault))


def test_a_mask_that_is_one_too_wide_inside_a_block_says_so() -> None:
    found = diagnosed(Case(seq_lens=(1,), block_size=2), "sees_one_more_within_blocks")
    where = "token seq_len is visible if it lies in the last, partly filled block"
    assert found.sentence == f"{where}: the mask is `<=` instead of `<`"


def test_a_correct_kernel_has_no_diagnosis() -> None:
    assert diagnosed(RICH, "honest") == Diagnosis()
    assert examine(DiagnoseRequest(RICH), resolve("bundled"), DEVICE) == Diagnosis()


def test_an_unexplained_failure_is_described_and_not_named() -> None:
    found = diagnosed(Case(seq_lens=(3, 2), block_size=2), "five_percent_too_much")
    assert (found.fault, found.confident) == ("", False)
    wrong = "32 of 32 elements of out (all sequences, the only q head, all dims) are wrong"
    assert found.sentence == f"no known fault explains it; on finite memory {wrong}"


def test_where_a_row_of_out_is_a_row_of_v_its_address_is_reported() -> None:
    case = Case(seq_lens=(3,), block_size=2, num_kv_heads=2, table=BlockTable(first_block=2, spare_blocks=3))
    found = diagnosed(case, "blocks_in_a_cipher")
    assert (found.fault, found.confident) == ("", False)
    # block 2 of six: 2 * 5 + 3 = 13, which is 1 modulo 6
    assert found.sentence == (
        "sequence 0, q head 0 read element 64 of v's memory (block 1, slot 0, head 0 of V), "
        "wanted element 128 (block 2, slot 0, head 0 of V)"
    )


def test_a_fault_of_one_path_is_named_with_its_condition() -> None:
    case = Case(seq_lens=(3,), block_size=2, k=INTERLEAVED, v=None)
    found = diagnosed(case, "dense_blocks_when_short")
    assert (found.fault, found.confident) == ("kv-block-stride-dense", True)
    assert found.sentence.startswith("block stride of K read as 32")
    assert ", but, as far as tested, only where the longest sequence is 3 or less (correct with 4), in " in found.sentence


def test_rows_that_were_never_written_are_counted() -> None:
    found = diagnosed(Case(seq_lens=(1, 1)), "leaves_the_last_row")
    assert not found.confident
    assert (
        "16 of 32 elements of out (sequence 1 of 2, the only q head, all dims), 16 of which were never written" in found.sentence
    )


def test_without_probes_rival_faults_are_reported() -> None:
    """One head of one token: the head stride and the block stride may both be at fault."""
    case = Case(seq_lens=(1,), block_size=2, k=INTERLEAVED, v=None, table=BlockTable(first_block=1))
    found = diagnosed(case, "k_and_v_blocks_taken_to_be_dense", probes=False)
    assert not found.confident
    assert found.sentence.startswith("either ")


def test_a_call_without_values_reports_what_exceeds_32_bits() -> None:
    assert diagnosed(Case(), "raises_key_error") == Diagnosis()
    far = replace(Case(), k=Layout(FAMILIES["NHD"], (2**31, 0, 0, 0)), table=BlockTable(first_block=1))
    assert "more than 32 bits address" in beyond_reach(far)


def test_a_call_without_values_blames_no_width_of_block_ids() -> None:
    """A wrong stride reads elsewhere on such a case, too, and a call without values does not tell which of the two it was."""
    case = Case(seq_lens=(1,), block_size=2, k=INTERLEAVED, v=None, table=BlockTable(first_block=65551))
    problem = build_problem(case, "cpu")
    by_name = {fault.name: fault for fault in FAULTS}
    models = [by_name[name].apply(problem, correct_model(problem)) for name in ("kv-block-stride-dense", "block-id-16-bits")]

    assert None not in models
    assert models[0] != models[1]
    assert beyond_reach(case) == ""


def test_without_time_no_fault_is_confident() -> None:
    case = Case(seq_lens=(1,), block_size=2, k=INTERLEAVED, v=None, table=BlockTable(first_block=1))
    assert not diagnosed(case, "k_and_v_blocks_taken_to_be_dense", seconds=0.0).confident


@pytest.mark.parametrize(
    "case",
    [
        RICH,
        replace(RICH, q_len=3, window=2, softcap=1.5, alibi=True, sinks=True, dtype="bfloat16"),
        replace(RICH, cache_dtype="float8_e4m3fn", k_scale=0.7, v_scale=1.9),
    ],
)
def test_the_correct_model_predicts_the_reference(case: Case) -> None:
    target = target_from_function("honest", sample_targets.honest)
    experiment = make_experiment(validate(case), target, "cpu", fenced=False)
    prediction, expected = experiment.predict(experiment.correct), expect(experiment.problem, target)
    torch.testing.assert_close(prediction.out, expected.out, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(prediction.lse, expected.lse, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(prediction.out_bound, expected.bound.out, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_applies_and_says_so(fault: object) -> None:
    """On some case it changes the model, can be predicted, and has a sentence."""
    target: Target = resolve("bundled")
    for case in WITNESSES:
        experiment = make_experiment(case, target, "cpu", fenced=False)
        faulty = fault.apply(experiment.problem, experiment.correct)  # type: ignore[attr-defined]
        if faulty is not None:
            predict(experiment.memory, faulty, experiment.rounding)
            assert fault.sentence(experiment.problem, experiment.correct)  # type: ignore[attr-defined]
            return
    pytest.fail("never applies")


FAR = Layout(FAMILIES["NHD"], (2**29, 0, 0, 0))
WITNESSES = (
    Case(seq_lens=(3,), num_kv_heads=2, group=17),
    Case(seq_lens=(3,), num_kv_heads=2, group=71, head_dim=32, block_size=2),
    RICH,
    Case(
        seq_lens=(37, 0, 300),
        num_kv_heads=3,
        group=5,
        head_dim=40,
        value_head_dim=24,
        block_size=6,
        k=Layout(FAMILIES["HND"], (3, 0, 5, 1), 7),
        v=Layout(FAMILIES["NHD"], (2, 3, 0, 1), 5),
        q=Layout(QUERY_AXES, (5, 2, 1), 2),
        out=Layout(QUERY_AXES, (3, 1, 1), 4),
        table=BlockTable(Layout(("seq", "column"), (4, 1), 3), "permuted", 1, 2, 0, 2),
        window=11,
        softcap=1.5,
        scale=0.3,
        q_len=3,
        cache_dtype="float8_e4m3fn",
        k_scale=0.7,
        v_scale=1.9,
        alibi=True,
        sinks=True,
    ),
    Case(seq_lens=(1,), k=FAR, v=FAR, table=BlockTable(first_block=5)),
    Case(seq_lens=(2100,), block_size=512, group=17),
    Case(value_head_dim=40, v=Layout(FAMILIES["NHD"], (0, 0, 0, 2)), out=Layout(QUERY_AXES, (0, 0, 2))),
)


GROUP_17 = Case(seq_lens=(3,), num_kv_heads=2, group=17)
TILES = "query head h reads KV head h // (group rounded up to tiles of 16, where it exceeds 16) instead of h // group"
POWERS = "query head h reads KV head h // (power of two >= group) instead of h // group"


@pytest.mark.parametrize(
    ("fn", "fault", "sentence"),
    [
        (sample_faults.groups_in_tiles_of_16, "kv-head-tiles-of-16", TILES),
        (sample_faults.groups_in_powers_of_two, "kv-head-power-of-two", POWERS),
    ],
    ids=["tiles", "powers"],
)
def test_rounded_groups_are_told_apart_on_other_groups(fn: Callable[..., Tensor], fault: str, sentence: str) -> None:
    """17 is rounded up to 32 by both."""
    found = examine(DiagnoseRequest(GROUP_17), target_from_function("sample", fn), "cpu")
    assert (found.fault, found.sentence, found.confident) == (fault, sentence, True)


@pytest.mark.parametrize("fn", [sample_faults.groups_in_tiles_of_16, sample_faults.groups_in_powers_of_two])
def test_faults_that_no_run_tells_apart_are_both_named(fn: Callable[..., Tensor]) -> None:
    """The target takes groups of 17 only."""
    found = examine(DiagnoseRequest(GROUP_17), target_from_function("sample", fn, groups=(17,)), "cpu")
    assert not found.confident
    assert TILES in found.sentence
    assert POWERS in found.sentence


def multiplies_block_0_by_zero(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float
) -> Tensor:
    out = sample_targets.honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0]
    return out + 0 * v_cache[0].sum()


def test_block_0_that_the_case_uses_is_not_called_unused() -> None:
    """The fault shows where block 0 holds NaN; in the case itself it is the only block, whose tail holds NaN."""
    target = target_from_function("sample", multiplies_block_0_by_zero)
    found = examine(DiagnoseRequest(Case(seq_lens=(1,), block_size=2)), target, "cpu")
    assert "which no sequence uses" not in found.sentence
    assert "block 0 (where no sequence uses it, as with first_block 2)" in found.sentence
