"""Triage: one look at each bug, as it is now, on the target that its file names or on another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fuzz_decode.campaign.triage import FAILS_OTHERWISE, FIXED, NOT_RUN, STILL_FAILS, Triaged, triage
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cli import CLEAN, FINDINGS, USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load, load_files
from fuzz_decode.corpus.store import save
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.workers.protocol import WorkerConfig

BUG = "mutant:k-block-stride-dense"
CASE = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))
LARGER = replace(CASE, seq_lens=(3,))
STORED = Entry(
    CASE, LARGER, BUG, Signature("wrong-value:out"), Stage.COMPARE, "cpu", needed={"k": "passes", "table.first_block": "passes"}
)
SENTENCE = "block stride of K read as 16 (block_size * slot stride) instead of 32 (stride(0))"
ON_CPU = ["--device", "cpu"]


def triaged(*entries: Entry, folder: Path, target: str | None = None) -> list[Triaged]:
    paths = [save(folder, entry) for entry in entries]
    return list(triage(load_files(paths)[0], WorkerConfig("", "cpu", 60.0), target, 20.0))


@pytest.fixture(scope="module")
def aiter_bug(tmp_path_factory: pytest.TempPathFactory) -> Triaged:
    """The bug as it is stored without a diagnosis, beside a larger case of it."""
    folder = tmp_path_factory.mktemp("aiter")
    (found,) = triaged(replace(STORED, case=LARGER), STORED, folder=folder)
    return found


def test_a_bug_is_told_once_by_its_smallest_case(aiter_bug: Triaged) -> None:
    (other,) = aiter_bug.others

    assert aiter_bug.stored == load(aiter_bug.path)
    assert (aiter_bug.stored.case, load(other).case) == (CASE, LARGER)


def test_what_was_not_diagnosed_is(aiter_bug: Triaged) -> None:
    assert (aiter_bug.status, aiter_bug.failing) == (STILL_FAILS, True)
    assert (aiter_bug.entry.diagnosis, aiter_bug.entry.fault) == (SENTENCE, "k-block-stride-dense")
    assert aiter_bug.entry.needed == STORED.needed


def test_the_trace_shows_the_guilty_stride(aiter_bug: Triaged) -> None:
    assert aiter_bug.trace is not None
    assert aiter_bug.trace.strides == {"k_cache": (16, 16, 16, 1)}


def test_nothing_on_disk_is_changed(aiter_bug: Triaged) -> None:
    assert load(aiter_bug.path) == STORED


def test_a_stored_diagnosis_is_believed(tmp_path: Path) -> None:
    (found,) = triaged(replace(STORED, diagnosis="as stored", fault="k-block-stride-dense"), folder=tmp_path)

    assert found.entry.diagnosis == "as stored"
    assert found.trace is not None
    assert found.trace.known


@pytest.mark.slow
def test_a_stored_diagnosis_of_another_failure_is_not(tmp_path: Path) -> None:
    stored = replace(STORED, signature=Signature("stray-write:out"), diagnosis="as stored")
    (found,) = triaged(stored, folder=tmp_path)

    assert (found.status, found.entry.signature, found.entry.diagnosis) == (FAILS_OTHERWISE, "wrong-value:out", SENTENCE)
    assert found.entry.needed == {}


def test_a_fixed_kernel_and_a_target_that_is_gone(tmp_path: Path) -> None:
    gone = replace(STORED, target="mutant:nothing")
    fixed, lost = triaged(replace(STORED, target="bundled"), gone, folder=tmp_path)

    assert (fixed.status, fixed.trace) == (FIXED, None)
    assert lost.status == NOT_RUN
    assert "there is no mutant 'nothing'" in lost.reason


@pytest.mark.slow
def test_the_command_shows_the_memory_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path, STORED)
    page = tmp_path / "page.html"

    assert main(["triage", "--corpus", str(tmp_path), "--html", str(page), *ON_CPU]) == FINDINGS
    shown = capsys.readouterr().out
    for words in (
        f"wrong-value:out on {BUG}: still failing",
        "V block 0: unreferenced ✗ is read as K of token 0",
        "1 bug in 1 file",
    ):
        assert words in shown
    assert "block stride of K read as 16" in page.read_text()


def test_what_no_longer_fails_exits_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, STORED)

    assert main(["triage", str(path), "--target", "bundled", *ON_CPU]) == CLEAN
    assert "1 bug in 1 file: 1 fixed" in capsys.readouterr().out


def test_a_file_that_does_not_load_is_named_and_the_others_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, STORED)
    (tmp_path / "broken.json").write_text("{")

    assert main(["triage", str(tmp_path), "--target", "bundled", *ON_CPU]) == USAGE
    shown = capsys.readouterr()
    assert "broken.json" in shown.err
    assert f"{path}: wrong-value:out on" in shown.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--html", "/no/such/folder/page.html"], "--html /no/such/folder/page.html"),
        (["--report", "nothing.json"], "nothing.json: cannot be read"),
        (["--score", "nothing.json"], "nothing.json: cannot be read"),
        (["no-such-digest"], "is no file, folder or digest"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["triage", *arguments]) == USAGE
    shown = capsys.readouterr().err
    assert words in shown
    assert shown.count("\n") == 1
