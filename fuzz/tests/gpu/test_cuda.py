"""On a GPU: whatever becomes of a context costs one case, and the next one is clean. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import sample_cuda_targets
import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.outcome import Status
from fuzz_decode.targets.target import target_from_function
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
        ("asks_for_too_much_on_two", "out-of-memory:call"),
    ],
)
def test_a_spoiled_context_costs_one_case(target: str, signature: str) -> None:
    with ResilientWorker(WorkerConfig(f"{SAMPLES}:{target}", "cuda", 20.0)) as worker:
        outcomes = [worker.run(case) for case in (GOOD, CURSED, GOOD, GOOD, CURSED, GOOD)]

    assert [outcome.status for outcome in outcomes] == [
        Status.PASSED,
        Status.FAILED,
        Status.PASSED,
        Status.PASSED,
        Status.FAILED,
        Status.PASSED,
    ]
    assert {outcome.signature for outcome in outcomes} == {"", signature}


def test_memory_is_given_back_after_a_call_that_ran_out_of_it() -> None:
    target = target_from_function("sample", sample_cuda_targets.asks_for_too_much_on_two)
    outcome = run_case(CURSED, target, "cuda")
    assert outcome.signature == "out-of-memory:call"
    assert outcome.findings[0].message.startswith("torch.OutOfMemoryError: CUDA out of memory.")
    assert torch.cuda.memory_reserved() < 2**28
