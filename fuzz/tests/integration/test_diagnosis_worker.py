"""Diagnosis where it runs: in the worker of a campaign, with a target that may not survive it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sample_faults
from factories import entry, worker_config

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.make_entry import with_diagnosis
from fuzz_decode.campaign.minimize import MinimizedEntry, minimize
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.corpus.read import load
from fuzz_decode.diagnose import Diagnosis
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

SAMPLES = Path(sample_faults.__file__)
HND = Layout(FAMILIES["HND"])
WRONG = Case(seq_lens=(2,), num_kv_heads=2, block_size=2, v=HND)


def config(function: str) -> WorkerConfig:
    return worker_config(f"{SAMPLES}:{function}")


def test_a_worker_answers_with_a_diagnosis_and_goes_on() -> None:
    with ResilientWorker(config("v_heads_taken_to_be_dense")) as worker:
        assert worker.diagnose(WRONG).fault == "v-head-stride-dense"
        assert worker.run(WRONG).signature == "wrong-value:out"


def test_a_target_that_dies_of_probes_is_asked_without_them() -> None:
    with ResilientWorker(config("wrong_and_wild")) as worker:
        found = worker.diagnose(WRONG)
    assert "head stride of V read as 16" in found.sentence


def test_a_target_that_dies_anyway_is_said_to() -> None:
    with ResilientWorker(config("wrong_and_wild")) as worker:
        found = worker.diagnose(Case(seq_lens=(1, 1)))
    assert found == Diagnosis(sentence=found.sentence)
    assert found.sentence.startswith("the kernel was killed by SIGSEGV")
    assert found.sentence.endswith("while it was diagnosed")


def test_calls_in_a_row_and_calls_that_raise_are_not_examined() -> None:
    with ResilientWorker(config("v_heads_taken_to_be_dense")) as worker:
        assert with_diagnosis(entry(WRONG, before=(WRONG,)), worker, 20.0).diagnosis == ""
        assert with_diagnosis(entry(WRONG, stage="run"), worker, 20.0).diagnosis == ""
        assert with_diagnosis(entry(WRONG), worker, 20.0).diagnosis.startswith("head stride of V read as 16")


@pytest.mark.slow
def test_a_campaign_stores_the_diagnosis_and_minimizing_renews_it(tmp_path: Path) -> None:
    target = WorkerConfig("mutant:k-block-stride-dense", "cpu", 20.0)
    options: dict[str, Any] = {"iters": 30, "stop_after": 1, "jobs": 1}
    running = Campaign(CampaignSettings(target=target.target, corpus=tmp_path, device="cpu", timeout=20.0, **options))
    list(running.events())
    (bug,) = running.state.bugs
    stored = load(bug.path)
    assert stored.diagnosis == bug.entry.diagnosis
    assert "(block_size * slot stride) instead of" in stored.diagnosis

    again = minimize(bug.path, stored, target, 20.0)
    assert isinstance(again, MinimizedEntry)
    assert load(again.path).diagnosis == stored.diagnosis
