from __future__ import annotations

import itertools

import pytest
import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.serialization import case_digest
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.oracles.expected import expect
from fuzz_decode.oracles.guards import input_bytes, inputs_intact, no_stray_writes
from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.problems.build import build_problem, is_small
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.transfer import copy_to_device
from fuzz_decode.targets import resolve
from fuzz_decode_reference import gather_attention

CASES = list(itertools.islice(filter(is_small, case_stream(3, CaseSpace())), 12))


@pytest.mark.parametrize("case", CASES, ids=case_digest)
def test_what_arrives_is_what_was_sent(case: Case) -> None:
    problem = build_problem(case, "cpu")
    sent = copy_to_device(problem, "cpu").problem
    for here, there in zip(problem.arguments()[:5], sent.arguments()[:5], strict=True):
        assert (there.stride(), there.dtype) == (here.stride(), here.dtype)
    expected, got = (gather_attention(*each.arguments(), **each.options()) for each in (problem, sent))
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def run_of(problem: Problem, left: Problem) -> KernelRun:
    return KernelRun(left.out, None, expect(problem, resolve("bundled")), input_bytes(problem), left)


def test_what_was_written_there_is_seen_here_and_nothing_else() -> None:
    problem = build_problem(CASES[0], "cpu")
    shipment = copy_to_device(problem, "cpu")
    shipment.problem.out.fill_(1.0)
    left = shipment.left()
    assert bool((shipment.out(left) == 1.0).all())
    assert not bool((problem.out == 1.0).any())
    assert inputs_intact(left, run_of(problem, left)) == no_stray_writes(left, run_of(problem, left)) == []


def test_a_stray_write_and_a_changed_input_there_are_found_here() -> None:
    problem = build_problem(CASES[0], "cpu")
    shipment = copy_to_device(problem, "cpu")
    shipment.problem.buffers["out"].storage[3] = 0.0
    shipment.problem.seq_lens[0] += 1
    left = shipment.left()
    assert [finding.symptom for finding in no_stray_writes(left, run_of(problem, left))] == ["stray-write"]
    assert [finding.tensor for finding in inputs_intact(left, run_of(problem, left))] == ["seq_lens"]
