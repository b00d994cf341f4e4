"""The command line as people and scripts meet it: exit codes, one-line errors, files kept."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sample_targets

from fuzz_decode.cases.serialization import case_to_json
from fuzz_decode.cli import CLEAN, FINDINGS, INTERRUPTED, USAGE, main
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.targets.adapters import ADAPTERS
from fuzz_decode_kernels.mutants.load import MUTANTS

SAMPLES = Path(sample_targets.__file__)
BUG = "mutant:k-block-stride-dense"
ON_CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus and the report of a campaign that found the aiter bug."""
    folder = tmp_path_factory.mktemp("found")
    arguments = [
        "--iters",
        "30",
        "--jobs",
        "1",
        "--target",
        BUG,
        "--corpus",
        str(folder / "corpus"),
        "--json",
        str(folder / "report.json"),
    ]
    assert main([*arguments, "--stop-after", "1", *ON_CPU]) == FINDINGS
    return folder


def test_a_clean_run_exits_with_0_and_reports_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"

    assert main(["--iters", "5", "--jobs", "1", "--corpus", str(tmp_path / "corpus"), "--json", str(report), *ON_CPU]) == CLEAN
    assert "0 findings in 5 cases" in capsys.readouterr().out
    assert json.loads(report.read_text())["findings"] == []


def test_the_report_is_written_while_the_campaign_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr("fuzz_decode.cli.run.JSON_SECONDS", 0.0)
    monkeypatch.setattr("fuzz_decode.files.write_report", lambda _, text: written.append(json.loads(text)["cases"]))

    options = ["--iters", "3", "--jobs", "1", "--corpus", str(tmp_path / "corpus"), "--json", str(tmp_path / "report.json")]
    assert main([*options, *ON_CPU]) == CLEAN
    assert written == sorted(written)  # some events are no news
    assert set(written) == {0, 1, 2, 3}


def test_the_report_has_the_fields_that_scripts_rely_on(found: Path) -> None:
    report = json.loads((found / "report.json").read_text())
    finding = report["findings"][0]

    assert report.keys() == {
        *("target", "seed", "device", "engine", "versions", "cases", "rejected", "seconds", "cases_per_second", "findings"),
        *("coverage", "kernels", "known", "quarantined", "unexpected_passes", "unexplained"),
    }
    assert finding.keys() == {
        *("signature", "stage", "symptom", "oracle", "first_case_index", "count", "diagnosis", "case_file", "case"),
        *("cases", "fault"),
    }
    assert case_to_json(load(Path(finding["case_file"])).case) == json.loads(json.dumps(finding["case"]), object_hook=_tuples)


def _tuples(data: dict[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}


def test_a_finding_shows_what_was_wrong_and_how_to_see_it_again(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (found / "corpus").iterdir()

    assert main(["replay", str(found / "corpus"), "--target", BUG, *ON_CPU]) == FINDINGS
    shown = capsys.readouterr().out
    for words in ("expected", "got", "allowed", "k_cache", "strides", "repro", "passes with the default"):
        assert words in shown
    assert f"fuzz-decode replay {path} --target {BUG}\n" in shown


@pytest.mark.parametrize(("encoding", "words"), [("ascii", "allowed ~"), ("latin-1", "allowed ±")])
def test_a_terminal_with_few_characters_gets_a_plain_form(
    encoding: str, words: str, found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding=encoding, write_through=True))

    assert main(["triage", "--corpus", str(found / "corpus"), *ON_CPU]) == FINDINGS
    shown = printed.getvalue().decode(encoding)
    assert words in shown
    assert "x is read as K of token 0" in shown
    assert len({len(line) for line in shown.splitlines() if line.startswith(("+", "|"))}) == 1


def test_the_fixed_kernel_passes_what_the_mutant_fails(found: Path) -> None:
    assert main(["replay", str(found / "corpus"), *ON_CPU]) == CLEAN


def test_a_digest_names_a_file_of_the_corpus(found: Path) -> None:
    (path,) = (found / "corpus").iterdir()

    assert main(["replay", path.stem, "--corpus", str(found / "corpus"), "--target", BUG, *ON_CPU]) == FINDINGS


def test_minimize_shrinks_a_raw_case_in_place(found: Path, tmp_path: Path) -> None:
    (path,) = (found / "corpus").iterdir()
    stored = json.loads(path.read_text())
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({**stored, "case": stored["raw_case"], "minimised": False}))

    assert main(["minimize", str(raw), *ON_CPU]) == FINDINGS
    assert [entry.minimised for entry in load_folder(tmp_path)[0].values()] == [True]


def test_minimize_of_a_case_that_fails_otherwise_changes_nothing(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (found / "corpus").iterdir()
    copy = tmp_path / path.name
    copy.write_text(json.dumps({**json.loads(path.read_text()), "signature": "wrong-value:lse"}))
    before = copy.read_bytes()

    assert main(["minimize", str(copy), *ON_CPU]) == FINDINGS
    assert f"{copy} fails otherwise on {BUG}: as wrong-value:out, not as wrong-value:lse; kept\n" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == {copy: before}


@pytest.mark.slow
def test_minimize_removes_no_case_of_another_bug_and_says_what_it_removes(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (found / "corpus").iterdir()
    stored = json.loads(path.read_text())
    of_the_same, of_another = tmp_path / "same.json", tmp_path / "another.json"
    of_the_same.write_text(json.dumps({**stored, "case": stored["raw_case"]}))
    of_another.write_text(
        json.dumps({**stored, "case": {**stored["case"], "group": 3}, "raw_case": stored["case"], "fault": "x"})
    )
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({**stored, "case": stored["raw_case"], "minimised": False}))

    assert main(["minimize", str(raw), *ON_CPU]) == FINDINGS
    shown = capsys.readouterr().out
    assert f"{raw} is replaced by {tmp_path / path.name}\n" in shown
    assert f"{of_the_same} is removed: the same bug in a case less simple\n" in shown
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "another.json"}

    assert main(["minimize", str(tmp_path / path.name), *ON_CPU]) == FINDINGS
    assert f"{tmp_path / path.name} is kept: no simpler case was found\n" in capsys.readouterr().out


def test_minimize_of_a_case_that_passes_changes_nothing(found: Path, tmp_path: Path) -> None:
    (path,) = (found / "corpus").iterdir()
    copy = shutil.copy(path, tmp_path)

    assert main(["minimize", copy, "--target", "bundled", *ON_CPU]) == CLEAN
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [path.read_bytes()]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--iters", "-1"], "--iters: must be a whole number, 1 or more"),
        (["--iters", "0"], "--iters: must be a whole number, 1 or more"),
        (["--iters", "many"], "--iters: must be a whole number"),
        (["--time", "soon"], "--time: must be a time such as"),
        (["--seed", "-3"], "--seed: must be a whole number, 0 or more"),
        (["--jobs", "0"], "--jobs: must be a whole number, 1 or more"),
        (["--dtypes", "bf16"], "--dtypes: must be names among float32, float16, bfloat16"),
        (["--dtypes", "float16", "--target", f"{SAMPLES}:reads_the_next_slot"], "takes bfloat16, not float16"),
        (["--sequence", "1"], "--sequence: must be a whole number, 2 to 100, not '1'"),
        (["--sequence", "four"], "--sequence: must be a whole number, 2 to 100, not 'four'"),
        (["--sequence", "101"], "--sequence: must be a whole number, 2 to 100"),
        (["--device", "tpu"], "--device"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate; see fuzz-decode run --help"),
        (["--sede", "3"], "unrecognized arguments: --sede 3; did you mean --seed?"),
        (["replay", "--targt=bundled"], "unrecognized arguments: --targt=bundled; did you mean --target?"),
        (
            ["repaly"],
            "no command 'repaly'; there are run, replay, minimize, triage, export, merge, targets, score, bench;",
        ),
        (["repaly"], "did you mean replay?"),
        (["corpus/a.json"], "there is no command 'corpus/a.json'; there are run, replay"),
        (["--import-timeout", "0"], "--import-timeout: must be a time such as"),
        (["--target", "nothing"], "target 'nothing' is none of bundled"),
        (["--target", "mutant:nothing"], "there is no mutant 'nothing'; `fuzz-decode targets --mutants` lists them"),
        (["--target", "mutant:gqa-modul"], "there is no mutant 'gqa-modul'; did you mean gqa-modulo?"),
        (["score", "--mutants", "gqa-modul"], "there is no mutant 'gqa-modul'; did you mean gqa-modulo?"),
        (["--target", "flashinfr"], "did you mean flashinfer"),
        (["--target", "no_such_module:decode"], "does not import: ModuleNotFoundError"),
        (["--target", "no_such_file.py:decode"], "no_such_file.py does not exist"),
        (["--target", f"{SAMPLES}:no_such_function"], "has no function 'no_such_function'"),
        (["--target", "math:sqrt"], "takes 1 positional arguments"),
        (["--corpus", str(SAMPLES)], "is a file; it must be a folder"),
        (["--json", "/no/such/folder/report.json"], "--json /no/such/folder/report.json"),
        (["replay", "no-such-digest"], "is no file, folder or digest"),
        (["replay", "/no/such/folder"], "is no file, folder or digest"),
        (["replay"], "there is no corpus corpus; name the folder with --corpus DIR, or name case files"),
        (["triage", "--corpus", "crpus"], "there is no corpus crpus; name"),
        (["minimize", "nothing"], "is no file, folder or digest"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(arguments) == USAGE
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.err.startswith("fuzz-decode: error: ")
    assert shown.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.no_gpu
def test_cuda_without_cuda_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--iters", "1", "--device", "cuda"]) == USAGE
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_broken_case_files_are_named_and_the_others_still_replay(
    found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (good,) = (found / "corpus").iterdir()
    text = good.read_text()
    shutil.copy(good, tmp_path)
    (tmp_path / "a-truncated.json").write_text(text[: len(text) // 2])
    (tmp_path / "b-unknown.json").write_text(text.replace('"schema": 1', '"schema": 99'))
    (tmp_path / "c-huge.json").write_text(json.dumps({**json.loads(text), "case": {"block_size": 10**15}}))

    assert main(["replay", str(tmp_path), *ON_CPU]) == USAGE
    shown = capsys.readouterr()
    assert f"{good.name}: passed" in shown.out
    lines = shown.err.splitlines()
    assert [name for name in ("a-truncated", "b-unknown", "c-huge") if any(name in line for line in lines)] == [
        *("a-truncated", "b-unknown", "c-huge"),
    ]
    assert len(lines) == 3
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, INTERRUPTED)])
def test_a_campaign_that_is_cut_off_keeps_what_it_found(how: signal.Signals, code: int, tmp_path: Path) -> None:
    # a shell's background jobs, and so their children, ignore Ctrl-C
    program = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from fuzz_decode.cli import main; "
    command = [sys.executable, "-c", program + "sys.exit(main())", "--iters", "100000", "--target", BUG]
    command += ["--corpus", str(tmp_path), *ON_CPU]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)) as campaign:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        campaign.send_signal(how)
        assert campaign.wait(30) == code
    entries, errors = load_folder(tmp_path)
    assert errors == []
    assert {entry.signature for entry in entries.values()} >= {"wrong-value:out"}


def test_help_and_version_need_no_torch() -> None:
    program = "import sys; sys.modules['torch'] = None; from fuzz_decode.cli import main; main(sys.argv[1:])"
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", program, option], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout[:5]) == (0, "usage" if option == "--help" else "fuzz-")


def test_targets_lists_every_built_in_target(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["targets"]) == CLEAN
    printed = capsys.readouterr().out
    assert all(f"\n{name}  {adapter.about}\n" in printed for name, adapter in ADAPTERS.items())
    assert all(f"  {adapter.install}\n" in re.sub(" +\n", "\n", printed) for adapter in ADAPTERS.values() if adapter.install)
    assert max(map(len, printed.splitlines())) <= 80
    assert len(printed.splitlines()) < 120


def test_mutants_are_listed_if_that_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["targets", "--mutants"]) == CLEAN
    printed = capsys.readouterr().out
    shown = " ".join(printed.split())
    assert all(f"mutant:{name} {mutant.fault.split()[0]}" in shown for name, mutant in MUTANTS.items())
    assert max(map(len, printed.splitlines())) <= 80
    assert "flashinfer" not in printed


@pytest.mark.parametrize(("limits", "cases"), [((3, 600), range(3, 4)), ((100_000, 1), range(100_000))])
def test_a_campaign_with_two_limits_ends_at_the_first(limits: tuple[int, int], cases: range, tmp_path: Path) -> None:
    iters, seconds = map(str, limits)
    report = tmp_path / "report.json"
    options = ["--corpus", str(tmp_path / "corpus"), "--json", str(report), "--jobs", "1", *ON_CPU]

    assert main(["--iters", iters, "--time", seconds, *options]) == CLEAN
    assert json.loads(report.read_text())["cases"] in cases


def test_a_campaign_with_nothing_to_resume_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--resume", "--iters", "1", "--corpus", str(tmp_path), *ON_CPU]) == CLEAN
    shown = capsys.readouterr().out
    assert f"nothing to resume: there is no {tmp_path / '.campaign'}" in shown


def test_replaying_an_empty_corpus_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--corpus", str(tmp_path), *ON_CPU]) == CLEAN
    assert capsys.readouterr().out == f"no case file in {tmp_path}; nothing was replayed\n"


def test_an_import_that_takes_too_long_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(60)\n")
    target = f"{tmp_path}/slow_to_import.py:decode"

    assert main(["--target", target, "--import-timeout", "0.5", "--corpus", str(tmp_path), *ON_CPU]) == USAGE
    assert f"target {target} was still importing after 0.5 s, the limit of --import-timeout" in capsys.readouterr().err
