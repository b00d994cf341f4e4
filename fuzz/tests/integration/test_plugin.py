"""The pytest plugin in somebody else's repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sample_targets

SAMPLES = Path(sample_targets.__file__)
PLUGIN = ("-p", "no:cacheprovider", "--decode-device", "cpu")


@pytest.fixture
def project(pytester: pytest.Pytester, repo: Path) -> Path:
    """A repository whose corpus holds one case, the aiter bug."""
    folder = pytester.mkdir("corpus")
    for path in (repo / "corpus").glob("*.json"):
        if json.loads(path.read_text())["target"] == "mutant:k-block-stride-dense":
            shutil.copy(path, folder)
    assert len(list(folder.iterdir())) == 1
    return folder


def test_plain_pytest_replays_the_case_on_the_kernel_and_on_its_mutant(pytester: pytest.Pytester, project: Path) -> None:
    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=2)


@pytest.mark.slow
def test_a_target_of_the_users_is_replayed_alone(pytester: pytest.Pytester, project: Path) -> None:
    pytester.runpytest_inprocess(*PLUGIN, "--decode-target", f"{SAMPLES}:honest").assert_outcomes(passed=1)


def test_a_failing_replay_reads_like_a_finding(pytester: pytest.Pytester, project: Path) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--decode-target", "mutant:k-block-stride-dense")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*16 of 16 elements of out are*", "*expected*got*allowed*", "*k_cache*", "*repro*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.slow
def test_a_mutant_that_no_longer_fails_fails_the_test(pytester: pytest.Pytester, project: Path) -> None:
    (path,) = project.iterdir()
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "case": {"seq_lens": [1]}}))
    result = pytester.runpytest_inprocess(*PLUGIN)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*should fail as wrong-value:out, but passes*"])


@pytest.mark.slow
def test_a_broken_file_fails_by_name_and_the_others_still_run(pytester: pytest.Pytester, project: Path) -> None:
    (project / "broken.json").write_text("{")
    result = pytester.runpytest_inprocess(*PLUGIN)

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*broken.json: is not a whole JSON file*"])


@pytest.mark.slow
def test_a_target_that_does_not_exist_fails_in_one_line(pytester: pytest.Pytester, project: Path) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--decode-target", "nowhere:decode")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nowhere does not import: ModuleNotFoundError*"])


def test_json_files_elsewhere_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.mkdir("data").joinpath("other.json").write_text("{}")

    assert pytester.runpytest_inprocess(*PLUGIN).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.slow
def test_the_folder_can_be_another(pytester: pytest.Pytester, project: Path) -> None:
    project.rename(project.with_name("found"))

    pytester.runpytest_inprocess(*PLUGIN, "-o", "decode_corpus=found").assert_outcomes(passed=2)
