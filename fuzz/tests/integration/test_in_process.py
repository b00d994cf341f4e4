"""A function that no other process can find, run, diagnosed and traced in this one."""

from __future__ import annotations

import sample_faults
import sample_targets

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.outcome import Status
from fuzz_decode.workers.backend import CaseRunner, Schedule, WorkerBackend
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.protocol import WorkerConfig

PLAN = WorkerConfig("a closure", "cpu", 20.0)
WRONG = Case(seq_lens=(2,), num_kv_heads=2, block_size=2, v=Layout(FAMILIES["HND"]))


def test_a_case_runner_traces_the_named_fault() -> None:
    runner: CaseRunner = InProcessBackend(PLAN, sample_faults.v_heads_taken_to_be_dense)

    assert runner.run(WRONG).signature == "wrong-value:out"
    assert runner.diagnose(WRONG).fault == "v-head-stride-dense"
    trace = runner.trace(WRONG, "v-head-stride-dense", (0, 1))
    assert trace is not None
    assert trace.known
    assert trace.strides == {"v_cache": (64, 16, 16, 1)}


def test_without_a_fault_the_kernel_is_watched() -> None:
    runner = InProcessBackend(PLAN, sample_targets.honest)
    trace = runner.trace(Case(seq_lens=(2,)), "", (0, 0))

    assert trace is not None
    assert (trace.known, trace.actual) == (False, trace.wanted)


def test_a_backend_makes_all_calls_in_order() -> None:
    backend: WorkerBackend = InProcessBackend(PLAN, sample_targets.honest)
    runs = [(Case(seq_lens=(1,)), Case(seq_lens=(2,))), (Case(seq_lens=(3,)),)]

    assert "softcap" in dict(backend.start().description.options)
    done = list(backend.outcomes(runs, Schedule(start=5)))
    assert [(number, calls, outcome.status) for number, calls, outcome in done] == [
        (5, runs[0][:1], Status.PASSED),
        (6, runs[0][1:], Status.PASSED),
        (7, runs[1], Status.PASSED),
    ]
    assert list(backend.outcomes(runs, Schedule(until=0.0))) == []
