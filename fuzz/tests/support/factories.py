"""What several tests start from: a worker's configuration, an entry of the corpus."""

from __future__ import annotations

from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.workers.protocol import WorkerConfig

HONEST = "sample_targets:honest_in_everything"
TIMEOUT = 20.0  # seconds; a crash is noticed at once


def worker_config(target: str, timeout: float = TIMEOUT) -> WorkerConfig:
    return WorkerConfig(target, "cpu", timeout)


def entry(case: Case, target: str = HONEST, signature: str = "wrong-value:out", stage: str = "compare", **more: Any) -> Entry:
    """A finding as it is stored; `more` are fields of Entry."""
    return Entry(case, case, target, Signature(signature), Stage(stage), "cpu", **more)
