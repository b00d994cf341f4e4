"""The list of optional arguments: rows agree with Case, and a new row is all that an option needs beside its mathematics."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fuzz_decode.campaign import smoke_test
from fuzz_decode.cases import call_sequence, optional_arguments, serialization, simplicity
from fuzz_decode.cases.case import DEFAULTS, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.optional_arguments import OPTIONS, OptionalArgument, generated_parameters, in_order
from fuzz_decode.corpus import ledger
from fuzz_decode.execute.invoke import invoke
from fuzz_decode.generate import call_sequences, coverage, draw_case, pairwise_order, rounds
from fuzz_decode.generate.case_stream import drawn_stream
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.problems.build import build_problem
from fuzz_decode.report import facts
from fuzz_decode.shrink.shrinker import Shrunk, shrink_calls
from fuzz_decode.targets.description import describe
from fuzz_decode.targets.target import Target, target_from_function
from fuzz_decode_reference.gather_attention import Options

TEMPERATURE = OptionalArgument(
    fields=("temperature",),
    unused=(None,),
    used=(2.0,),
    parameters={"temperature": "float, or None: scores are divided by it"},
    without="temperatures",
    label="temperature",
    summary="temperature {temperature}",
    chance=30,
    values=(2.0, 0.5),
    simpler={"temperature": (2.0,)},
)


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class WarmCase(Case):
    """A Case of a version with one more option."""

    temperature: float | None = None


def sampler(q: Any, k: Any, v: Any, table: Any, lens: Any, scale: float, *, temperature: float | None = None) -> torch.Tensor:
    received.append(temperature)
    return torch.zeros(*q.shape[:2], v.shape[3])


received: list[float | None] = []


@pytest.fixture
def warm(monkeypatch: pytest.MonkeyPatch) -> Target:
    """The row and its field are there; nothing else of the program is changed. The target has the parameter, and no other."""
    monkeypatch.setattr(optional_arguments, "OPTIONS", (*OPTIONS, TEMPERATURE))
    monkeypatch.setitem(DEFAULTS, "temperature", None)
    for module in (draw_case, serialization):
        monkeypatch.setattr(module, "Case", WarmCase)
    return target_from_function("sampler", sampler)


def drawn(target: Target, count: int = 200) -> list[Case]:
    return list(itertools.islice(drawn_stream(0, target.case_space()), count))


def temperature(case: Case) -> Any:
    return getattr(case, "temperature", None)


def hot(*values: float | None) -> tuple[WarmCase, ...]:
    return tuple(WarmCase(seq_lens=(3,), temperature=value) for value in values)


def test_unused_values_are_the_defaults_of_a_case() -> None:
    for option in OPTIONS:
        assert {name: DEFAULTS[name] for name in option.fields} == dict(zip(option.fields, option.unused, strict=True))
        assert not option.is_used(Case())
        assert option.is_used(dataclasses.replace(Case(), **dict(zip(option.fields, option.used, strict=True))))  # type: ignore[arg-type]


def test_every_option_of_the_reference_has_a_row() -> None:
    assert {field.name for field in dataclasses.fields(Options)} | {"out"} == generated_parameters()


def test_an_order_keeps_every_option() -> None:
    assert [option.field for option in in_order("q_len", "sinks")][:3] == ["q_len", "sinks", "window"]
    assert sorted(option.field for option in in_order("q_len", "sinks")) == sorted(option.field for option in OPTIONS)


def test_a_new_option_is_drawn_for_targets_that_have_its_parameter(warm: Target) -> None:
    assert warm.options == {"temperature"}
    assert {temperature(case) for case in drawn(warm)} == {None, 2.0, 0.5}
    space = dataclasses.replace(warm.case_space(), options=frozenset({"window"}))
    assert {temperature(case) for case in itertools.islice(drawn_stream(0, space), 200)} == {None}


def test_a_new_option_does_not_change_the_cases_of_targets_without_it(warm: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    space = CaseSpace(options=frozenset({"window", "out", "k_scale", "v_scale"}))
    texts = [serialization.canonical_json(case) for case in itertools.islice(drawn_stream(0, space), 100)]
    monkeypatch.undo()
    assert texts == [serialization.canonical_json(case) for case in itertools.islice(drawn_stream(0, space), 100)]


def test_a_new_option_is_declared_and_supported(warm: Target) -> None:
    (case,) = hot(2.0)
    assert case.options() == {"temperature"}
    assert warm.unsupported_reason(case) is None
    without = target_from_function("t", lambda q, k, v, t, n, s: q)
    assert without.unsupported_reason(case) == "no temperature"
    assert dict(describe(warm).options) == {"temperature": "float, or None: scores are divided by it"}
    assert ("no parameter temperature", "temperatures") in describe(without).limits
    assert warm.compile_key(case) != warm.compile_key(hot(None)[0])


def test_a_new_option_reaches_the_target(warm: Target) -> None:
    received.clear()
    for case in hot(2.0, None):
        problem = build_problem(case, "cpu")
        assert problem.options()["temperature"] == case.temperature
        invoke(problem, warm)
    assert received == [2.0, None]


def test_a_new_option_is_stored_only_where_it_is_used(warm: Target) -> None:
    used, unused = hot(2.0, None)
    assert serialization.case_from_json(serialization.case_to_json(used)) == used
    assert serialization.canonical_json(unused) == serialization.canonical_json(Case(seq_lens=(3,)))


def test_a_new_option_is_covered(warm: Target) -> None:
    counts = coverage.Coverage.of(hot(2.0, None, 0.5)).options
    assert counts == {"temperature": 2}
    assert coverage.option_labels()[-1] == "temperature"
    assert [pairwise_order.traits(case)["temperature"] for case in hot(2.0, None)] == [True, False]


def test_a_new_option_takes_part_in_call_sequences_and_rounds(warm: Target) -> None:
    assert ("temperature",) in call_sequences.parts()
    assert call_sequence.unlike_parts(*hot(2.0, 0.5)) == [("temperature",)]
    round = rounds.CompileRound(hot(2.0)[0], 20, 20, "0", warm.case_space())
    assert {temperature(case) is None for case in rounds.draw_round(round, warm.compile_key)} == {False}


def test_a_new_option_is_shrunk(warm: Target) -> None:
    failing, start = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "all")), hot(0.5)

    def shrunk(needed: Callable[[Any], bool]) -> Shrunk:
        return shrink_calls(start, failing, lambda calls: failing if needed(temperature(calls[-1])) else Outcome(Status.PASSED))

    assert temperature(shrunk(lambda value: True).case) is None
    assert simplicity.simplicity_key(hot(0.5)[0]) < simplicity.simplicity_key(hot(2.0)[0])  # smaller numbers are simpler
    assert shrunk(lambda value: value is not None).needed == {"temperature": "passes"}


def test_a_new_option_is_shown(warm: Target) -> None:
    assert ("temperature", "2.0") in facts.case_facts(hot(2.0)[0])
    assert simplicity.features_of(hot(2.0)[0]) == {"temperature": "2.0"}


def test_a_new_option_is_a_ledger_condition(warm: Target) -> None:
    def known(condition: object) -> ledger.KnownFailure:
        return ledger.KnownFailure("t", "wrong-value:out", "https://x", "r", "fail", {"temperature": condition})

    assert "temperature" in ledger.conditions()
    conditions = [known(condition) for condition in (True, False, 2.0, {"max": 1})]
    matches = [[entry.matches(case) for entry in conditions] for case in hot(2.0, None, 0.5)]
    assert matches == [[True, False, True, False], [False, True, False, False], [True, False, False, True]]


def test_a_new_option_is_part_of_the_smoke_test(warm: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_test, "Case", WarmCase)
    *_, last = smoke_test.probes(warm.case_space())
    assert (last.question, last.setting, temperature(last.case)) == ("options", "temperature 2.0", 2.0)
