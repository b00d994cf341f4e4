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
def test_a_copy_has_the_strides_and_the_answer_of_its_source(case: Case) -> None:
    problem = build_problem(case, "cpu")
    sent = copy_to_device(problem, "cpu").problem
    for source, copied in zip(problem.arguments()[:5], sent.arguments()[:5], strict=True):
        assert (copied.stride(), copied.dtype) == (source.stride(), source.dtype)
    expected, got = (gather_attention(*each.arguments(), **each.options()) for each in (problem, sent))
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def run_of(problem: Problem, after: Problem) -> KernelRun:
    return KernelRun(after.out, None, expect(problem, resolve("bundled")), input_bytes(problem), after=after)


def test_reading_back_shows_what_was_written_on_the_device_and_nothing_else() -> None:
    problem = build_problem(CASES[0], "cpu")
    copy = copy_to_device(problem, "cpu")
    copy.problem.out.fill_(1.0)
    after = copy.read_back()
    assert bool((copy.out_of(after) == 1.0).all())
    assert not bool((problem.out == 1.0).any())
    assert inputs_intact(after, run_of(problem, after)) == no_stray_writes(after, run_of(problem, after)) == []


def test_a_stray_write_and_a_changed_input_on_the_device_are_found() -> None:
    problem = build_problem(CASES[0], "cpu")
    copy = copy_to_device(problem, "cpu")
    copy.problem.buffers["out"].storage[3] = 0.0
    copy.problem.seq_lens[0] += 1
    after = copy.read_back()
    assert [finding.symptom for finding in no_stray_writes(after, run_of(problem, after))] == ["stray-write"]
    assert [finding.tensor for finding in inputs_intact(after, run_of(problem, after))] == ["seq_lens"]
