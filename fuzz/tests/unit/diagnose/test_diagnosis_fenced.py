"""Faults that need more than the case itself: a fence around out-of-bounds reads, other lengths, or a condition on the case."""

from __future__ import annotations

from typing import Any

import pytest
import sample_targets
import torch
import triton
import triton.language as tl
from torch import Tensor

from fuzz_decode.campaign.make_entry import with_diagnosis
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, Layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis
from fuzz_decode.diagnose.find_fault import examine
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.targets import resolve
from fuzz_decode.targets.target import target_from_function
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_gpu,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # log(0) in the interpreter is meant
]

HND = Layout(FAMILIES["HND"], (0, 16, 1, 0))
FAR = Layout(FAMILIES["HND"], (429497565, 1, 16, 0))
INTERLEAVED_FAR = Layout(FAMILIES["interleaved HND"], (93369491, 0, 0, 0, 0))
PADDED_Q = Layout(QUERY_AXES, (16, 0, 0))

# mutant, a case that it fails, the fault, and a part of the sentence
OUT_OF_BOUNDS = (
    (
        "k-slot-stride-from-head-stride",
        Case((65,), 2, 3, 64, 16, 128, "float16", k=HND),
        "k-slot-stride-of-heads",
        "num_kv_heads * ",
    ),
    (
        "v-slot-stride-from-head-stride",
        Case((65,), 2, 3, 64, 16, 128, "float16", v=HND),
        "v-slot-stride-of-heads",
        "num_kv_heads * ",
    ),
    (
        "k-block-offset-int32",
        Case((2, 2, 2), k=FAR),
        "k-block-offset-int32",
        "of K computed in 32 bits: block 5 * 429497581 wraps",
    ),
    (
        "v-block-offset-int32",
        Case((24,), k=INTERLEAVED_FAR, v=None),
        "v-block-offset-int32",
        "of V computed in 32 bits: block 23 * ",
    ),
    (
        "k-byte-offset-int32",
        Case(block_size=8, k=Layout(CACHE_AXES, (0, 1000, 0, 0), 16), table=BlockTable(first_block=70000)),
        "k-block-offset-int32-floats",
        "in bytes of float32: block 70000 * 8128 wraps",
    ),
)
IN_BOUNDS = (
    ("table-by-token", Case((2,), block_size=2), "table-by-token", ""),
    ("table-half-filled", Case((33,)), "table-entries-from-32-are-0", "from column 32 on are read as 0"),
    ("table-row-for-each-query", Case((2, 3), q_len=2), "table-row-for-each-query", "row i * q_len"),
    ("v-from-k-rows", Case(head_dim=32), "v-from-k-rows", "K's rows, as in MLA, where head_dim is larger than value_head_dim"),
    ("q-row-stride-dense", Case((2,), q_len=2, q=PADDED_Q), "q-row-stride-dense", ""),
    ("q-padded-to-four", Case((2, 2), q_len=2), "q-padded-to-4", ""),
    ("q-padded-to-four", Case((0, 1)), "q-padded-to-4", ""),
    ("query-tokens-beside-seq-len", Case((3,), q_len=2), "query-tokens-beside-seq-len", "not to count the query tokens"),
    ("sinks-read-past-their-end", Case((1, 1), sinks=True), "sink-by-row", "row * num_q_heads + h"),
    ("slots-modulo-16", Case((17,), block_size=17), "slots-modulo-16", "within a block are counted modulo 16"),
    ("v-slots-beyond-128-dropped", Case((129,), block_size=129), "v-slots-from-128-dropped", "V beyond slot 127"),
    ("v-block-once-a-tile", Case((2,)), "v-tile-32-straddles-block", "V of a tile of 32"),
    ("tail-off-by-one", Case((0,)), "tail-one-more", "one token past the end"),
    ("tail-off-by-one", Case((1,)), "tail-one-more", "one token past the end"),
    ("empty-split-not-neutral", Case((3,)), "empty-split-not-neutral", "with lse 0, not -inf"),
)
OF_ONE_PATH = (
    (
        "lse-gqa-order",
        Case((16,), 2, 2, block_size=3, table=BlockTable(extra_columns=5)),
        "lse-gqa-order",
        "in the order of swapped group and KV head, ",
    ),
    ("batch-offset-missing-in-large-groups", Case((1, 1), group=8), "table-row-stride-ignored", "only where group is 8 or more"),
    ("lse-base-2-by-layout", Case((1, 1), q=PADDED_Q), "lse-base-2", "only where q is not plain, in "),
)


@pytest.mark.parametrize(("mutant", "case", "fault", "words"), [*OUT_OF_BOUNDS, *IN_BOUNDS, *OF_ONE_PATH])
def test_a_mutant_is_named(mutant: str, case: Case, fault: str, words: str) -> None:
    found = examine(DiagnoseRequest(validate(case)), resolve(f"mutant:{mutant}"), "cpu")
    assert (found.fault, found.confident) == (fault, True), found.sentence
    assert words in found.sentence


@triton.jit
def peek(source, wanted, far: tl.int64):  # type: ignore[no-untyped-def]  # device code
    tl.store(wanted, tl.load(source + far) * 0.0)


@triton.jit
def poke(wanted, far: tl.int64):  # type: ignore[no-untyped-def]  # device code
    tl.store(wanted + far, 1.0)


def peeks(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    nothing = torch.zeros(1)
    peek[(1,)](k_cache, nothing, 2**34)
    return sample_targets.honest(q, k_cache, *rest)[0] + nothing


def pokes(q: Tensor, k_cache: Tensor, *rest: Any) -> Tensor:
    poke[(1,)](k_cache, -(2**34))
    return sample_targets.honest(q, k_cache, *rest)[0]


def five_percent_and_out_of_bounds(q: Tensor, *rest: Any) -> Tensor:
    return peeks(q, *rest) * 1.05


def examined(function: Any) -> Diagnosis:
    return examine(DiagnoseRequest(Case((3,))), target_from_function("it", function), "cpu")


def test_an_out_of_bounds_access_without_effect_is_named() -> None:
    found = examined(peeks)
    assert (found.fault, found.confident) == ("wild-read", True)
    assert found.sentence.startswith("reads out of bounds, ")
    assert found.sentence.endswith(" elements after source's storage, without effect on the result")
    found = examined(pokes)
    assert (found.fault, found.confident) == ("wild-write", True)
    assert found.sentence.startswith("writes out of bounds, ")


def test_state_between_calls_is_a_guess() -> None:
    case = Case((2,), group=2, q=Layout(("seq", "dim", "head")))
    found = examine(DiagnoseRequest(case), resolve("mutant:q-strides-cached"), "cpu")
    assert (found.fault, found.confident) == ("state-between-calls", False)
    assert found.sentence.startswith("correct by itself, wrong when laid out plainly in a later call")


def test_an_out_of_bounds_access_beside_another_fault_is_reported() -> None:
    found = examined(five_percent_and_out_of_bounds)
    assert (found.fault, found.confident) == ("", False)
    assert found.sentence.startswith("no known fault explains it; ")
    assert "; it reads out of bounds, " in found.sentence


def test_in_a_campaign_an_out_of_bounds_read_still_crashes() -> None:
    mutant, case, fault, _ = OUT_OF_BOUNDS[2]
    with ResilientWorker(WorkerConfig(f"mutant:{mutant}", "cpu", 60.0)) as worker:
        assert worker.run(case).signature == "crash-SIGSEGV:call"
        assert worker.diagnose(case).fault == fault
        crash = Entry(case, case, mutant, Signature("crash-SIGSEGV:call"), Stage.RUN, "cpu")
        assert with_diagnosis(crash, worker, 20.0).diagnosis.startswith(
            "block id * block stride of K computed in 32 bits: block 5 * "
        )
        assert worker.run(case).signature == "crash-SIGSEGV:call"
