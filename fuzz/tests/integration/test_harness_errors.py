"""A fault of fuzz-decode itself while a finding is diagnosed: the finding is kept, the fault is raised at the end."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NoReturn

import pytest
import sample_targets

from fuzz_decode import Finding, check, fuzz
from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.triage import STILL_FAILS, triage
from fuzz_decode.cases.case import Case
from fuzz_decode.cli import USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.outcome import Outcome, Signature, Stage
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.protocol import WorkerConfig

pytestmark = pytest.mark.slow  # every test is a campaign in a process of its own

CASE = Case(seq_lens=(2,))
# a wrong kernel, in whose processes the examiner raises
TARGET = """
import fuzz_decode.diagnose.find_fault, sample_targets

def broken(*_):
    raise ValueError("boom")

fuzz_decode.diagnose.find_fault.examine = broken

def decode(q, *rest, out):
    return sample_targets.five_percent_off(q, *rest, out=out)
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    (tmp_path / "undiagnosable.py").write_text(TARGET)
    (tmp_path / "sample_targets.py").symlink_to(sample_targets.__file__)
    return f"{tmp_path}/undiagnosable.py:decode"


def stored(target: str, case: Case) -> Entry:
    return Entry(case, case, target, Signature("wrong-value:out"), Stage.COMPARE, "cpu")


def test_a_campaign_keeps_the_finding_without_a_diagnosis_and_raises_at_the_end(target: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"iters": 12, "jobs": 1, "timeout": 20.0, "minimize_time": 2.0}
    running = Campaign(CampaignSettings(target=target, corpus=tmp_path / "corpus", device="cpu", **options))
    with pytest.raises(HarnessError, match=r"(?s)while diagnosing case .*Traceback .*ValueError: boom"):
        list(running.events())

    (bug,) = running.state.bugs
    kept = load(bug.path)
    assert running.state.done == 12
    assert (kept.case, kept.signature, kept.diagnosis, kept.fault) == (bug.entry.case, "wrong-value:out", "", "")


def test_the_command_line_names_the_file_with_the_traceback(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    corpus, files = tmp_path / "corpus", {option: tmp_path / option for option in ("json", "html", "junit")}
    words = [
        "--iters",
        "8",
        "--jobs",
        "1",
        "--device",
        "cpu",
        "--minimize-time",
        "2",
        "--corpus",
        str(corpus),
        "--target",
        target,
    ]

    assert main([*words, *(word for option, path in files.items() for word in (f"--{option}", str(path)))]) == USAGE
    sentence = capsys.readouterr().err.splitlines()[-1]
    named = re.fullmatch(
        r"fuzz-decode: error: internal error \(ValueError: boom\); please report it with the traceback in (.*)", sentence
    )
    assert named
    assert "Traceback (most recent call last)" in Path(named[1]).read_text()
    assert [entry.diagnosis for entry in load_folder(corpus)[0].values()] == [""]
    assert all(path.stat().st_size for path in files.values())


def test_minimize_keeps_and_shows_the_smaller_case(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "corpus", stored(target, Case(seq_lens=(2, 3))))

    assert main(["minimize", str(path), "--target", target, "--device", "cpu", "--minimize-time", "5"]) == USAGE
    ((new, smaller),) = load_folder(tmp_path / "corpus")[0].items()
    assert (smaller.case.num_seqs, smaller.diagnosis) == (1, "")
    shown = capsys.readouterr()
    assert "wrong-value:out - minimized in" in shown.out
    assert f"{path} is replaced by {new}" in shown.out
    assert "internal error (ValueError: boom)" in shown.err


def test_triage_goes_on_and_the_command_writes_the_page(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry, page = stored(target, CASE), tmp_path / "page.html"
    path = save(tmp_path / "corpus", entry)
    (triaged,) = triage({path: entry}, WorkerConfig("", "cpu", 20.0), target, 5.0)

    assert (triaged.status, triaged.entry.diagnosis) == (STILL_FAILS, "")
    assert "boom" in str(triaged.harness_error)
    assert main(["triage", str(path), "--target", target, "--device", "cpu", "--html", str(page)]) == USAGE
    assert "still failing" in capsys.readouterr().out
    assert page.stat().st_size


def test_check_raises_it_with_the_workers_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where the examiner itself can be broken."""

    def fails(*_: Any) -> NoReturn:
        raise ValueError("boom")

    monkeypatch.setattr("fuzz_decode.diagnose.find_fault.examine", fails)
    with pytest.raises(HarnessError, match=r"(?s)while diagnosing case .*Traceback .*ValueError: boom") as raised:
        check(functools.partial(sample_targets.five_percent_off), CASE, device="cpu")
    assert [(found.signature, found.case) for found in found_before(raised.value)] == [("wrong-value:out", CASE)]


def found_before(error: HarnessError | UsageError) -> list[Finding]:
    """The findings of an error, which its text tells, too."""
    found = [finding for finding in error.findings if isinstance(finding, Finding)]
    assert all(str(finding) in str(error) for finding in found)
    return found


def test_fuzz_raises_it_with_what_was_found(target: str) -> None:
    """Without a corpus nothing else keeps it."""
    with pytest.raises(HarnessError, match="ValueError: boom") as raised:
        fuzz(target, iters=12, jobs=1, device="cpu", minimize_time=2.0)
    assert [(found.signature, found.path) for found in found_before(raised.value)] == [("wrong-value:out", None)]


ERRORS = [UsageError("this target has gone"), HarnessError("Traceback\nValueError: boom"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_in_the_middle_of_a_campaign_tells_what_was_found(
    error: UsageError | HarnessError | KeyboardInterrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cases = InProcessBackend.run, iter(range(150))

    def ends_at_last(self: InProcessBackend, case: Case) -> Outcome:
        if next(cases, None) is None:
            raise error
        return run(self, case)

    monkeypatch.setattr(InProcessBackend, "run", ends_at_last)
    with pytest.raises(type(error), match=r"(?s)found before this error:.*wrong-value:out"):
        fuzz(functools.partial(sample_targets.five_percent_off), iters=None, time=60.0, device="cpu", minimize_time=1.0)
