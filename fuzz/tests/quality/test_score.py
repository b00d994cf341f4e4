"""Detection power: the statistics, what is remembered, and small scores in real processes."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import Any

import pytest
import sample_targets
from machine import DEVICE
from rich.console import Console

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.cli import main
from fuzz_decode.cli import score as score_command
from fuzz_decode.errors import UsageError
from fuzz_decode.evaluate import settings as setting_module
from fuzz_decode.evaluate.measure import EvaluationPool
from fuzz_decode.evaluate.measurements import Measurement, MeasurementStore, key
from fuzz_decode.evaluate.mutant_inventory import Subject, clean, real, subjects
from fuzz_decode.evaluate.score import Score, clean_tasks
from fuzz_decode.evaluate.settings import CASES, EvaluationSettings, with_random_lengths
from fuzz_decode.evaluate.statistics import quantile, upper_bound
from fuzz_decode.evaluate.tally import tally
from fuzz_decode.evaluate.task import SharedCases, Task, batched
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.outcome import Outcome
from fuzz_decode.problems.build import build_problem
from fuzz_decode.report.terminal.score import ScoreView
from fuzz_decode.targets import resolve
from fuzz_decode.targets.target import Target
from fuzz_decode.workers.engines import pick_engine
from fuzz_decode.workers.evaluate_case import evaluate_case
from fuzz_decode.workers.protocol import EvaluateCase, WorkerConfig

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")]
SAMPLES = Path(sample_targets.__file__)
SETTING = EvaluationSettings("cpu", 30.0, 3)
SPACE = CaseSpace()


def sample(function: str) -> Subject:
    return Subject(function, f"{SAMPLES}:{function}", "X", function)


def score(folder: Path, *wanted: Subject, seeds: int = 1, setting: EvaluationSettings = SETTING, clean_cases: int = 0) -> Score:
    return Score(wanted, setting, seeds, clean_cases, MeasurementStore(folder / "journal.jsonl"), jobs=2)


# statistics


@pytest.mark.parametrize(("share", "cases"), [(0.5, 3), (0.9, 9), (0.1, 1)])
def test_without_survivors_a_quantile_is_that_of_the_numbers(share: float, cases: int) -> None:
    assert quantile([(9, True), (1, True), (3, True), (2, True), (5, True)], share) == cases


def test_a_survivor_took_more_cases_than_it_had() -> None:
    half = [(4, True), (2, True), (500, False), (500, False)]
    assert quantile(half, 0.5) == 4
    assert quantile(half, 0.9) is None
    assert quantile([(500, False)], 0.5) is None
    assert quantile([], 0.5) is None


def test_one_that_was_watched_for_less_counts_as_long_as_it_was_watched() -> None:
    """Kaplan and Meier's own way: 1/5 die at 1, then 1/3 of the rest at 4, all at 6."""
    observed = [(1, True), (2, False), (4, True), (5, False), (6, True)]
    assert [quantile(observed, share) for share in (0.2, 0.3, 0.46, 0.47, 1.0)] == [1, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("events", "trials", "rate"), [(0, 100, 0.029513), (0, 10_000, 0.00029953), (1, 100, 0.046560), (5, 100, 0.102253)]
)
def test_the_upper_bound_is_that_of_clopper_and_pearson(events: int, trials: int, rate: float) -> None:
    bound = upper_bound(events, trials)
    assert bound == pytest.approx(rate, rel=1e-4)
    p = Fraction(bound)
    at_most = (
        sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(events + 1)) if trials <= 100 else Fraction(1, 20)
    )
    assert float(at_most) == pytest.approx(0.05, rel=1e-6)


def test_nothing_is_known_without_trials() -> None:
    assert upper_bound(0, 0) == upper_bound(3, 3) == 1.0


# what is measured


def test_the_groups_and_names_of_mutants() -> None:
    assert [subject.name for subject in subjects("real")] == list(real())
    assert [subject.target for subject in subjects("lse-base-2,gqa-modulo")] == ["mutant:lse-base-2", "mutant:gqa-modulo"]
    assert len({subject.digest for subject in (*subjects("real"), clean())}) == len(real()) + 1
    with pytest.raises(UsageError, match="there is no mutant 'nonsense'"):
        subjects("lse-base-2,nonsense")


def test_the_fuzzers_cases_are_those_of_a_campaign() -> None:
    asked = list(SETTING.questions(7, SPACE))
    with closing(case_stream(7, SPACE)) as stream:
        assert asked == [(case, None) for case in itertools.islice(stream, 3)]


def test_shared_cases_are_drawn_once_and_no_further_than_needed() -> None:
    source = iter([(Case(seed=seed), None) for seed in range(4)])
    cases = SharedCases(source)
    assert [cases.get(number) for number in (1, 0, 1)] == [(Case(seed=1), None), (Case(seed=0), None), (Case(seed=1), None)]
    assert next(source) == (Case(seed=2), None)
    assert [cases.get(number) for number in (2, 3)] == [(Case(seed=3), None), None]


def test_streams_of_several_seeds_may_be_drawn_in_turns() -> None:
    def drawn(seed: int) -> list[Case]:
        with closing(case_stream(seed, SPACE)) as stream:
            return list(itertools.islice(stream, 250))

    alone = drawn(1), drawn(2)
    with closing(case_stream(1, SPACE)) as one, closing(case_stream(2, SPACE)) as two:
        assert tuple(map(list, zip(*itertools.islice(zip(one, two, strict=False), 250), strict=True))) == alone


ABLATED: dict[str, Callable[[Case], bool]] = {
    "no-tagged": lambda case: case.data != "tagged",
    "contiguous": lambda case: case == in_plain_layout(case),
    "random-lengths": lambda case: min(case.seq_lens) >= 1 and max(case.seq_lens) <= 200,
}


@pytest.mark.parametrize("name", ABLATED)
def test_an_ablation_takes_one_thing_from_the_same_cases(name: str) -> None:
    whole = list(dataclasses.replace(SETTING, cases=60).questions(0, SPACE))
    without = list(dataclasses.replace(SETTING, cases=60, ablate=name).questions(0, SPACE))
    assert all(ABLATED[name](case) and is_valid(case) for case, _ in without)
    assert not all(ABLATED[name](case) for case, _ in whole)
    assert [case.seed for case, _ in whole] == [case.seed for case, _ in without]


def test_random_lengths_are_the_same_each_time_and_fewer_where_strides_are_huge() -> None:
    case = Case(seq_lens=(1, 2, 3), seed=5)
    assert with_random_lengths(case) == with_random_lengths(case) != case
    wide = dataclasses.replace(case, k=dataclasses.replace(case.k, pad=(2**30, 0, 0, 0)))
    assert sum(with_random_lengths(wide).seq_lens) < 2**33 // 2**30


def test_without_poison_only_noise_is_read() -> None:
    """What reads the unused slots and multiplies by 0 gives NaN only where there is NaN."""
    case, target = Case(seq_lens=(1,), block_size=2), "mutant:tail-v-unmasked"
    assert run_case(case, resolve(target), DEVICE).signature == "wrong-value:out"
    assert run_case(case, resolve(target), DEVICE, "random").signature == ""
    trial = dataclasses.replace(SETTING, ablate="no-poison").trial(target, case, None)
    assert evaluate_case(trial, DEVICE).signature == ""
    assert build_problem(case, DEVICE, memory=trial.memory).k_cache.isfinite().all()


def test_without_poison_allocations_are_clean() -> None:
    scratch = Case(seq_lens=(0,))
    assert run_case(scratch, resolve("mutant:empty-split-unwritten"), DEVICE).signature == "wrong-value:out"


def test_limits() -> None:
    assert EvaluationSettings("cpu", 1.0).limit == CASES
    assert EvaluationSettings("cpu", 1.0, grid="sglang").limit == 28
    assert EvaluationSettings("cpu", 1.0, 5, grid="sglang").limit == 5
    every = [case for case, _ in EvaluationSettings("cpu", 1.0, grid="sglang").questions(0, SPACE)]
    few = [case for case, _ in EvaluationSettings("cpu", 1.0, 5, grid="sglang").questions(0, SPACE)]
    assert few == [every[place] for place in (0, 5, 11, 16, 22)]
    assert score_command.ABLATIONS == setting_module.ABLATIONS


def test_the_clean_kernel_gets_the_cases_it_is_asked_for() -> None:
    assert [task.setting.limit for task in clean_tasks(SETTING, 250)] == [100, 100, 50]
    assert len({task.seed for task in clean_tasks(SETTING, 250)}) == 3
    assert len(list(clean_tasks(EvaluationSettings("cpu", 1.0, grid="sglang"), 50))) == 2
    assert not list(clean_tasks(SETTING, 0))


def test_a_process_takes_one_run_or_on_cuda_one_kernel() -> None:
    def tasks(device: str) -> list[Task]:
        made = Score(subjects("lse-base-2,gqa-modulo"), EvaluationSettings(device, 1.0, 3), 2, 0, MeasurementStore(None), 1)
        return made.tasks()

    assert [[task.seed for task in batch] for batch in batched(tasks("cpu"))] == [[0], [0], [1], [1]]
    assert [[task.seed for task in batch] for batch in batched(tasks("cuda"))] == [[0, 1], [0, 1]]


# the journal


def test_a_second_score_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = subjects("lse-base-2")
    first = score(tmp_path, *wanted, seeds=2, clean_cases=2)
    list(first.events())
    monkeypatch.setattr("fuzz_decode.evaluate.score.EvaluationPool", None)
    second = score(tmp_path, *wanted, seeds=2, clean_cases=2)
    assert sorted(second.events(), key=str) == sorted([*first.measured, *first.clean], key=str)
    assert (first.remembered, second.remembered) == (0, 3)
    assert second.tally() == first.tally()


def test_another_source_seed_or_setting_is_another_measurement() -> None:
    subject = clean()
    others = [
        key(subject, 0, SETTING),
        key(subject, 1, SETTING),
        key(dataclasses.replace(subject, digest="edited"), 0, SETTING),
        *(key(subject, 0, dataclasses.replace(SETTING, **change)) for change in CHANGES),
    ]
    assert len(set(others)) == len(others)
    assert key(subject, 0, dataclasses.replace(SETTING, timeout=1.0)) == key(subject, 0, SETTING)


CHANGES: tuple[dict[str, Any], ...] = ({"device": "cuda"}, {"cases": 4}, {"ablate": "contiguous"}, {"grid": "aiter"})


def test_a_line_that_was_not_finished_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    MeasurementStore(path).add("a", Measurement("x", "", 0, 3))
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    journal = MeasurementStore(path)
    assert (journal.get("a"), path.read_text()) == (Measurement("x", "", 0, 3), whole)


@pytest.mark.parametrize("text", ["nonsense\n", "{}\n", "[1]\n", '{"key": "a", "colour": 1}\n', "a letter to my aunt"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match="--resume"):
        MeasurementStore(path)
    assert path.read_text() == text


# small scores


def test_two_mutants_two_seeds_and_what_is_told_of_them(tmp_path: Path) -> None:
    files = {option: tmp_path / option for option in ("json", "markdown", "resume")}
    words = [word for option, path in files.items() for word in (f"--{option}", str(path))]
    mutants = "lse-base-2,out-store-too-wide"
    assert main(["score", "--mutants", mutants, "--seeds", "2", "--cases", "3", "--clean", "2", "--device", "cpu", *words]) == 0

    data = json.loads(files["json"].read_text())
    engine = data["setting"].pop("engine", "interpreter")
    assert engine == pick_engine("auto", "cpu").engine
    assert data["setting"] == {"ablate": "", "cases": 3, "cut": {}, "device": "cpu", "grid": "", "seeds": 2, "timeout": 60.0}
    assert (data["mutants"], data["detected"], data["median"], data["clean"], data["alarms"]) == (2, 2, 1, 2, 0)
    assert data["alarm_rate"] == pytest.approx(upper_bound(0, 2))
    rows = {row["name"]: row for row in data["rows"]}
    assert {name: (row["killed"], row["runs"], row["oracle"]) for name, row in rows.items()} == {
        "lse-base-2": (2, 2, "numeric"),
        "out-store-too-wide": (2, 2, "guards"),
    }
    assert [(run["subject"], run["seed"]) for run in data["runs"]] == list(itertools.product(mutants.split(","), (0, 1)))
    assert set(data["runs"][0]) == set(Measurement.__slots__)
    assert "| lse-base-2 | K2 | 2/2 | 1 | 1 | numeric | 1/1 |" in files["markdown"].read_text()
    assert len(files["resume"].read_text().splitlines()) == 5


def test_a_crash_is_a_kill_and_the_next_kernel_is_measured_all_the_same(tmp_path: Path) -> None:
    crash, honest = sample("segfaults_on_two"), sample("honest")
    made = Score([crash, honest], EvaluationSettings("cpu", 30.0, 150), 1, 0, MeasurementStore(None), jobs=1)
    measured = {each.subject: each for each in made.events()}
    assert (measured[crash.name].oracle, measured[crash.name].signature) == ("worker", "crash-SIGSEGV:call")
    assert (measured[honest.name].killed, measured[honest.name].cases) == (False, 150)


def test_a_hang_is_a_kill() -> None:
    made = Score([sample("hangs_on_two")], EvaluationSettings("cpu", 5.0, 150), 1, 0, MeasurementStore(None), jobs=1)
    assert [(each.oracle, each.signature) for each in made.events()] == [("worker", "timeout:call")]


def test_a_survivor_is_told_as_one() -> None:
    survivor, other = Measurement("a", "S1", 0, 500), Measurement("b", "S2", 0, 4, 1, oracle="numeric")
    told = tally([Subject("a", "", "S1", ""), Subject("b", "", "S2", ""), Subject("c", "", "M1", "")], [survivor, other])
    assert (told.mutants, told.detected, told.strides) == (2, 1, 2)
    assert [(row.name, row.survived, row.median) for row in told.rows] == [("a", True, None), ("b", False, 4)]
    assert (told.median, told.stride_median) == (4, 4)


def test_mutants_that_are_the_kernel_count_in_nothing() -> None:
    alike = Subject("a", "", "S1", "", equivalent="the same")
    told = tally([alike], [Measurement("a", "S1", 0, 500)])
    assert (told.mutants, told.detected, told.classes, told.rows[0].equivalent) == (0, 0, (), "the same")


def test_what_is_beyond_reach_counts_as_a_mutant_is_told_and_not_run() -> None:
    far, near = Subject("a", "", "M1", "", beyond="GPU only: a dot"), Subject("b", "", "M1", "")
    score = Score([far, near], SETTING, 1, 0, MeasurementStore(None), 1, measured=[Measurement("b", "M1", 0, 500)])
    assert {task.subject.name for task in score.tasks()} == {"b"}
    told = score.tally()
    assert (told.mutants, told.detected) == (2, 0)
    lines = list(ScoreView(score, Console(width=80)).totals(told))
    assert "1 of them are beyond the reach of any case and were not run" in lines


def test_only_the_expected_fault_is_a_right_diagnosis() -> None:
    told = (("this", True), ("this", False), ("that", True), ("", False))
    named = [
        Measurement("a", "", seed, 2, 1, asked=True, diagnosed=fault, confident=sure) for seed, (fault, sure) in enumerate(told)
    ]
    row = tally([Subject("a", "", "", "", faults=("this",))], [*named, Measurement("a", "", 4, 2, 1)]).rows[0]
    assert (row.right, row.wrong, row.asked) == (1, 1, 4)


def names_it(case: Case, target: Target, device: str, outcome: Outcome) -> tuple[str, bool]:
    return f"{target.name} {outcome.signature}", True


def test_a_failure_is_diagnosed_when_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_decode.workers.evaluate_case.diagnose", names_it)
    trial = EvaluateCase("mutant:lse-base-2", Case(seq_lens=(3,)), diagnose=True)
    told = evaluate_case(trial, DEVICE)
    assert (told.diagnosed, told.confident) == ("mutant:lse-base-2 wrong-value:lse", True)
    assert not evaluate_case(dataclasses.replace(trial, diagnose=False), DEVICE).diagnosed
    assert not evaluate_case(dataclasses.replace(trial, target="bundled"), DEVICE).diagnosed


def test_asking_for_a_diagnosis_changes_nothing_that_was_measured() -> None:
    tasks = [Task(subjects("lse-base-2")[0], 0, SETTING, diagnose=True)]
    with closing(EvaluationPool(WorkerConfig("bundled", "cpu", 30.0), 1)) as pool:
        ((_, measured),) = pool.measurements(tasks)
    assert (measured.cases, measured.failures, measured.signature) == (1, 1, "wrong-value:lse")
    assert (measured.asked, measured.diagnosed) == (True, "lse-base-2")


@pytest.mark.parametrize(
    "words",
    [
        ["--mutants", "nonsense"],
        ["--grid", "pytorch"],
        ["--seeds", "0"],
        ["--grid", "vllm", "--ablate", "contiguous"],
        ["--json", "/"],
    ],
)
def test_bad_input_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *words]) == 2
    assert capsys.readouterr().err.startswith("fuzz-decode: error: ")


def test_what_was_measured_is_kept_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Score) -> Any:
        yield self._note(Measurement("lse-base-2", "", 0, 1, 1, oracle="numeric"))
        raise KeyboardInterrupt

    monkeypatch.setattr(Score, "events", interrupted)
    file = tmp_path / "score.json"
    assert main(["score", "--mutants", "lse-base-2", "--json", str(file)]) == 130
    assert json.loads(file.read_text())["detected"] == 1
