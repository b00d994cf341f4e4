"""A prediction depends on its arguments alone, and faults change the parts of the access model that they name."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import TensorView, correct_model, replace
from fuzz_decode.diagnose.faults.catalogue import models_with_faults
from fuzz_decode.diagnose.faults.fault import Fault, simple, together
from fuzz_decode.diagnose.memory import Memory
from fuzz_decode.problems.build import build_problem
from fuzz_decode.triton_interpreter.memory_fence import memory_fence

PROBLEM = build_problem(Case(seq_lens=(3,), block_size=2), "cpu", memory="random")
CORRECT = correct_model(PROBLEM)


@pytest.mark.parametrize("fenced", [True, False])
def test_a_read_outside_is_known_only_if_the_memory_is_fenced(fenced: bool) -> None:
    values, known = Memory(PROBLEM, fenced).read(CORRECT.addresses.k, torch.tensor([0, 2**40, -(2**40)]))
    assert known.tolist() == [True, fenced, fenced]
    assert values[1:].tolist() == [0.0, 0.0]


def test_an_open_fence_changes_no_prediction() -> None:
    outside = torch.tensor([2**40])
    with memory_fence():
        assert not Memory(PROBLEM).read(CORRECT.addresses.k, outside)[1].any()


def test_replacing_fields_of_a_part_leaves_the_others() -> None:
    changed = replace(CORRECT, "scores", scale=2.0, softcap=1.5)
    assert (changed.scores.scale, changed.scores.softcap) == (2.0, 1.5)
    assert dataclasses.replace(changed, scores=CORRECT.scores) == CORRECT


def test_faults_of_several_parts_combine() -> None:
    moved = TensorView("k", 7, (1, 1, 1, 1))
    faults = (
        simple("a", "", lambda problem, model: replace(model, "addresses", k=moved)),
        simple("b", "", lambda problem, model: replace(model, "output", lse="base 2")),
        simple("c", "", lambda problem, model: replace(model, "addresses", v=moved)),
        simple("does not apply", "", lambda problem, model: None),
    )
    combined: Fault = together("all", *faults)
    expected = replace(replace(CORRECT, "addresses", k=moved, v=moved), "output", lse="base 2")
    assert combined.apply(PROBLEM, CORRECT) == expected


def test_forms_of_a_name_make_models_of_their_own() -> None:
    """Applied one after the other, the last form would hide the others."""
    problem = build_problem(Case(seq_lens=(3,), window=2), "cpu", memory="random")
    models = models_with_faults(("tail-one-more+lse-base-2",), problem, correct_model(problem))
    assert {model.visibility.spans for model in models} == {(((1, 3),),), (((1, 4),),), (((2, 4),),)}
    assert {model.output.lse for model in models} == {"base 2"}


def test_what_is_not_in_the_catalogue_changes_no_model() -> None:
    assert models_with_faults(("no-such-fault",), PROBLEM, CORRECT) == (CORRECT,)
