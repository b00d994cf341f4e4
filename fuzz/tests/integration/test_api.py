"""fuzz-decode from Python: the same findings as a campaign's, told as data, as text and as a failed assertion."""

from __future__ import annotations

import doctest
import functools
import importlib.util
import itertools
import os
import pkgutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_targets
import torch

import fuzz_decode
from fuzz_decode import Case, Finding, UsageError, api, assert_decode_correct, check, fuzz
from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.corpus.read import load
from fuzz_decode_kernels.paged_decode import paged_decode

SEED, CASES = 3, 8
TWO = Case(seq_lens=(1, 1))  # what the targets that crash are waiting for
LEDGER = """
[[known]]
target = "{target}"
signature = "wrong-value:out"
issue = "https://github.com/ROCm/aiter/pull/3498"
reason = "it is"
expect = "fail"
"""

on_cpu = functools.partial(fuzz, iters=CASES, seed=SEED, device="cpu")
assert_on_cpu = functools.partial(assert_decode_correct, iters=CASES, seed=SEED, device="cpu")


def scaled(factor: float) -> Callable[..., Any]:
    """A closure, so that it runs in this process: right for 1."""

    def decode(q: Any, k_cache: Any, v_cache: Any, block_table: Any, seq_lens: Any, scale: float) -> Any:
        return sample_targets.honest(q, k_cache, v_cache, block_table, seq_lens, scale)[0] * factor

    return decode


def refuses(*args: Any) -> Any:
    raise NotImplementedError("not today")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """What the command line would run."""
    target, folder = f"{Path(sample_targets.__file__).resolve()}:five_percent_off", tmp_path_factory.mktemp("corpus")
    running = Campaign(CampaignSettings(target=target, corpus=folder, device="cpu", seed=SEED, iters=CASES, jobs=1))
    for _ in running.events():
        pass
    return running


def simple_stream(*_: Any) -> Iterator[CallSequence]:
    yield from ((Case(seq_lens=(length,)),) for length in itertools.count(1))


@pytest.fixture
def drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest, where cases need not be of every kind."""
    monkeypatch.setattr("fuzz_decode.campaign.campaign.call_stream", simple_stream)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    """The findings on a closure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fuzz_decode.campaign.campaign.call_stream", simple_stream)
        return on_cpu(scaled(1.05))


def told(bug: Bug) -> tuple[Any, ...]:
    entry = bug.entry
    return entry.signature, entry.case, entry.diagnosis, entry.finding["message"], entry.finding["expected"], bug.count


def facts(finding: Finding) -> tuple[Any, ...]:
    return finding.signature, finding.case, finding.diagnosis, finding.message, finding.expected, finding.count


def test_a_function_gives_the_findings_of_a_campaign_in_workers_and_here(campaign: Campaign) -> None:
    expected = [told(bug) for bug in campaign.state.bugs]

    assert expected
    assert [facts(finding) for finding in on_cpu(sample_targets.five_percent_off)] == expected
    assert [facts(finding) for finding in on_cpu(functools.partial(sample_targets.five_percent_off))] == expected


def test_a_finding_prints_as_the_panel_of_the_terminal(found: tuple[Finding, ...]) -> None:
    (finding,) = found
    lines = str(finding).splitlines()

    assert lines[0].startswith("╭─ wrong-value:out - 8 of 8 cases ─")
    assert f"expected {finding.expected:.6g} got {finding.got:.6g}" in " ".join(str(finding).replace("│", " ").split())
    assert any(line.startswith("│ k_cache ") for line in lines)
    assert lines[-1] == "repro  check(decode, Case(), device='cpu')"
    assert max(map(len, lines)) == 72
    assert "\x1b" not in str(finding)


def test_a_finding_prints_alike_in_a_notebook(found: tuple[Finding, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """There rich would display it instead."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)

    assert str(check(scaled(1.05), device="cpu")).splitlines()[1:] == str(found[0]).splitlines()[1:]


@pytest.mark.usefixtures("drawn_at_once")
def test_what_is_found_is_kept_in_a_corpus_only(found: tuple[Finding, ...], tmp_path: Path) -> None:
    (kept,) = on_cpu(scaled(1.05), corpus=tmp_path)

    assert kept.path is not None
    assert load(kept.path).case == kept.case
    assert [finding.path for finding in found] == [None]


@pytest.mark.usefixtures("drawn_at_once")
@pytest.mark.usefixtures("heeded_interrupts")
def test_what_is_found_before_an_interrupt_is_kept(tmp_path: Path) -> None:
    calls = iter(range(3))

    def decode(*args: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return scaled(1.05)(*args)

    with pytest.raises(KeyboardInterrupt):
        on_cpu(decode, corpus=tmp_path)
    assert [load(path).signature for path in tmp_path.iterdir()] == ["wrong-value:out"]


@pytest.mark.usefixtures("drawn_at_once")
def test_a_failed_assertion_begins_with_the_diagnosis_and_tells_the_story(found: tuple[Finding, ...]) -> None:
    with pytest.raises(AssertionError) as raised:
        assert_on_cpu(scaled(1.05))
    first, second, *story = str(raised.value).splitlines()

    assert first == found[0].diagnosis
    assert second.startswith("1 finding in 1 case of ")
    assert second.endswith("scaled.<locals>.decode on cpu, seed 3")
    assert story[1:] == str(found[0]).splitlines()[1:]  # but for how many cases showed it


def test_a_correct_function_passes_and_leaves_torch_as_it_was() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert_on_cpu(scaled(1.0))
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)


def test_warnings_of_a_function_are_no_findings_though_they_are_errors_here() -> None:
    def decode(*args: Any) -> Any:
        warnings.warn("slow path", stacklevel=1)
        return scaled(1.0)(*args)

    assert check(decode, device="cpu")


@pytest.mark.usefixtures("drawn_at_once")
def test_nothing_tested_is_no_success() -> None:
    with pytest.raises(AssertionError, match=r"nothing was tested: none of 8 cases .*8 x NotImplementedError: not today"):
        assert_on_cpu(functools.partial(refuses))
    with pytest.warns(UserWarning, match="nothing was tested"):
        assert on_cpu(functools.partial(refuses)) == ()


@pytest.mark.usefixtures("drawn_at_once")
def test_known_failures_are_no_failures_until_they_are_fixed(tmp_path: Path) -> None:
    wrong, right = scaled(1.05), scaled(1.0)  # of one name
    on_cpu(wrong, corpus=tmp_path, minimize_time=1)
    (tmp_path / "ledger.toml").write_text(LEDGER.format(target=f"{wrong.__module__}:{wrong.__qualname__}"))

    assert_on_cpu(wrong, corpus=tmp_path)
    with pytest.raises(AssertionError, match=r"wrong-value:out on .* no longer fails"):
        assert_on_cpu(right, corpus=tmp_path)
    with pytest.warns(UserWarning, match="no longer fails"):
        assert on_cpu(right, corpus=tmp_path) == ()


def test_one_case_passes_fails_or_is_rejected() -> None:
    failed, rejected = check(scaled(1.05), device="cpu"), check(functools.partial(refuses), device="cpu")

    assert check(scaled(1.0), TWO, device="cpu").status == "passed"
    assert (bool(failed), failed.status) == (False, "failed")
    assert failed.finding is not None
    assert failed.finding.diagnosis.startswith("no known fault explains it")
    assert (bool(rejected), str(rejected)) == (False, "rejected: NotImplementedError: not today")


def test_a_crash_costs_one_case() -> None:
    result = check(sample_targets.leaves_on_two, TWO, device="cpu")

    assert result.finding is not None
    assert result.finding.signature == "crash-exit-3:call"
    assert "goodbye, cruel world" in str(result)


def test_a_finding_that_needs_earlier_calls_is_shown_with_them() -> None:
    first, after = Case(seq_lens=(3,), scale=1.0), Case(seq_lens=(3,), scale=2.0)
    result = check(functools.partial(sample_targets.remembers_the_first_scale), after, before=(first,), device="cpu")
    sample_targets._plans.clear()

    assert not result
    assert "requires the 1 call before it" in str(result)
    assert f"check(fn, {after}, before=({first},), device='cpu')" in str(result)


def test_a_kernel_that_was_compiled_for_a_gpu_is_not_blamed_for_having_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)

    assert "TRITON_INTERPRET=1" in check(functools.partial(paged_decode), device="cpu").reason


@pytest.mark.usefixtures("drawn_at_once")
def test_a_broken_context_ends_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_decode.workers.in_process.is_dead", lambda device: True)

    with pytest.raises(UsageError, match=r"left this process's CUDA context unusable; a function at the top level"):
        on_cpu(scaled(1.0))


@pytest.mark.parametrize(("options", "iters"), [({}, 300), ({"time": 9}, None), ({"iters": 5, "time": 9}, 5)])
def test_a_time_alone_is_no_limit_of_cases(options: dict[str, Any], iters: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[CampaignSettings] = []

    def run_nothing(campaign: Campaign) -> Iterator[Any]:
        made.append(campaign.settings)
        yield from ()

    monkeypatch.setattr(Campaign, "events", run_nothing)
    with pytest.warns(UserWarning, match="none of 0 cases was run"):
        fuzz(scaled(1.0), device="cpu", **options)
    assert [settings.iters for settings in made] == [iters]


def test_an_import_has_a_limit_of_time(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(60)\n")

    for run in (check, fuzz, assert_decode_correct):
        with pytest.raises(UsageError, match=r"was still importing after 0\.5 s"):
            run(f"{tmp_path}/slow_to_import.py:decode", device="cpu", import_timeout=0.5)  # type: ignore[operator]


def test_a_time_may_be_as_short_as_one_likes() -> None:
    with pytest.warns(UserWarning, match="none of 0 cases was run"):
        assert on_cpu(scaled(1.0), iters=None, time=1e-5) == ()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"iters": 0}, "iters must be a whole number, 1 or more, not 0"),
        ({"iters": 2.5}, r"iters must be a whole number, 1 or more, not 2\.5"),
        ({"iters": True}, "iters must be a whole number, 1 or more, not True"),
        ({"iters": "20"}, "iters must be a whole number, 1 or more, not '20'"),
        ({"iters": None}, "iters and time are both None"),
        ({"time": -1}, "time must be a number of seconds above 0, not -1"),
        ({"time": 0}, "time must be a number of seconds above 0, not 0"),
        ({"time": True}, "time must be a number of seconds above 0, not True"),
        ({"time": float("nan")}, "time must be a number of seconds above 0, not nan"),
        ({"time": float("inf")}, "time must be a number of seconds above 0, not inf"),
        ({"time": "10m"}, "time must be a number of seconds above 0, not '10m'"),
        ({"import_timeout": 0}, "import_timeout must be a number of seconds above 0, not 0"),
        ({"timeout": None}, "timeout must be a number of seconds above 0, not None"),
        ({"seed": None}, "seed must be a whole number, 0 or more, not None"),
        ({"sequence": 101}, "sequence must be a whole number, 2 to 100, not 101"),
        ({"dtypes": ["float64"]}, r"dtypes must be names among float32, float16, bfloat16, in a tuple, not \['float64'\]"),
        ({"dtypes": "float16"}, "dtypes must be names among float32, float16, bfloat16, in a tuple, not 'float16'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, not 'gpu'"),
        ({"engine": "fast"}, "engine must be one of auto, native, interpreter, not 'fast'"),
        ({"engine": "native"}, "engine native runs in workers, which cannot import .*; make it a function of a module"),
        ({"sequence": 4}, "sequence needs fresh processes, and none finds"),
        ({"corpus": __file__}, "is a file; it must be a folder"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        on_cpu(scaled(1.0), **options)


@pytest.mark.parametrize(
    ("fn", "sentence"),
    [
        (3, "must be a function or the name of a target, not int"),
        (lambda q: q, "takes 1 positional arguments; a target takes"),
    ],
)
def test_what_is_no_target_is_named_by_the_test_alone(fn: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        assert_on_cpu(fn)
    assert [entry.name for entry in raised.traceback][-1] == "assert_decode_correct"


@pytest.mark.parametrize("case", [3, Case(q_len=0)])
def test_what_is_no_case_is_named(case: Any) -> None:
    with pytest.raises(UsageError, match=r"a case must be a fuzz_decode\.Case, not int|case field q_len"):
        check(scaled(1.0), case, device="cpu")


SCRIPT = """
from fuzz_decode import UsageError, fuzz
from sample_targets import only_out

print(fuzz(only_out, 2, device="cpu"))


def decode(*args): return only_out(*args)


try:
    fuzz(decode, 2, device="cpu")
except UsageError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_script_needs_no_guard_but_for_functions_of_its_own(tmp_path: Path) -> None:
    """Nor does a worker choke on what makes the script's warnings errors."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command, environment = [sys.executable, "-W", "error", "script.py"], {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False)

    assert (run.stderr, run.returncode) == ("", 0)
    assert run.stdout.splitlines()[0] == "()"
    assert 'belongs under `if __name__ == "__main__":`' in run.stdout


DRAWN_AT_ONCE = """
import fuzz_decode.campaign.campaign
from fuzz_decode import Case

fuzz_decode.campaign.campaign.call_stream = lambda *_: ((Case(seq_lens=(length,)),) for length in range(1, 100))
"""
TESTS = """
import pytest
from fuzz_decode import assert_decode_correct
from sample_targets import honest

def five_percent_off(q, *rest): return honest(q, *rest)[0] * 1.05

def test_wrong():
    assert_decode_correct(five_percent_off, iters=5, device="cpu")

class TestMore:
    @pytest.mark.parametrize("factor", [1.0, 1.05])
    def test_closure(self, factor):
        assert_decode_correct(lambda q, *rest: honest(q, *rest)[0] * factor, iters=5, device="cpu")
"""


@pytest.mark.slow
def test_a_suite_shows_the_story_and_nothing_else(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pytester.mkdir("tests").joinpath("test_decode.py").write_text(TESTS)
    pytester.makeconftest(DRAWN_AT_ONCE)
    pytester.makeini(f"[pytest]\nfilterwarnings = error\npythonpath = {Path(sample_targets.__file__).parent}")
    several = ["-n", "1"] if importlib.util.find_spec("xdist") else []
    result = pytester.runpytest_subprocess("--import-mode=importlib", "-p", "no:cacheprovider", *several)
    panels = [line for line in result.outlines if line.startswith("E ") and "│" in line]

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "E       1 finding in 1 case of tests/test_decode.py:five_percent_off on cpu, seed 0",
            "E       ╭─ wrong-value:out - 1 of 1 case ─*",
            "E       1 finding in 1 case of *:TestMore.test_closure.<locals>.<lambda> on cpu, seed 0",
        ]
    )
    assert max(map(len, panels)) <= 80
    assert "api.py" not in result.stdout.str()


@pytest.mark.slow
def test_the_examples_of_the_docstrings_are_true() -> None:
    tests = doctest.DocTestFinder(exclude_empty=True).find(api)
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)

    assert {test.name.rpartition(".")[2] for test in tests} >= {"check", "fuzz", "assert_decode_correct"}
    assert runner.failures == 0


@pytest.mark.parametrize("name", fuzz_decode.__all__)
def test_public_names_are_there_and_no_module_takes_them(name: str) -> None:
    """A module of that name would take its place once it is imported."""
    modules = {module.name for module in pkgutil.iter_modules(fuzz_decode.__path__)}

    assert getattr(importlib.import_module("fuzz_decode"), name) is not None
    assert name in dir(fuzz_decode)
    assert name not in modules
