"""Campaigns over real workers: what is found, what is kept, and that neither depends on the number of jobs."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import sample_faults
import sample_targets
from factories import campaign, finished

from fuzz_decode.campaign.events import CaseDone, CaseRun, Found, Minimized, SpuriousTimeout, Started
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import features_of, simplicity_key
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.errors import TargetError

SAMPLES = Path(sample_targets.__file__)
BUG = "mutant:k-block-stride-dense"
WRONG_OR_HANGS = """
import pathlib, time
from sample_targets import honest

def decode(q, *rest):
    if pathlib.Path(__file__).with_name("hang").exists():
        time.sleep(600)
    return honest(q, *rest)[0] * 1.05
"""


def test_a_clean_kernel_gives_no_findings_and_no_corpus(tmp_path: Path) -> None:
    run = finished("bundled", tmp_path / "corpus", iters=25)

    assert (run.state.done, run.state.bugs, run.state.rejected.total()) == (25, [], 0)
    assert not (tmp_path / "corpus").exists()


def test_events_tell_the_story_in_order(tmp_path: Path) -> None:
    events = list(campaign(BUG, tmp_path, iters=30, stop_after=1).events())
    kinds = [type(event) for event in events if not isinstance(event, (CaseRun, CaseDone))]

    assert kinds == [Started, Found, Minimized]


def test_a_finding_is_on_disk_when_it_is_announced(tmp_path: Path) -> None:
    for event in campaign(BUG, tmp_path, iters=30).events():
        if isinstance(event, Found):
            assert load(event.path).case == event.entry.raw_case
            assert not load(event.path).minimised
            break
    else:
        pytest.fail("nothing found")


def test_the_minimized_case_replaces_the_raw_one_and_remembers_it(tmp_path: Path) -> None:
    run = finished(BUG, tmp_path, iters=30, stop_after=1)
    entries, errors = load_folder(tmp_path)

    assert errors == []
    assert [entry.minimised for entry in entries.values()] == [True]
    assert simplicity_key(next(iter(entries.values())).raw_case) > simplicity_key(next(iter(entries.values())).case)
    assert [bug.path for bug in run.state.bugs] == list(entries)


@pytest.mark.slow
def test_the_aiter_bug_shrinks_to_two_blocks_of_one_head(tmp_path: Path) -> None:
    """https://github.com/ROCm/aiter/pull/3498: only a block stride that is not block_size * slot stride is left."""
    for seed in (1, 5):
        run = finished(BUG, tmp_path / str(seed), seed=seed, iters=30, stop_after=1)
        case = next(iter(run.state.bugs)).entry.case
        strides = case.k.strides(case.cache_sizes(case.k_row))

        assert (case.num_seqs, case.num_kv_heads, case.group) == (1, 1, 1)
        assert case.num_blocks <= 2
        assert strides["block"] != case.block_size * strides["slot"]
        assert features_of(case).keys() <= {"k", "table.first_block", "table.placement", "table.spare_blocks"}


FAULTS = Path(sample_faults.__file__)


@pytest.mark.parametrize(("function", "bugs"), [("v_heads_and_out_rows_taken_to_be_dense", 2), ("out_rows_taken_to_be_dense", 1)])
def test_bugs_with_one_signature_are_told_apart_by_their_cause(function: str, bugs: int, tmp_path: Path) -> None:
    run = finished(f"{FAULTS}:{function}", tmp_path, iters=60)
    failing = [case for bug in run.state.bugs for case in bug.cases]

    assert len(run.state.bugs) == len(load_folder(tmp_path)[0]) == bugs
    assert len(failing) == len({*failing}) == sum(bug.count for bug in run.state.bugs)
    assert all(bug.cases[0] == bug.first_case_index for bug in run.state.bugs)


def test_what_nobody_can_explain_is_one_finding(tmp_path: Path) -> None:
    run = finished(f"{FAULTS}:five_percent_too_much", tmp_path, iters=40)

    assert [bug.entry.fault for bug in run.state.bugs] == [""]
    assert run.state.bugs[0].count > 30


@pytest.mark.slow
def test_the_number_of_jobs_changes_nothing(tmp_path: Path) -> None:
    """With a fault that reads no memory of others: whether a stray read crashes hangs on what lies there."""
    target = f"{SAMPLES}:five_percent_off"
    one, two = (finished(target, tmp_path / str(jobs), jobs=jobs, iters=25) for jobs in (1, 2))

    assert one.state.bugs
    assert [(b.signature, b.first_case_index, b.count, b.entry) for b in one.state.bugs] == [
        (b.signature, b.first_case_index, b.count, b.entry) for b in two.state.bugs
    ]
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == sorted(p.name for p in (tmp_path / "2").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "signature"),
    [
        ("segfaults_on_two", "crash-SIGSEGV:call"),
        ("raises_key_error", "exception-KeyError:call"),
        ("writes_one_past_out", "stray-write:out"),
        ("clears_the_block_table", "input-modified:block_table"),
    ],
)
def test_a_bad_target_is_a_finding_and_the_campaign_goes_on(target: str, signature: str, tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:{target}", tmp_path, iters=12)

    assert run.state.done == 12
    assert run.state.bug_of(signature)


@pytest.mark.slow
def test_a_target_that_hangs_is_given_up_after_three_times(tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:hangs_on_two", tmp_path, timeout=0.7, iters=100, minimize_time=1.0)

    assert [(bug.signature, bug.count) for bug in run.state.bugs] == [("timeout:call", 3)]
    assert run.state.done < 100
    assert "no answer within 0.7 s" in run.state.stopped_because


SLOW_ONCE = """
import pathlib, time, sample_targets
seen = pathlib.Path(__file__).with_suffix(".seen")

def decode(q, k, v, table, lens, scale):
    if len(q) == 2 and not seen.exists():
        seen.touch()
        time.sleep(60)
    return sample_targets.honest(q, k, v, table, lens, scale)
"""


@pytest.mark.slow
def test_a_case_that_was_only_slow_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_ONCE)
    (tmp_path / "sample_targets.py").symlink_to(SAMPLES)
    run = campaign(f"{tmp_path}/slow.py:decode", tmp_path / "corpus", timeout=5.0, iters=30)
    events = list(run.events())

    assert (tmp_path / "slow.seen").exists()
    assert sum(isinstance(event, SpuriousTimeout) for event in events) == 1
    assert dict(run.state.rejected) == {"no answer within 5 s, but in time when run alone": 1}
    assert (run.state.bugs, run.state.done, list((tmp_path / "corpus").iterdir())) == ([], 30, [])


def test_unsupported_cases_are_counted_by_reason(tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:cannot", tmp_path, iters=10)

    assert (run.state.rejected.total(), run.state.bugs) == (10, [])


def test_a_target_that_does_not_import_ends_the_campaign_at_once(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        list(campaign("nowhere.py:decode", tmp_path, iters=5).events())


@pytest.mark.slow
def test_a_time_budget_ends_it(tmp_path: Path) -> None:
    run = campaign("bundled", tmp_path, jobs=1, iters=None, time=4.0)
    done = [event.case for event in run.events() if isinstance(event, CaseDone)]

    assert done[:1] == [Case()]
    assert run.state.done == len(done)


def test_cases_go_on_while_a_finding_is_minimized(tmp_path: Path) -> None:
    running = campaign(BUG, tmp_path, iters=60)
    counts = {Found: 0, CaseRun: 0, Minimized: 0}
    while_minimizing = 0
    for event in running.events():
        if type(event) in counts:
            counts[type(event)] += 1
        while_minimizing += isinstance(event, CaseRun) and counts[Found] > counts[Minimized]

    assert counts[CaseRun] == running.cases_run == running.state.done == 60
    assert counts[Found] == counts[Minimized] == len(running.state.bugs) == 1
    assert while_minimizing > 0


def test_a_campaign_that_is_interrupted_ends_what_it_minimizes(tmp_path: Path) -> None:
    """The finding stays as it was saved, however long the case that is run would take."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "target.py").write_text(WRONG_OR_HANGS)
    running = campaign(f"{tmp_path}/target.py:decode", tmp_path / "corpus", iters=60, timeout=60.0)
    events = running.events()
    while not isinstance(next(events), Found):
        pass
    (tmp_path / "hang").touch()
    started, before = time.monotonic(), signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(3)
    try:
        with pytest.raises(KeyboardInterrupt):
            list(events)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

    assert time.monotonic() - started < 30
    (bug,) = running.state.bugs
    assert [entry.digest for entry in load_folder(tmp_path / "corpus")[0].values()] == [bug.entry.digest]
    assert bug.entry.case == bug.entry.raw_case
    assert not bug.entry.minimised
