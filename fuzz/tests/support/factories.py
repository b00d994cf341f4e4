"""What several tests start from: a worker's configuration, a campaign, an entry of the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.workers.protocol import WorkerConfig

HONEST = "sample_targets:honest_in_everything"
TIMEOUT = 20.0  # seconds; a crash is noticed at once


def worker_config(target: str, timeout: float = TIMEOUT) -> WorkerConfig:
    return WorkerConfig(target, "cpu", timeout)


def campaign(target: str, folder: Path, **options: Any) -> Campaign:
    """One on the CPU; `options` are fields of CampaignSettings."""
    options = {"device": "cpu", "jobs": 2, "timeout": TIMEOUT, **options}
    return Campaign(CampaignSettings(target=target, corpus=folder, **options))


def finished(target: str, folder: Path, **options: Any) -> Campaign:
    """The same when it is over."""
    running = campaign(target, folder, **options)
    for _ in running.events():
        pass
    return running


def entry(case: Case, target: str = HONEST, signature: str = "wrong-value:out", stage: str = "compare", **more: Any) -> Entry:
    """A finding as it is stored; `more` are fields of Entry."""
    return Entry(case, case, target, Signature(signature), Stage(stage), "cpu", **more)
