"""Targets in real child processes: what crashes, hangs or leaves costs one case."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import sample_targets

import fuzz_decode
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.optional_arguments import generated_parameters
from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.targets.target import Target, target_from_function
from fuzz_decode.workers.backend import Schedule
from fuzz_decode.workers.child import _restrict_to_machine
from fuzz_decode.workers.devices import pick_device
from fuzz_decode.workers.pool import ProcessPool
from fuzz_decode.workers.protocol import RunCases, WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode.workers.worker import Worker

SAMPLES = Path(sample_targets.__file__)
GOOD = Case(seq_lens=(3,), block_size=2)
CURSED = Case(seq_lens=(1, 1))  # two sequences
PATIENT = 20.0  # seconds; a crash is noticed at once


def plan(function: str, timeout: float = PATIENT) -> WorkerConfig:
    return WorkerConfig(f"{SAMPLES}:{function}", "cpu", timeout)


@contextmanager
def started(plan: WorkerConfig) -> Iterator[Worker]:
    with closing(Worker(plan)) as worker:
        worker.ready()
        yield worker


def test_a_case_that_passes_here_passes_there_and_says_what_the_target_can() -> None:
    with ResilientWorker(plan("honest")) as worker:
        assert worker.run(GOOD).status == Status.PASSED
        assert worker.ready.space.options == {"out", "window", "softcap"}
        assert set(worker.ready.versions) == {"python", "torch", "triton"}


def test_a_finding_crosses_the_border_whole() -> None:
    with ResilientWorker(plan("five_percent_off")) as worker:
        outcome = worker.run(GOOD)
    assert (outcome.status, outcome.signature, outcome.findings[0].where) == (Status.FAILED, "wrong-value:out", (0, 0, 15))


def test_the_interpreter_is_on_in_the_child() -> None:
    with ResilientWorker(WorkerConfig("mutant:lse-base-2", "cpu", PATIENT)) as worker:
        assert worker.run(GOOD).signature == "wrong-value:lse"


def test_a_segfault_costs_one_case() -> None:
    with ResilientWorker(plan("segfaults_on_two")) as worker:
        assert worker.run(GOOD).status == Status.PASSED
        crash = worker.run(CURSED)
        assert (crash.status, crash.stage, crash.signature) == (Status.FAILED, "run", "crash-SIGSEGV:call")
        assert worker.run(GOOD).status == Status.PASSED


def test_a_target_that_exits_is_reported_with_its_last_output() -> None:
    with ResilientWorker(plan("leaves_on_two")) as worker:
        crash = worker.run(CURSED)
        assert crash.signature == "crash-exit-3:call"
        assert crash.findings[0].message == "ended with exit code 3; last output: goodbye, cruel world"
        assert worker.run(GOOD).status == Status.PASSED


def test_a_hang_ends_when_its_time_is_up() -> None:
    with ResilientWorker(plan("hangs_on_two", timeout=1.5)) as worker:
        worker.run(GOOD)
        started_at = time.monotonic()
        hang = worker.run(CURSED)
        assert 1.4 < time.monotonic() - started_at < 6
        assert (hang.status, hang.signature) == (Status.FAILED, "timeout:call")
        assert hang.findings[0].message == "no answer within 1.5 s"
        assert worker.run(GOOD).status == Status.PASSED


SLOW_ONCE = """
import pathlib, time
from sample_targets import honest
seen = pathlib.Path(__file__).with_suffix(".seen")

def decode(*arguments):
    if not seen.exists():
        seen.touch()
        time.sleep(60)
    return honest(*arguments)
"""


@pytest.mark.slow
def test_a_timeout_that_is_none_in_a_second_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_ONCE)
    result = fuzz_decode.check(f"{tmp_path}/slow.py:decode", GOOD, device="cpu", timeout=3.0)

    assert (result.status, (tmp_path / "slow.seen").exists()) == ("passed", True)
    with ResilientWorker(plan("hangs_on_two", timeout=1.0)) as worker:
        assert worker.run_calls((CURSED,)).signature == "timeout:call"


BUSY = """
import os, time
from sample_targets import honest

def decode(*arguments):
    os.sched_setaffinity(0, {core})
    until = time.process_time() + {seconds}
    while time.process_time() < until:
        pass
    return honest(*arguments)
"""


@contextmanager
def busy_core(core: int, processes: int) -> Iterator[None]:
    """Other processes that use up a core."""
    program = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    others = [subprocess.Popen([sys.executable, "-c", program], start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="only Linux tells how long a process waits")
@pytest.mark.parametrize(("seconds", "status"), [(1.0, "passed"), (60.0, "failed")])
def test_waiting_for_a_core_is_no_time_of_the_case(seconds: float, status: str, tmp_path: Path) -> None:
    """A process has a fifth of a core at most: a second of work is no timeout at a limit of 3, and a minute is one."""
    core = min(os.sched_getaffinity(0))
    (tmp_path / "busy.py").write_text(BUSY.format(core={core}, seconds=seconds))
    with ResilientWorker(WorkerConfig(f"{tmp_path}/busy.py:decode", "cpu", 3.0)) as worker, busy_core(core, 4):
        assert worker.run(GOOD).status == status


def test_printing_blocks_nobody() -> None:
    with ResilientWorker(plan("talks_a_lot")) as worker:
        assert [worker.run(GOOD).status for _ in range(3)] == [Status.PASSED] * 3


def test_exceptions_and_rejections_do_not_end_the_process() -> None:
    with started(plan("raises_key_error")) as worker:
        for _ in range(2):
            assert worker.ask(RunCases((GOOD,))).signature == "exception-KeyError:call"
        assert worker.alive
    with started(plan("cannot")) as worker:
        assert worker.ask(RunCases((GOOD,))).status == Status.REJECTED
        assert worker.alive


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no GPU')", "does not import: RuntimeError: no GPU"),
        (
            "import os; print('no luck', flush=True); os._exit(7)",
            "ended with exit code 7; last output: no luck, while it was imported",
        ),
        ("import sys; sys.exit('usage: ...')", "usage: ..."),
    ],
)
def test_a_target_that_does_not_import_is_a_usage_error(tmp_path: Path, source: str, words: str) -> None:
    file = tmp_path / "broken_target.py"
    file.write_text(source)
    with closing(Worker(WorkerConfig(f"{file}:decode", "cpu", PATIENT))) as worker:
        with pytest.raises(TargetError, match=str(file)) as caught:
            worker.ready()
        assert words in str(caught.value)
        assert not worker.alive
    assert "\n" not in str(caught.value)


def test_closing_twice_is_harmless() -> None:
    worker = Worker(plan("honest"))
    worker.close()
    worker.close()
    assert not worker.alive


def test_a_worker_that_was_killed_while_idle_is_noticed_at_the_next_case() -> None:
    with started(plan("honest")) as worker:
        worker._process.kill()
        worker._process.join()
        assert worker.ask(RunCases((GOOD,))).signature == "crash-SIGKILL:call"
        assert not worker.alive


SCALED = Case(seq_lens=(2,), scale=0.3)
UNSCALED = Case(seq_lens=(2,))


@pytest.mark.slow
def test_a_fresh_process_knows_nothing_of_what_ran_before() -> None:
    with ResilientWorker(plan("remembers_the_scale")) as worker:
        assert worker.run(UNSCALED).status == Status.PASSED
        assert worker.run(SCALED).signature == "wrong-value:out"
        assert worker.run_fresh((SCALED,)).status == Status.PASSED
        assert worker.run_fresh((UNSCALED,)).status == Status.PASSED
        assert worker.run_fresh((UNSCALED, SCALED)).signature == "wrong-value:out"
        assert worker.run_calls((SCALED, UNSCALED)).signature == "wrong-value:out"


def test_a_crash_in_a_fresh_process_costs_that_one() -> None:
    with ResilientWorker(plan("segfaults_on_two")) as worker:
        for _ in range(2):
            assert worker.run_fresh((GOOD, CURSED)).signature == "crash-SIGSEGV:call"
            assert worker.run_fresh((GOOD, GOOD)).status == Status.PASSED


def test_the_crash_of_an_earlier_call_is_not_that_of_the_last() -> None:
    with ResilientWorker(plan("leaves_on_two")) as worker:
        crash = worker.run_fresh((CURSED, GOOD))
        assert crash.signature == "crash-exit-3:call of an earlier call"
        assert crash.findings[0].message == "ended with exit code 3; last output: goodbye, cruel world"


def test_a_hang_in_a_fresh_process_leaves_nothing_running() -> None:
    with ResilientWorker(plan("hangs_on_two", timeout=1.0)) as worker:
        assert worker.run_fresh((GOOD,)).status == Status.PASSED
        parent = worker._worker._process.pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        assert worker.run(CURSED).signature == "timeout:call"
        deadline = time.monotonic() + PATIENT
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("how", ["fork", "restart"])
def test_in_fresh_processes_a_pool_tells_each_call_with_those_before_it(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By restarts as on CUDA, where a process that has a context cannot be forked."""
    if how == "restart":
        monkeypatch.setattr(Worker, "fresh_process", lambda self: self._unused or self.close())
    runs = [(GOOD, UNSCALED, SCALED), (SCALED, UNSCALED), (UNSCALED,)]
    with closing(ProcessPool(plan("remembers_the_scale"), 2)) as pool:
        pool.start()
        done = {number: (calls, outcome.status) for number, calls, outcome in pool.outcomes(iter(runs), Schedule(fresh=True))}
    assert done == {
        0: (runs[0][:1], Status.PASSED),
        1: (runs[0][:2], Status.PASSED),
        2: (runs[0], Status.FAILED),
        3: (runs[1][:1], Status.PASSED),
        4: (runs[1], Status.FAILED),
        5: (runs[2], Status.PASSED),
    }


def test_what_follows_a_crash_is_run_in_another_process() -> None:
    with closing(ProcessPool(plan("segfaults_on_two"), 1)) as pool:
        pool.start()
        done = list(pool.outcomes(iter([(GOOD, CURSED, GOOD, SCALED)]), Schedule(fresh=True)))
    assert [(number, calls) for number, calls, _ in done] == [
        *((0, (GOOD,)), (1, (GOOD, CURSED)), (2, (GOOD,)), (3, (GOOD, SCALED))),
    ]
    assert [outcome.status for _, _, outcome in done] == [Status.PASSED, Status.FAILED, Status.PASSED, Status.PASSED]


def run_all(pool: ProcessPool, cases: list[Case]) -> list[tuple[int, Case, Outcome]]:
    pool.start()
    return [(number, case, outcome) for number, (case,), outcome in pool.outcomes((case,) for case in cases)]


def test_a_pool_gives_every_case_once_although_some_crash() -> None:
    cases = [CURSED if number in {2, 3, 6} else Case(seq_lens=(number + 1,)) for number in range(8)]
    with closing(ProcessPool(plan("segfaults_on_two"), 2)) as pool:
        done = run_all(pool, cases)
    assert sorted(number for number, _, _ in done) == list(range(8))
    for number, case, outcome in done:
        assert case == cases[number]
        assert outcome.signature == ("crash-SIGSEGV:call" if case == CURSED else "")


def test_a_pool_goes_on_while_one_case_hangs() -> None:
    cases = [CURSED, *(Case(seq_lens=(length,)) for length in range(1, 7))]
    with closing(ProcessPool(plan("hangs_on_two", timeout=2.0), 2)) as pool:
        done = run_all(pool, cases)
    assert sorted(number for number, _, _ in done) == list(range(7))
    assert {outcome.signature for number, _, outcome in done if number == 0} == {"timeout:call"}
    assert {outcome.status for number, _, outcome in done if number} == {Status.PASSED}


def test_a_pool_without_cases_is_done_at_once() -> None:
    with closing(ProcessPool(plan("honest"), 1)) as pool:
        assert run_all(pool, []) == []


def test_a_pool_for_a_target_that_does_not_import_is_a_usage_error() -> None:
    nowhere = WorkerConfig("no_such_package:decode", "cpu", PATIENT)
    with closing(ProcessPool(nowhere, 2)) as pool, pytest.raises(TargetError, match="does not import"):
        pool.start()


def test_a_device_that_was_named_is_taken_as_it_is() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("cuda") == "cuda"
    assert pick_device("auto") in {"cpu", "cuda"}


def _sample(**limits: object) -> Target:
    return target_from_function("sample", sample_targets.honest, **limits)


def test_a_target_keeps_to_the_wanted_dtypes_that_are_right_here() -> None:
    plan = WorkerConfig("sample", "cpu", 1.0, ("bfloat16", "float16"))
    assert _restrict_to_machine(_sample(), plan, {}).dtypes == ("float16", "bfloat16")
    assert _restrict_to_machine(_sample(), plan, {"bfloat16": "dot differs from torch"}).dtypes == ("float16",)


def test_a_target_loses_float8_caches_that_are_not_read_right_here() -> None:
    """All of them, if need be: then none are drawn."""
    plan, wrong = WorkerConfig("sample", "cpu", 1.0), "widening to float32 differs from torch"
    assert _restrict_to_machine(_sample(), plan, {}).cache_dtypes == CACHE_DTYPES
    assert _restrict_to_machine(_sample(), plan, {"float8_e5m2": wrong}).cache_dtypes == ("float8_e4m3fn",)
    none = _restrict_to_machine(_sample(), plan, dict.fromkeys(CACHE_DTYPES, wrong))
    assert (none.dtypes, none.cache_dtypes) == (DTYPES, ())
    space = replace(none.case_space(), options=generated_parameters(), huge_spans=False)
    assert all(case.cache_dtype is None for case in islice(case_stream(0, space), 100))


@pytest.mark.parametrize(
    ("limits", "refused", "words"),
    [
        ({"devices": ("cuda",)}, {}, "target sample runs on cuda only, not on cpu"),
        ({"dtypes": ("float32",)}, {}, "target sample takes float32, not bfloat16"),
        (
            {},
            {"bfloat16": "dot differs"},
            r"Triton's interpreter fails its self-test in every requested dtype \(bfloat16: dot differs\)",
        ),
    ],
)
def test_a_target_with_nothing_left_to_run_is_a_usage_error(
    limits: dict[str, object], refused: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        _restrict_to_machine(_sample(**limits), WorkerConfig("sample", "cpu", 1.0, ("bfloat16",)), refused)
