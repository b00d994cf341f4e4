"""`--sequence`: bugs that need the calls before them are found, shrunk, stored and replayed as such; others as ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sample_targets
from factories import campaign, finished

from fuzz_decode.campaign.events import Found, Minimized
from fuzz_decode.campaign.reproduce import shrink_in_fresh
from fuzz_decode.cases.call_sequence import CallSequence, differences
from fuzz_decode.cases.case import Case
from fuzz_decode.cli import CLEAN, FINDINGS, main
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.resilient_worker import ResilientWorker

pytestmark = pytest.mark.slow

SAMPLES = Path(sample_targets.__file__)
SCALE = f"{SAMPLES}:remembers_the_scale"
WRONG = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "all"))
ON_CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a campaign on a target whose plans lack the scale in their key."""
    folder = tmp_path_factory.mktemp("stale")
    report = ["--json", str(folder / "report.json")]
    arguments = ["--sequence", "4", "--iters", "64", "--target", SCALE, "--corpus", str(folder / "corpus"), *report]
    assert main([*arguments, *ON_CPU]) == FINDINGS
    return folder


def test_a_plan_whose_key_lacks_the_scale_ends_at_two_small_calls_of_another_scale(stale: Path) -> None:
    (path,) = (stale / "corpus").iterdir()
    entry = load(path)

    assert (entry.minimised, entry.signature) == (True, "wrong-value:out")
    (first,) = entry.before
    assert differences(first, entry.case).keys() == {"scale"}
    assert {first.scale, entry.case.scale} in ({None, 0.3}, {None, 1.0})  # whichever was drawn
    assert (entry.case.seq_lens, entry.case.num_q_heads) == ((2,), 1)
    assert entry.needed.keys() <= {"scale", "seq_lens"}  # over one token, every scale gives the same


def test_the_report_for_machines_has_the_calls_before(stale: Path) -> None:
    (finding,) = json.loads((stale / "report.json").read_text())["findings"]

    assert len(finding["before"]) == 1
    assert finding["case_file"].endswith(f"{load(Path(finding['case_file'])).digest}.json")


def test_its_replay_fails_there_and_passes_on_the_kernel(stale: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(stale / "corpus"), "--target", SCALE, *ON_CPU]) == FINDINGS
    shown = capsys.readouterr().out
    assert "requires the 1 call before it" in shown
    (path,) = (stale / "corpus").iterdir()
    (scale,) = {case.scale for case in load(path).calls} - {None}
    assert f"scale default -> {scale}" in shown or f"scale {scale} -> default" in shown
    assert main(["replay", str(stale / "corpus"), *ON_CPU]) == CLEAN


def test_minimizing_it_again_changes_nothing(stale: Path) -> None:
    (path,) = (stale / "corpus").iterdir()
    before = load(path)

    assert main(["minimize", str(path), "--target", SCALE, *ON_CPU]) == FINDINGS
    assert load(path).calls == before.calls


def test_minimizing_on_a_target_that_fails_earlier_stops_there(stale: Path, tmp_path: Path) -> None:
    """The first of the two calls alone fails on this one."""
    (path,) = (stale / "corpus").iterdir()
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())

    assert main(["minimize", str(copy), "--target", f"{SAMPLES}:five_percent_off", *ON_CPU]) == FINDINGS
    stored = {entry.target: entry.calls for entry in load_folder(tmp_path)[0].values()}
    assert stored == {f"{SAMPLES}:five_percent_off": (Case(),), load(path).target: load(path).calls}


def test_pytest_replays_it_as_a_sequence(pytester: pytest.Pytester, stale: Path) -> None:
    (path,) = (stale / "corpus").iterdir()
    pytester.mkdir("corpus").joinpath(path.name).write_bytes(path.read_bytes())
    options = ("-p", "no:cacheprovider", "--decode-device", "cpu")

    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
    result = pytester.runpytest_subprocess(*options, "--decode-target", SCALE)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*requires the 1 call before it*"])


def test_the_number_of_jobs_changes_nothing(tmp_path: Path) -> None:
    target = f"{SAMPLES}:remembers_the_first_scale"
    one, two = (finished(target, tmp_path / str(jobs), iters=64, sequence=4, jobs=jobs) for jobs in (1, 2))

    assert one.state.bugs
    assert [(b.signature, b.first_case_index, b.count, b.entry) for b in one.state.bugs] == [
        (b.signature, b.first_case_index, b.count, b.entry) for b in two.state.bugs
    ]


def test_a_finding_is_on_disk_with_the_calls_before_it_when_it_is_announced(tmp_path: Path) -> None:
    events = campaign(f"{SAMPLES}:remembers_the_first_scale", tmp_path, iters=64, sequence=4).events()
    found = next(event for event in events if isinstance(event, Found))
    on_disk = load(found.path)
    events.close()  # type: ignore[attr-defined]  # a generator

    assert on_disk.calls == found.entry.calls
    assert on_disk.before
    assert not on_disk.minimised


def test_a_bug_without_memory_is_stored_as_a_case(tmp_path: Path) -> None:
    run = finished("mutant:k-block-stride-dense", tmp_path, iters=10, sequence=4)

    assert run.state.done == 10  # the last sequence is cut short
    assert [(entry.before, entry.minimised) for entry in load_folder(tmp_path)[0].values()] == [((), True)]


def test_without_sequences_a_stale_plan_is_kept_as_it_was_found_with_a_note(tmp_path: Path) -> None:
    """Workers go on from case to case, so that the state shows, but nobody knows which calls it needs."""
    running = campaign(f"{SAMPLES}:remembers_the_first_scale", tmp_path, iters=24)
    (event,) = [event for event in running.events() if isinstance(event, Minimized)]

    assert event.shrunk is None
    assert load(event.path).note == event.entry.note
    assert event.entry.note == "did not fail again in a fresh process; try --sequence"
    assert (event.entry.case, event.entry.minimised) == (event.entry.raw_case, False)


def test_an_honest_target_is_quiet(tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:honest", tmp_path, iters=24, sequence=4)

    assert (run.state.done, run.state.bugs) == (24, [])


class Polluted(ResilientWorker):
    """Whatever runs after something else fails; in a fresh process only a group of three does."""

    def __init__(self) -> None:
        self.runs_in_fresh: list[CallSequence] = []

    def run(self, case: Case) -> Outcome:
        return WRONG

    def run_fresh(self, calls: CallSequence) -> Outcome:
        self.runs_in_fresh.append(calls)
        return WRONG if calls[-1].group == 3 else Outcome(Status.PASSED)


def test_a_result_that_does_not_hold_in_a_fresh_process_is_shrunk_again_in_fresh_ones() -> None:
    shrunk = shrink_in_fresh((Case(), Case(seq_lens=(5, 9), group=3, scale=0.3)), WRONG, Polluted(), 60.0)

    assert isinstance(shrunk, Shrunk)
    assert (shrunk.calls, shrunk.complete) == ((Case(seq_lens=(0,), group=3),), True)


def test_what_does_not_fail_again_is_not_shrunk() -> None:
    worker = Polluted()

    assert shrink_in_fresh((Case(), Case(group=2)), WRONG, worker, 60.0) == Outcome(Status.PASSED)
    assert worker.runs_in_fresh == [(Case(group=2),), (Case(), Case(group=2))]
