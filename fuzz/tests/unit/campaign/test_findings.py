"""A case that fails in one way in the campaign's process and in another in a fresh one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from fuzz_decode.campaign.causes import ANOTHER
from fuzz_decode.campaign.events import Minimized
from fuzz_decode.campaign.findings import FindingRecorder
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import NOT_REPEATED, CampaignState
from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import FAIL, KnownFailure, Ledger
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.diagnose import Diagnosis
from fuzz_decode.diagnose.diagnosis import ExplainRequest
from fuzz_decode.errors import HarnessError
from fuzz_decode.outcome import Outcome, Stage, Status, Symptom, Violation, failure
from fuzz_decode.shrink.shrinker import Shrunk
from fuzz_decode.workers.protocol import WorkerConfig

CASE = Case(seq_lens=(3, 2), group=2)
OTHER = Case(seq_lens=(5,), group=4)
VALUES = failure(Stage.COMPARE, Violation("numeric", Symptom.WRONG_VALUE, "out", "wrong"))
SEGFAULT = failure(Stage.RUN, Violation("worker", Symptom.CRASH, "call", "was killed by SIGSEGV", detail="SIGSEGV"))
RAISES = failure(Stage.RUN, Violation("contract", Symptom.EXCEPTION, "call", "ValueError", detail="ValueError"))
TIMEOUT = failure(Stage.RUN, Violation("worker", Symptom.TIMEOUT, "call", "no answer within 1 s"))
ONE_BUG = "one bug: {} in the campaign's process, {} in a fresh one"


class Fresh:
    """A fresh process, where every group of two or more fails, with `outcome`."""

    def __init__(self, outcome: Outcome, fails: Any = lambda case: case.group > 1) -> None:
        self.plan = WorkerConfig("sample", "cpu", 1.0)
        self.outcome, self.fails = outcome, fails

    def run(self, case: Case) -> Outcome:
        return self.outcome if self.fails(case) else Outcome(Status.PASSED)

    def run_fresh(self, calls: Any) -> Outcome:
        return self.run(calls[-1])

    def failing_as(self, signature: str) -> Any:
        return lambda calls: self.run(calls[-1]).signature == signature

    def diagnose(self, *_: Any) -> Diagnosis:
        return Diagnosis()

    def explain(self, request: ExplainRequest) -> int | None:
        return next((bug.number for bug in request.bugs if request.signature in bug.signatures), None)

    def __enter__(self) -> Fresh:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def recorder(folder: Path, fresh: Any, ledger: Ledger = Ledger("sample", ()), **options: Any) -> FindingRecorder:
    settings = CampaignSettings(target="sample", corpus=folder, device="cpu", minimize_time=20.0, iters=9, **options)
    return FindingRecorder(settings, CampaignState(), ledger, math.inf, fresh)


def summary(entry: Entry) -> tuple[str, str]:
    return entry.digest, entry.note


def on_disk(folder: Path) -> dict[Path, tuple[str, str]]:
    return {path: summary(entry) for path, entry in load_folder(folder)[0].items()}


def judged(recording: FindingRecorder, *found: tuple[Case, Outcome]) -> list[Minimized]:
    events = [event for number, (case, out) in enumerate(found) for event in recording.judge(number, (case,), out)]
    return [event for event in events if isinstance(event, Minimized)]


@pytest.mark.parametrize(("seen", "again"), [(SEGFAULT, VALUES), (VALUES, SEGFAULT)])
def test_a_crash_and_wrong_values_of_one_case_are_one_bug(seen: Outcome, again: Outcome, tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(again))
    (event,) = judged(recording, (CASE, seen), (OTHER, seen), (OTHER, again))

    (bug,) = recording.state.bugs
    assert (bug.signature, bug.count, bug.entry.case.group, bug.entry.case.seq_lens) == (again.signature, 3, 2, (0,))
    assert bug.entry.note == ONE_BUG.format(seen.signature, again.signature)
    assert (bug.entry.signature, bug.entry.stage) == (again.signature, again.stage)
    assert on_disk(tmp_path) == {bug.path: summary(bug.entry)} == {event.path: summary(event.entry)}


def test_a_crash_that_comes_after_the_wrong_values_joins_them(tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(VALUES))
    first, second = judged(recording, (CASE, VALUES), (OTHER, SEGFAULT), (CASE, SEGFAULT))

    (bug,) = recording.state.bugs
    assert (bug.signature, bug.count) == ("wrong-value:out", 3)
    assert bug.entry.note == ONE_BUG.format("crash-SIGSEGV:call", "wrong-value:out")
    assert (first.entry.case, second.entry) == (bug.entry.case, bug.entry)
    assert on_disk(tmp_path) == {bug.path: summary(bug.entry)}


def test_a_crash_that_shrinks_to_another_case_stays_a_finding(tmp_path: Path) -> None:
    """The wrong values that it has in a fresh process may be those of another bug."""
    recording = recorder(tmp_path, Fresh(VALUES, lambda case: case.group == 2 or case.group == 4))
    judged(recording, (CASE, VALUES))
    fresh: Any = Fresh(VALUES, lambda case: case.group == 4)
    recording.in_process = recording.causes.in_process = recording.minimizer.in_process = fresh
    judged(recording, (OTHER, SEGFAULT))

    values, crash = recording.state.bugs
    assert (values.signature, crash.signature) == ("wrong-value:out", "crash-SIGSEGV:call")
    note = f"failed as wrong-value:out in a fresh process, and may be the bug of {values.path}"
    assert (crash.entry.case, crash.entry.note) == (OTHER, note)
    assert len(load_folder(tmp_path)[0]) == 2


def test_what_fails_otherwise_in_a_fresh_process_did_fail_again(tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(RAISES))
    (event,) = judged(recording, (CASE, VALUES))

    assert event.entry.note == "failed as exception-ValueError:call in a fresh process"
    assert (event.entry.case, event.entry.signature) == (CASE, "wrong-value:out")


def test_a_known_failure_takes_no_crash_in(tmp_path: Path) -> None:
    known = KnownFailure("sample", "wrong-value:out", "https://example.org/1", "known", FAIL)
    recording = recorder(tmp_path, Fresh(VALUES), Ledger("sample", (known,)))
    (event,) = judged(recording, (CASE, SEGFAULT))

    assert (event.entry.signature, event.entry.case) == ("crash-SIGSEGV:call", CASE)


def test_a_timeout_that_fails_otherwise_is_not_forgotten(tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(VALUES))
    (event,) = judged(recording, (CASE, TIMEOUT))

    assert event.entry.note == "failed as wrong-value:out in a fresh process"
    assert [bug.signature for bug in recording.state.bugs] == ["timeout:call"]


@pytest.mark.parametrize(("again", "kept"), [(Outcome(Status.PASSED), 0), (TIMEOUT, 1)])
def test_a_timeout_is_confirmed_although_the_time_is_over(again: Outcome, kept: int, tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(again))
    recording.deadline = 0.0
    judged(recording, (CASE, TIMEOUT))

    assert len(recording.state.bugs) == len(on_disk(tmp_path)) == kept
    assert recording.state.rejected.total() == 1 - kept


@pytest.mark.parametrize(("features", "bugs"), [(6, 1), (5, 2)])
def test_what_known_bugs_nearly_explain_is_counted_with_them(features: int, bugs: int, tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(VALUES))
    judged(recording, (CASE, VALUES))
    second = recording._save_raw(7, (OTHER,), VALUES)
    recording.state.bugs.append(second)
    needed = {f"feature {number}": f"is known: {ANOTHER}" for number in range(features)}
    shrunk = Shrunk(OTHER, VALUES, {**needed, "other": "passes"}, 9, True)

    first = recording.state.bugs[0]
    assert recording.causes.nearly_explained(second, shrunk) is (first if bugs == 1 else None)
    if bugs == 1:
        recording.minimizer._counted_with(first, second, shrunk)
        assert (recording.state.bugs, first.cases, recording.state.unexplained) == ([first], [0, 7], 1)
        assert list(on_disk(tmp_path)) == [first.path]


def test_an_error_of_our_own_while_minimizing_keeps_the_finding(tmp_path: Path) -> None:
    class Broken(Fresh):
        def run(self, case: Case) -> Outcome:
            raise HarnessError("boom")

    recording = recorder(tmp_path, Broken(VALUES))
    (event,) = judged(recording, (CASE, VALUES))

    assert event.entry.note == "not minimized: an internal error of fuzz-decode came up"
    assert on_disk(tmp_path) == {event.path: summary(event.entry)}
    assert [str(error) for error in recording.state.harness_errors] == ["boom"]


def test_a_finding_that_is_being_minimized_explains_nothing(tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(VALUES))
    judged(recording, (CASE, VALUES))
    assert [bug.number for bug in recording.causes.known_bugs()] == [0]

    recording.state.bugs[0].is_settled = False
    assert recording.causes.known_bugs() == ()


def test_exceptions_of_one_line_are_one_bug(tmp_path: Path) -> None:
    def raises(place: str) -> Outcome:
        violation = Violation("contract", Symptom.EXCEPTION, "call", "KeyError: 3", detail="KeyError", place=place)
        return failure(Stage.RUN, violation)

    class Apart(Fresh):
        def explain(self, request: ExplainRequest) -> int | None:
            return None

    recording = recorder(tmp_path, Apart(raises("kernel.py:3: tl.load(x)")))
    judged(recording, (CASE, raises("kernel.py:3: tl.load(x)")), (OTHER, raises("kernel.py:3: tl.load(x)")))
    elsewhere: Any = Apart(raises("kernel.py:9: f()"), lambda case: max(case.seq_lens) > 1)
    recording.in_process = recording.causes.in_process = recording.minimizer.in_process = elsewhere
    judged(recording, (CASE, raises("kernel.py:9: f()")))

    assert [(bug.place, bug.count) for bug in recording.state.bugs] == [("kernel.py:3: tl.load(x)", 2), ("kernel.py:9: f()", 1)]


def test_what_a_fresh_process_does_not_show_is_one_bug(tmp_path: Path) -> None:
    recording = recorder(tmp_path, Fresh(VALUES, lambda case: case.group == 2))
    judged(recording, (OTHER, VALUES), (OTHER, SEGFAULT), (CASE, VALUES))

    of_state, other = recording.state.bugs
    assert (of_state.is_of_state, of_state.count, of_state.entry.note) == (True, 2, NOT_REPEATED)
    assert (other.is_of_state, other.count, other.entry.minimised) == (False, 1, True)
    assert on_disk(tmp_path) == {bug.path: summary(bug.entry) for bug in (of_state, other)}
