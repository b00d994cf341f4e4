"""On a GPU: whatever becomes of a context costs one case, and the next one is clean. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_cuda_targets

from fuzz_decode.cases.case import Case
from fuzz_decode.outcome import FAILED, PASSED
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

pytestmark = pytest.mark.gpu

SAMPLES = Path(sample_cuda_targets.__file__)
GOOD, CURSED = Case(seq_lens=(5,), block_size=4), Case(seq_lens=(5, 3), block_size=4)


@pytest.mark.parametrize(
    ("target", "signature"),
    [
        ("illegal_on_two", "crash-device:call"),
        ("hangs_on_two", "timeout:call"),
        ("launches_too_much_on_two", "exception-RuntimeError:call"),
    ],
)
def test_a_spoiled_context_costs_one_case(target: str, signature: str) -> None:
    with ResilientWorker(WorkerConfig(f"{SAMPLES}:{target}", "cuda", 20.0)) as worker:
        outcomes = [worker.run(case) for case in (GOOD, CURSED, GOOD, GOOD, CURSED, GOOD)]

    assert [outcome.status for outcome in outcomes] == [PASSED, FAILED, PASSED, PASSED, FAILED, PASSED]
    assert {outcome.signature for outcome in outcomes} == {"", signature}
