"""A campaign that was cut off goes on where it was, and one that has a time stops on time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import factories
import pytest
import sample_targets

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.checkpoint import NAME, Checkpoint
from fuzz_decode.campaign.events import CaseDone
from fuzz_decode.campaign.minimizer import NO_TIME
from fuzz_decode.cases.case import Case
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.errors import UsageError

SAMPLES = Path(sample_targets.__file__)
WRONG = f"{SAMPLES}:five_percent_off"
CASES = 21


def campaign(folder: Path, **options: Any) -> Campaign:
    options = {"target": WRONG, "iters": CASES, "resume": True, "minimize_time": 5.0, **options}
    return factories.campaign(folder=folder, checkpoint=folder / NAME, **options)


def judged(running: Campaign, stop: int = CASES) -> list[Case]:
    """The cases that it judges until it has judged `stop` in all; then it is cut off."""
    cases: list[Case] = []
    events = running.events()
    for event in events:
        if isinstance(event, CaseDone):
            cases.append(event.case)
        elif running.state.done >= stop:
            break
        if running.state.done >= stop and stop < CASES:
            break
    events.close()
    return cases


def facts(run: Campaign) -> tuple[Any, ...]:
    bugs = [(b.signature, b.first_case_index, b.count, b.entry.case, b.path.name) for b in run.state.bugs]
    return run.state.done, run.state.rejected, bugs, run.state.coverage


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"in_rounds": True}, {"sequence": 4}], ids=["stream", "rounds", "sequences"])
def test_a_campaign_that_was_cut_off_goes_on_where_it_was(
    how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz_decode.campaign.checkpoint.SECONDS", 0.0)
    monkeypatch.setattr("fuzz_decode.campaign.checkpoint.SHARE", 0)
    monkeypatch.setattr("fuzz_decode.generate.rounds.size_of", lambda number: 4)
    whole = campaign(tmp_path / "whole", **how)
    cases = judged(whole)
    first = judged(campaign(tmp_path / "cut", **how), 10)
    place = json.loads((tmp_path / "cut" / NAME).read_text())["state"]["next"]
    again = campaign(tmp_path / "cut", **how)

    assert len(first) == 10
    assert 9 <= place <= 10
    assert first[:place] + judged(again) == cases
    assert facts(again) == facts(whole)
    assert whole.state.bugs
    assert len(load_folder(tmp_path / "cut")[0]) == len(whole.state.bugs)


def test_a_campaign_that_is_over_leaves_no_checkpoint_and_no_folder_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz_decode.campaign.checkpoint.SECONDS", 0.0)
    folder = tmp_path / "corpus"
    running = campaign(folder, target="bundled", iters=3, jobs=1, resume=False)
    kept = [folder.exists() for event in running.events() if isinstance(event, CaseDone)]

    assert any(kept)
    assert not folder.exists()


def test_another_campaign_is_not_resumed(tmp_path: Path) -> None:
    Checkpoint(tmp_path / NAME, {"target": "bundled", "seed": 3}).write({"next": 5})

    with pytest.raises(UsageError, match=r"is of a campaign with seed 3, not seed 4; give the options that it was started with"):
        Checkpoint(tmp_path / NAME, {"target": "bundled", "seed": 4}).read()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"of": 3, "state": {}}', '{"of": {}, "state"', "[" * 10**5, "\x00"])
def test_a_file_that_is_no_checkpoint_is_a_usage_error(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / NAME).write_text(text)

    with pytest.raises(UsageError, match="is not what a campaign wrote"):
        Checkpoint(tmp_path / NAME, {"seed": 4}).read()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The corpus of a campaign on the command line that got SIGKILL, and how far it was."""
    folder = tmp_path_factory.mktemp("killed") / "corpus"
    command = [
        sys.executable,
        "-m",
        "fuzz_decode",
        "--iters",
        "100000",
        "--corpus",
        str(folder),
        "--device",
        "cpu",
        "--jobs",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as running:
        deadline = time.monotonic() + 60
        while not (folder / NAME).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    return folder, json.loads((folder / NAME).read_text())["state"]["next"]


@pytest.mark.slow
def test_another_seed_is_one_sentence_and_exit_code_2(killed: tuple[Path, int], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = killed
    code = main(["--resume", "--seed", "1", "--corpus", str(folder), "--device", "cpu", "--jobs", "1"])

    assert code == USAGE
    assert "is of a campaign with seed 0, not seed 1" in capsys.readouterr().err


@pytest.mark.slow
def test_a_campaign_that_was_killed_goes_on(killed: tuple[Path, int], capsys: pytest.CaptureFixture[str]) -> None:
    folder, place = killed
    report = folder.parent / "report.json"
    arguments = ["--resume", "--iters", str(place + 3), "--corpus", str(folder), "--device", "cpu", "--json", str(report)]

    assert place > 0
    assert main(arguments) == CLEAN
    assert json.loads(report.read_text())["cases"] == place + 3
    assert f"0 findings in {place + 3} cases" in capsys.readouterr().out


# time


def timed(target: str, folder: Path, seconds: float, timeout: float = 60.0) -> tuple[Campaign, float]:
    """A campaign of that many seconds that is over, and how long it went on after its start."""
    running = factories.campaign(f"{SAMPLES}:{target}", folder, timeout=timeout, iters=None, time=seconds)
    events = running.events()
    next(events)
    started = time.monotonic()
    for _ in events:
        pass
    return running, time.monotonic() - started


@pytest.mark.slow
def test_time_is_over_although_a_case_hangs(tmp_path: Path) -> None:
    run, took = timed("hangs_on_two", tmp_path, 2.0)

    assert run.state.done > 0
    assert not run.state.bugs
    assert took < 4.0


@pytest.mark.slow
def test_a_finding_for_which_no_time_is_left_is_kept_as_it_came(tmp_path: Path) -> None:
    run, took = timed("five_percent_off", tmp_path, 1.0)
    (entry,) = load_folder(tmp_path)[0].values()

    assert (entry.case, entry.minimised, entry.note) == (entry.raw_case, False, NO_TIME)
    assert [bug.entry.digest for bug in run.state.bugs] == [entry.digest]
    assert took < 3.0
