"""The pytest plugin in somebody else's repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sample_targets

from fuzz_decode.errors import FileError
from fuzz_decode.plugin import is_case_file
from fuzz_decode.workers.engines import compiler

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


@pytest.mark.slow
@pytest.mark.no_gpu
@pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
def test_the_summary_says_once_that_the_interpreter_took_over(pytester: pytest.Pytester, project: Path) -> None:
    target = f"{SAMPLES.with_name('triton_targets.py')}:combines_with_a_loop"
    result = pytester.runpytest_inprocess(*PLUGIN, "--decode-target", target)

    lines = [line for line in result.outlines if line.startswith("fuzz-decode: engine: interpreter, since the native engine")]
    assert len(lines) == 1


def test_a_failing_replay_reads_like_a_finding(pytester: pytest.Pytester, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    result = pytester.runpytest_inprocess(*PLUGIN, "--decode-target", "mutant:k-block-stride-dense")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*16 of 16 elements of out are*", "*expected*got*allowed*", "*k_cache*", "*repro*"])
    result.stdout.fnmatch_lines(["FAILED corpus/*.json::mutant:k-block-stride-dense - block stride of K read as *"])
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
    result = pytester.runpytest_inprocess(*PLUGIN, "-o", "decode_corpus=corpus")

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


# contents of corpus/*.json in a repository that has nothing to do with decode kernels
FOREIGN = {
    "0123456789ab": b"{}",  # named as a case file is
    "array": b'[{"schema": 1, "case": {}}]',
    "number": b"1",
    "text": b'"schema case"',
    "empty": b"",
    "broken": b'{"schema": 1, "case": {}',
    "not-utf-8": b'{"schema": 1, "case": "\xff"}',
    "utf-16": '{"text": "ä"}'.encode("utf-16"),
    "nested": b"[" * 100_000,
    "long-number": b'{"schema": ' + b"1" * 10_000 + b', "case": {}}',
    "json-schema": b'{"schema": "https://json-schema.org/draft/2020-12/schema", "case": {}}',
    "case-of-letters": b'{"schema": 1, "case": "upper"}',
    "boolean": b'{"schema": true, "case": {}}',
    "large": b'{"schema": 1, "case": {"text": "' + b"x" * 2**20 + b'"}}',
}


@pytest.fixture
def foreign(pytester: pytest.Pytester) -> None:
    corpus = pytester.mkdir("corpus")
    for name, data in FOREIGN.items():
        corpus.joinpath(f"{name}.json").write_bytes(data)
    corpus.joinpath("folder.json").mkdir()
    corpus.joinpath("link.json").symlink_to("nowhere")


@pytest.mark.usefixtures("foreign")
def test_json_files_of_others_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_of_theirs(): pass")

    pytester.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=1)


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("chosen", ["-odecode_corpus=corpus", "--decode-target=bundled"])
def test_whoever_names_the_corpus_is_told_of_each_broken_file(
    chosen: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # the short summary is cut there
    result = pytester.runpytest_inprocess(*PLUGIN, chosen)

    result.assert_outcomes(failed=len(FOREIGN))
    result.stdout.fnmatch_lines_random([f"FAILED corpus/{name}.json::bundled - */{name}.json: *" for name in FOREIGN])
    assert "Traceback" not in result.stdout.str()


def test_a_file_that_cannot_be_read_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise FileError(path, "cannot be read: Permission denied")

    path = tmp_path / "a.json"
    path.write_text("{}")
    monkeypatch.setattr("fuzz_decode.plugin.read_whole", denied)

    assert not is_case_file(path)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    with open(path, "wb") as file:
        file.truncate(2**40)  # sparse
    monkeypatch.setattr("fuzz_decode.plugin.read_whole", lambda path: pytest.fail("is read"))

    assert not is_case_file(path)


@pytest.mark.parametrize("schema", [0, 2])
def test_a_case_file_of_another_version_is_no_foreign_file(schema: int, pytester: pytest.Pytester) -> None:
    pytester.mkdir("corpus").joinpath("a.json").write_text(json.dumps({"schema": schema, "case": {}}))
    result = pytester.runpytest_inprocess(*PLUGIN)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*a.json: schema is {schema}; this version reads schema 1"])
