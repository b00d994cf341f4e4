"""A trace gives the addresses of a row's numbers, and those at which a kernel with a fault reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.diagnose import Trace, TraceRequest
from fuzz_decode.diagnose.access_trace import trace
from fuzz_decode.diagnose.diagnosis import Access
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import GUARD
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

INTERLEAVED = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))


def reads(found: Trace, tensor: str) -> tuple[list[int], list[int]]:
    """Addresses that should be read of a tensor, and those that are."""
    wanted, actual = ([one.address for one in some if one.tensor == tensor] for some in (found.wanted, found.actual))
    return wanted, actual


def test_the_aiter_bug_reads_another_plane() -> None:
    found = trace(TraceRequest(INTERLEAVED, "k-block-stride-dense"))

    assert reads(found, "k") == ([32], [16])
    assert reads(found, "v") == ([48], [48])
    assert (found.known, found.strides) == (True, {"k_cache": (16, 16, 16, 1)})


def test_without_a_fault_what_is_read_is_not_known() -> None:
    found = trace(TraceRequest(INTERLEAVED, ""))

    assert not found.known
    assert found.wanted == found.actual


def test_a_fault_that_does_not_apply_here_changes_nothing() -> None:
    assert not trace(TraceRequest(Case(), "k-block-stride-dense")).known


@pytest.mark.parametrize(
    ("fault", "case", "tensor", "expected"),
    [
        ("tail-v-unmasked", Case(block_size=4), "v", ([0], [0, 16, 32, 48])),
        ("tail-v-unmasked", Case(block_size=4), "k", ([0], [0])),
        ("window-k-unmasked", Case(seq_lens=(3,), window=1), "k", ([32], [0, 16, 32])),
        ("tail-one-more", Case(seq_lens=(2,), block_size=4), "k", ([0, 16], [0, 16, 32])),
        ("gqa-modulo", Case(num_kv_heads=2, group=2), "k", ([0], [16])),
        ("table-row-stride-needed-width", Case((1, 2), table=BlockTable(extra_columns=1)), "table", ([3, 4], [2, 3])),
        ("q-row-stride-dense", Case((1, 1), q=Layout(("seq", "head", "dim"), (1, 0, 0))), "q", ([17], [16])),
        ("out-row-stride-dense", Case((1, 1), out=Layout(("seq", "head", "dim"), (1, 0, 0))), "out", ([17], [16])),
    ],
)
def test_a_fault_moves_the_addresses_of_its_tensor(
    fault: str, case: Case, tensor: str, expected: tuple[list[int], list[int]]
) -> None:
    """At the first row and head where it shows."""
    assert reads(trace(TraceRequest(case, fault)), tensor) == expected


def test_the_requested_row_is_kept_where_the_fault_shows() -> None:
    case = replace(INTERLEAVED, seq_lens=(1, 1, 1), group=2)

    assert (trace(TraceRequest(case, "k-block-stride-dense", (1, 1))).row, trace(TraceRequest(case, "", (2, 1))).head) == (1, 1)
    assert trace(TraceRequest(case, "", (99, 99))).row == 0


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(decode_cases(huge_spans=False, max_seq_len=60))
def test_what_is_wanted_lies_at_its_address(case: Case) -> None:
    problem = build_problem(case, "cpu")
    found = trace(TraceRequest(case))

    def at(access: Access) -> torch.Tensor:
        storage = problem.buffers[access.buffer].storage
        begin = GUARD // storage.element_size()
        return storage[begin + access.address + access.step * torch.arange(access.length)].float()

    seq = found.row // case.q_len
    for access in found.wanted:
        if access.tensor in ("k", "v"):
            cache = problem.k_cache if access.tensor == "k" else problem.v_cache
            block = problem.block_table[seq, access.token // case.block_size]
            expected = cache[block, access.token % case.block_size, found.head // case.group].float()
        elif access.tensor == "table":
            expected = problem.block_table[seq, access.token : access.token + 1].float()
        else:
            expected = (problem.q if access.tensor == "q" else problem.out)[found.row, found.head].float()
        assert torch.equal(at(access).nan_to_num(), expected.nan_to_num())


def watched(target: str, case: Case) -> Trace:
    with ResilientWorker(WorkerConfig(target, "cpu", 60.0)) as worker:
        found = worker.trace(case, "", (0, 0))
    assert found is not None
    return found


def test_reads_are_observed_where_no_fault_is_known() -> None:
    assert watched("bundled", INTERLEAVED).reads == {
        **dict.fromkeys(("out", "q"), ((0, 16),)),
        "k": ((32, 64),),
        "block_table": ((0, 1),),
        "seq_lens": ((0, 1),),
        "out": (),
    }
    assert watched("mutant:k-block-stride-dense", INTERLEAVED).reads["k"] == ((16, 32), (48, 64))  # type: ignore[index]  # seen


def test_reads_of_torch_are_not_observed() -> None:
    assert watched("torch-sdpa", INTERLEAVED).reads is None
