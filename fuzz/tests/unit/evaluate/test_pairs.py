"""Two faults at once: how their kernels are made, which pairs are drawn, and how a campaign on them is judged."""

from __future__ import annotations

import pytest
from rich.console import Console

from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.evaluate.pairs import PairFinding, PairMeasurement, draw_alone, draw_pairs, to_json
from fuzz_decode.report.terminal.pairs import show_pair
from fuzz_decode.targets import resolve
from fuzz_decode_kernels.mutants import MUTANTS, mutant_source


def finding(*shows: str, fault: str = "") -> PairFinding:
    return PairFinding("wrong-value:out", fault, "", 0, 1, shows)


def measured(*findings: PairFinding) -> PairMeasurement:
    return PairMeasurement(("a", "b"), 0, 600, findings, 1.0)


def cause(name: str) -> str:
    """The first fault that a diagnosis names for a mutant, or, if none does, its own name."""
    return next(iter(MUTANTS[name].diagnosis), name)


def test_a_source_can_have_two_faults_in_either_order() -> None:
    both = mutant_source("gqa-modulo+lse-base-2")
    assert both == mutant_source("lse-base-2+gqa-modulo")
    for name in ("gqa-modulo", "lse-base-2"):
        assert all(new in both for _, new in MUTANTS[name].edits)


def test_a_fault_that_is_named_twice_is_made_once() -> None:
    ((_, new),) = MUTANTS["softcap-overflows"].edits
    assert mutant_source("softcap-overflows+softcap-overflows").count(new) == 1


@pytest.mark.parametrize("name", ["k-scale-ignored+v-scale-ignored", "sink-for-each-split+sink-lost-in-splits"])
def test_faults_whose_edits_overlap_are_refused(name: str) -> None:
    with pytest.raises(TargetError, match=r"the edits of its faults overlap, .*choose faults of other lines"):
        resolve(f"mutant:{name}")


def test_an_unknown_fault_of_two_is_named() -> None:
    with pytest.raises(TargetError, match="there is no mutant 'gqa-modul'; did you mean"):
        resolve("mutant:lse-base-2+gqa-modul")


def test_pairs_depend_on_the_seed_and_have_different_causes() -> None:
    pairs = draw_pairs(40, 3, list(MUTANTS))
    assert pairs == draw_pairs(40, 3, list(MUTANTS)) != draw_pairs(40, 4, list(MUTANTS))
    assert len(set(pairs)) == 40
    for one, other in pairs:
        assert cause(one) != cause(other)
        mutant_source(f"{one}+{other}")
    assert ("grid-limited",) not in draw_alone(1000, 0, list(MUTANTS))
    with pytest.raises(UsageError, match="no two mutants of different causes"):
        draw_pairs(1, 0, ["gqa-modulo"])


@pytest.mark.parametrize(
    ("findings", "missed", "extra"),
    [
        ((), ("a", "b"), 0),
        ((finding("a"),), ("b",), 0),
        ((finding("a", "b"),), ("b",), 0),
        ((finding("a", "b"), finding("a")), (), 0),
        ((finding("a"), finding("a")), ("b",), 1),
        ((finding(), finding("b"), finding("a")), (), 1),
    ],
)
def test_each_finding_stands_for_one_fault(findings: tuple[PairFinding, ...], missed: tuple[str, ...], extra: int) -> None:
    seen = measured(*findings)
    assert (len(seen.missed), seen.extra) == (len(missed), extra)
    assert set(missed) == set(seen.missed) or len(findings[0].shows) == 2


def test_the_totals_count_pairs_and_a_measurement_survives_json() -> None:
    both = measured(finding("a", fault="x"), finding("b", fault="y"))
    alone = PairMeasurement(("a",), 0, 600, (finding("a"), finding("a")), 1.0)
    data = to_json([both, measured(finding("a")), alone])
    counts = {name: data[name] for name in ("pairs", "both_reported", "named_apart", "with_extra_findings")}
    assert counts == {"pairs": 2, "both_reported": 1, "named_apart": 1, "with_extra_findings": 1}
    stored = next(each for each in data["campaigns"] if each["missed"] == () and len(each["mutants"]) == 2)
    assert PairMeasurement.from_json({name: stored[name] for name in PairMeasurement.__slots__}) == both


def test_a_line_says_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    show_pair(measured(finding("a", fault="x")), Console(width=200))
    assert capsys.readouterr().out == "a+b: 1 finding in 600 cases, 1 s; named x; missed b\n"
