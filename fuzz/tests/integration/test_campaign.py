"""Campaigns over real workers: what is found, what is kept, and that neither depends on the number of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import sample_targets
from factories import campaign, finished, judged_cases

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseDone, Event, Found, Minimised, SpuriousTimeout, Started
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.simplicity import features_of, simplicity_key
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.errors import TargetError

SAMPLES = Path(sample_targets.__file__)
BUG = "mutant:k-block-stride-dense"


@dataclass(frozen=True, slots=True)
class Hunt:
    """A campaign that has ended with its first bug; `announced` is its file as it was when the finding was announced."""

    campaign: Campaign
    events: list[Event]
    announced: Entry


@pytest.fixture(scope="module")
def hunt(tmp_path_factory: pytest.TempPathFactory) -> Hunt:
    running = campaign(BUG, tmp_path_factory.mktemp("corpus"), 30, findings=1, seed=1)
    events, announced = [], []
    for event in running.events():
        events.append(event)
        if isinstance(event, Found):
            announced.append(load(event.path))
    (entry,) = announced
    return Hunt(running, events, entry)


def test_a_clean_kernel_gives_no_findings_and_no_corpus(tmp_path: Path) -> None:
    run = finished("bundled", tmp_path / "corpus", cases=15)

    assert (run.done, run.bugs, run.rejected.total()) == (15, {}, 0)
    assert not (tmp_path / "corpus").exists()


def test_events_tell_the_story_in_order(hunt: Hunt) -> None:
    kinds = [type(event) for event in hunt.events if not isinstance(event, CaseDone)]

    assert kinds == [Started, Found, Minimised]


def test_a_finding_is_on_disk_when_it_is_announced(hunt: Hunt) -> None:
    (found,) = [event for event in hunt.events if isinstance(event, Found)]

    assert hunt.announced.case == found.entry.raw_case
    assert not hunt.announced.minimised


def test_the_minimised_case_replaces_the_raw_one_and_remembers_it(hunt: Hunt) -> None:
    entries, errors = load_folder(hunt.campaign.folder)

    assert errors == []
    assert [entry.minimised for entry in entries.values()] == [True]
    assert simplicity_key(next(iter(entries.values())).raw_case) > simplicity_key(next(iter(entries.values())).case)
    assert [bug.path for bug in hunt.campaign.bugs.values()] == list(entries)


def is_the_aiter_bug(run: Campaign) -> bool:
    """Only a block stride that is not block_size * slot stride is left."""
    case = next(iter(run.bugs.values())).entry.case
    strides = case.k.strides(case.cache_sizes(case.k_row))

    assert (case.num_seqs, case.num_kv_heads, case.group) == (1, 1, 1)
    assert case.num_blocks <= 2
    assert features_of(case).keys() <= {"k", "table.first_block", "table.placement", "table.spare_blocks"}
    return strides["block"] != case.block_size * strides["slot"]


def test_the_aiter_bug_shrinks_to_two_blocks_of_one_head(hunt: Hunt) -> None:
    """https://github.com/ROCm/aiter/pull/3498"""
    assert is_the_aiter_bug(hunt.campaign)


@pytest.mark.slow
def test_the_aiter_bug_of_another_seed_shrinks_to_the_same(tmp_path: Path) -> None:
    assert is_the_aiter_bug(finished(BUG, tmp_path, seed=5, cases=30, findings=1))


def test_the_number_of_jobs_changes_nothing(tmp_path: Path) -> None:
    """With a fault that reads no memory of others: whether a stray read crashes hangs on what lies there."""
    target = f"{SAMPLES}:five_percent_off"
    one, two = (finished(target, tmp_path / str(jobs), jobs=jobs, cases=12) for jobs in (1, 2))

    assert one.bugs
    assert [(s, b.first_case_index, b.count, b.entry) for s, b in one.bugs.items()] == [
        (s, b.first_case_index, b.count, b.entry) for s, b in two.bugs.items()
    ]
    assert sorted(p.name for p in (tmp_path / "1").iterdir()) == sorted(p.name for p in (tmp_path / "2").iterdir())


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
    run = finished(f"{SAMPLES}:{target}", tmp_path, cases=12, minimise_seconds=2.0)

    assert run.done == 12
    assert signature in run.bugs


def test_a_target_that_hangs_is_given_up_after_three_times(tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:hangs_on_two", tmp_path, timeout=0.7, cases=100, minimise_seconds=2.0)

    assert run.bugs["timeout:call"].count == 3
    assert run.done < 100
    assert "no answer within 0.7 s" in run.stopped_because


SLOW_ONCE = """
import pathlib, time, sample_targets
seen = pathlib.Path(__file__).with_suffix(".seen")

def decode(q, k, v, table, lens, scale):
    if len(q) == 2 and not seen.exists():
        seen.touch()
        time.sleep(60)
    return sample_targets.honest(q, k, v, table, lens, scale)
"""


def test_a_case_that_was_only_slow_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_ONCE)
    (tmp_path / "sample_targets.py").symlink_to(SAMPLES)
    run = campaign(f"{tmp_path}/slow.py:decode", tmp_path / "corpus", timeout=5.0, cases=30)
    events = list(run.events())

    assert (tmp_path / "slow.seen").exists()
    assert sum(isinstance(event, SpuriousTimeout) for event in events) == 1
    assert dict(run.rejected) == {"no answer within 5 s, but in time when run alone": 1}
    assert (run.bugs, run.done, list((tmp_path / "corpus").iterdir())) == ({}, 30, [])


def test_unsupported_cases_are_counted_by_reason(tmp_path: Path) -> None:
    run = finished(f"{SAMPLES}:cannot", tmp_path, cases=10)

    assert (run.rejected.total(), run.bugs) == (10, {})


def test_a_target_that_does_not_import_ends_the_campaign_at_once(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        list(campaign("nowhere.py:decode", tmp_path, cases=5).events())


def test_a_time_budget_ends_it(tmp_path: Path) -> None:
    run = campaign("bundled", tmp_path, seconds=2.0)
    done = judged_cases(run)

    assert done[:1] == [Case()]
    assert run.done == len(done)
