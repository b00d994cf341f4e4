"""Targets that need finite numbers where nothing should matter: found without a declaration, clean and searched with one."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import needs_finite
import pytest

from fuzz_decode import check, fuzz
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.finite_places import needed_places, with_finite
from fuzz_decode.cli import CLEAN, FINDINGS, USAGE, main
from fuzz_decode.corpus.read import load
from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.outcome import Status
from fuzz_decode.report.facts import case_facts
from fuzz_decode.targets import target
from fuzz_decode.targets.description import limits
from fuzz_decode.targets.target import Target, target_from_function

SAMPLES = Path(needs_finite.__file__)
TAIL = Case(seq_lens=(6,), block_size=4)
WINDOW = replace(TAIL, seq_lens=(8,), window=2)


def sample(name: str) -> Target:
    return target_from_function(name, getattr(needs_finite, name))


def failures(name: str, count: int, seed: int = 0) -> list[tuple[int, str]]:
    """Number and signature of each failing case among the first `count` of a campaign."""
    on = sample(name)
    outcomes = (run_case(case, on, "cpu") for case in itertools.islice(case_stream(seed, on.case_space()), count))
    return [(number, str(outcome.signature)) for number, outcome in enumerate(outcomes) if outcome.findings]


def test_without_a_declaration_the_weakness_is_a_finding() -> None:
    assert failures("undeclared", 5)[0][1] == "wrong-value:out"
    assert run_case(TAIL, sample("undeclared"), "cpu").signature == "wrong-value:out"


@pytest.mark.parametrize("name", ["declared", "declared_with_a_window", "with_unwritten_scratch"])
def test_with_a_declaration_nothing_is_found(name: str) -> None:
    assert failures(name, 40) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["declared", "declared_with_a_window", "with_unwritten_scratch"])
@pytest.mark.parametrize("seed", [1, 2])
def test_with_a_declaration_nothing_is_ever_found(name: str, seed: int) -> None:
    assert failures(name, 300, seed) == []


@pytest.mark.parametrize("name", ["with_k_s_block_stride", "with_one_token_too_many", "undeclared_window"])
@pytest.mark.parametrize("seed", range(3))
def test_another_fault_is_found_within_a_few_cases(name: str, seed: int) -> None:
    number, signature = failures(name, 10, seed)[0]
    assert (number < 6, signature) == (True, "wrong-value:out")


def test_a_case_of_another_target_gets_what_the_target_declares() -> None:
    assert TAIL.finite == ()
    assert run_case(TAIL, sample("declared"), "cpu").status is Status.PASSED
    assert run_case(WINDOW, sample("undeclared_window"), "cpu").status is Status.FAILED
    assert run_case(with_finite(WINDOW, ("before_window",)), sample("undeclared_window"), "cpu").status is Status.PASSED


def test_the_needed_places_of_a_failure_are_found() -> None:
    def passes_on(name: str, case: Case) -> bool:
        return run_case(case, sample(name), "cpu").status is Status.PASSED

    both = replace(TAIL, window=2, table=BlockTable(first_block=1))
    assert needed_places(both, lambda case: passes_on("undeclared", replace(case, window=None))) == ("tail",)
    assert needed_places(with_finite(both, ("tail",)), lambda case: passes_on("undeclared_window", case)) == ("before_window",)
    assert needed_places(TAIL, lambda case: passes_on("with_one_token_too_many", case)) == ()


def test_a_declaration_is_said_and_checked() -> None:
    assert ("needs_finite tail", "NaN in slots after the end of a sequence") in limits(sample("declared"))
    assert sample("declared_with_a_window").needs_finite == ("tail", "before_window")
    for places in (("tails",), "tail", ("tail", 3), 7):
        with pytest.raises(TargetError, match=r"^target f: needs_finite is .*, which is no tuple of names among tail, "):
            target_from_function("f", target(needs_finite=places)(lambda q, k, v, t, n, s: q))  # type: ignore[arg-type]


def test_from_python_the_places_can_be_named() -> None:
    def fn(*arguments: object) -> object:
        return needs_finite.undeclared(*arguments)  # type: ignore[arg-type]

    assert not check(fn, TAIL, device="cpu")
    assert check(fn, TAIL, device="cpu", needs_finite=("tail",))
    assert fuzz(needs_finite.undeclared, iters=20, device="cpu", jobs=1, needs_finite=("tail",)) == ()
    with pytest.raises(UsageError, match=r"^needs_finite must be names among tail, .*, in a tuple, not 'tail'$"):
        check(fn, TAIL, device="cpu", needs_finite="tail")  # type: ignore[arg-type]


def test_a_stored_case_needs_no_declaration_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Minimising keeps what the declaration took away: without it the weakness would fail in the same way."""
    monkeypatch.chdir(tmp_path)
    name = f"{SAMPLES}:with_one_token_too_many"
    arguments = [
        "--iters",
        "20",
        "--stop-after",
        "1",
        "--device",
        "cpu",
        "--jobs",
        "1",
        "--target",
        name,
        "--json",
        "report.json",
    ]
    assert main(arguments) == FINDINGS
    (finding,) = json.loads(Path("report.json").read_text())["findings"]
    assert finding["case"]["finite"] == ["tail"]
    (path,) = Path("corpus").glob("*.json")
    assert load(path).case.finite == ("tail",)
    assert load(path).needed.keys().isdisjoint({"finite"})
    assert main(["replay", str(path), "--device", "cpu", "--target", name]) == FINDINGS
    assert main(["replay", str(path), "--device", "cpu", "--target", f"{SAMPLES}:undeclared"]) == CLEAN


def test_the_command_line_names_places(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{SAMPLES}:undeclared_window"
    run = ["--iters", "10", "--device", "cpu", "--jobs", "1", "--target", name]
    assert main([*run, "--needs-finite", "before_window"]) == CLEAN
    assert main([*run, "--needs-finite", "tails"]) == USAGE
    assert "must be names among tail, before_window" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "places"), [("undeclared", "('tail',)"), ("undeclared_window", "('tail', 'before_window')")])
def test_a_check_suggests_the_declaration(name: str, places: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--check", f"{SAMPLES}:{name}", "--device", "cpu"]) == FINDINGS
    assert f"@fuzz_decode.target(needs_finite={places})" in capsys.readouterr().out


def test_a_check_suggests_nothing_that_would_not_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "--check", f"{SAMPLES}:with_one_token_too_many", "--device", "cpu"]) == FINDINGS
    assert main(["targets", "--check", f"{SAMPLES}:declared", "--device", "cpu"]) == CLEAN
    printed = capsys.readouterr().out
    assert "@fuzz_decode.target" not in printed
    assert "needs_finite tail" in printed


def test_a_diagnosis_names_the_fault_beside_the_declared_weakness() -> None:
    (finding,) = fuzz(needs_finite.with_k_s_block_stride, iters=30, stop_after=1, device="cpu", jobs=1)
    assert finding.case.finite == ("tail",)
    assert "block stride" in finding.diagnosis, finding
    assert "not NaN" in str(finding)
    assert ("not NaN", "finite garbage in slots after the end of a sequence") in case_facts(finding.case)
