"""What many tests start from: a worker's configuration, a campaign, an entry of the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseDone
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.workers.protocol import WorkerConfig

HONEST = "sample_targets:honest_in_everything"
TIMEOUT = 20.0  # seconds; a crash is noticed at once


def worker_config(target: str, timeout: float = TIMEOUT) -> WorkerConfig:
    return WorkerConfig(target, "cpu", timeout)


def campaign(target: str, folder: Path, cases: int | None = None, **options: Any) -> Campaign:
    """A campaign that has not begun. One job by default: a second worker takes longer to start than these cases to run."""
    options = {"jobs": 1, "timeout": TIMEOUT, **options}
    return Campaign(CampaignSettings(target=target, corpus=folder, device="cpu", iters=cases, **options))


def judged_cases(running: Campaign) -> list[Case]:
    """The cases that a campaign judges until it ends, in order."""
    return [event.case for event in running.events() if isinstance(event, CaseDone)]


def finished(target: str, folder: Path, cases: int | None = None, **options: Any) -> Campaign:
    """A campaign that has ended."""
    running = campaign(target, folder, cases, **options)
    judged_cases(running)
    return running


def entry(case: Case, target: str = HONEST, signature: str = "wrong-value:out", stage: str = "compare", **more: Any) -> Entry:
    """A finding as it is stored; `more` are fields of Entry."""
    return Entry(case, case, target, signature, stage, "cpu", **more)
