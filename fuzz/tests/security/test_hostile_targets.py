"""Targets that do to their process what they must not: each is a finding or works, and what runs after it is judged as ever."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import hostile_targets
import pytest
from processes import is_running, wait_for

from fuzz_decode.cases.case import Case
from fuzz_decode.errors import TargetError
from fuzz_decode.generate.rounds import rounds
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.workers.output import LIMIT
from fuzz_decode.workers.pool import ProcessPool
from fuzz_decode.workers.protocol import EvaluateCase, RunCases, WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode.workers.worker import Worker

pytestmark = pytest.mark.slow  # every target ends its process

HOSTILE = Path(hostile_targets.__file__)
CASE = Case(seq_lens=(3,), block_size=2)
SECONDS = 20.0

OUTCOMES = {
    "default_device_meta": "",
    "default_device_cuda": "",
    "default_dtype": "",
    "grad_mode": "",
    "deterministic_mode": "",
    "many_threads": "",
    "other_folder": "",
    "closed_streams": "exception-OSError:call",  # nothing, in the first call: this is the target's own
    "other_environment": "",
    "low_recursion_limit": "",
    "warnings_are_errors": "",
    "signal_handlers": "",
    "raises_at_exit": "",
    "thread_left_running": "",
    "random_seed": "",
    "closed_stdout_object": "",
    "child_left_running": "",
    "patched_torch": "exception-TypeError:call",
    "returns_sparse": "wrong-shape:out",
    "returns_quantised": "wrong-dtype:out",
    "returns_nested": "wrong-shape:out",
    "returns_meta": "wrong-device:out",
    "returns_numpy": "wrong-shape:out",
    "returns_new_subclass": "",
    "returns_subclass_that_raises": "",
    "returns_wrapper": "wrong-shape:out",
    "returns_parameter": "",
    "returns_negative_view": "",
    "returns_liar": "wrong-shape:out",
    "returns_hostile_tuple": "exception-RuntimeError:call",
    "freed_storage": "crash-SIGSEGV:call",
    "exits": "exception-SystemExit:call",
    "exits_at_once": "crash-exit-0:call",
    "interrupts": "exception-KeyboardInterrupt:call",
    "raises_unpicklable": "exception-Odd:call",
    "rejects_unprintably": "rejected",
    "raises_with_a_steering_name": "exception-X__2J__out:call",
    "raises_with_a_long_name": f"exception-{'X' * 60}:call",
    "raises_without_end": "exception-RecursionError:call",
    "dies_of_a_realtime_signal": "crash-SIG35:call",
    "kills_its_group": "crash-SIGKILL:call",
    "kills_its_parent": "crash-SIGKILL:call",
    "closes_every_descriptor": "crash-exit-1:call",
    "alarm_after_the_call": "",
    "last_words": "crash-SIGSEGV:call",
    "supports_gives_an_unpicklable_reason": "rejected",
    "arithmetic_interrupts": "crash-exit-1:call",
}


@pytest.fixture(scope="module")
def worker() -> Iterator[ResilientWorker]:
    with ResilientWorker(WorkerConfig(f"{HOSTILE}:right", "cpu", SECONDS)) as worker:
        yield worker


def shown(outcome: Outcome) -> str:
    return "rejected" if outcome.status == Status.REJECTED else outcome.signature


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_hostile_target_works_or_is_a_finding_and_harms_nothing_else(name: str, worker: ResilientWorker) -> None:
    worker._fresh_process()
    for _ in range(2):
        outcome = worker._alive().ask(EvaluateCase(f"{HOSTILE}:{name}", CASE))
        assert shown(outcome) == OUTCOMES[name]
        assert "".join(finding.message + finding.signature for finding in outcome.findings).isprintable()
    if name != "patched_torch":
        assert worker.run(CASE).status == Status.PASSED


def test_what_a_target_sets_holds_in_its_own_calls(tmp_path: Path) -> None:
    source = (
        "import torch\nfrom hostile_targets import right\ntorch.set_default_dtype(torch.float64)\n"
        "def decode(*arguments):\n    assert torch.empty(0).dtype == torch.float64\n    return right(*arguments)\n"
    )
    (tmp_path / "settings.py").write_text(source)
    with ResilientWorker(WorkerConfig(f"{tmp_path}/settings.py:decode", "cpu", SECONDS)) as worker:
        assert [worker.run(CASE).status for _ in range(2)] == [Status.PASSED] * 2


@pytest.mark.parametrize("line", ["torch.set_default_device('meta')", "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"])
def test_what_an_import_sets_is_harmless(line: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f"import signal, torch\nfrom hostile_targets import right as decode\n{line}\n")
    with ResilientWorker(WorkerConfig(f"{tmp_path}/module.py:decode", "cpu", SECONDS)) as worker:
        outcomes = [worker.run_fresh((CASE,)) for _ in range(2)]

    assert all(outcome.status in (Status.PASSED, Status.FAILED) for outcome in outcomes)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sys.exit(0)", "does not import: SystemExit: 0"),
        ("raise KeyboardInterrupt", "ended with exit code 1; last output: KeyboardInterrupt, while it was imported"),
        ("os._exit(0)", "ended with exit code 0, while it was imported"),
        ("os.kill(os.getpid(), 35)", "was killed by SIG35, while it was imported"),
        ("os.closerange(0, 1024)", "ended with exit code 1"),
        ("__getattr__ = lambda name: 1 / 0", "ended with exit code 1; last output: ZeroDivisionError: division by zero"),
    ],
)
def test_an_import_that_ends_its_process_is_a_sentence(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f"import os, sys\n{line}\n")
    worker = Worker(WorkerConfig(f"{tmp_path}/module.py:decode", "cpu", SECONDS))
    with closing(worker), pytest.raises(TargetError, match=f"^target {tmp_path}/module.py") as caught:
        worker.ready()

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["supports", "arithmetic", "compiles_for"])
def test_a_declaration_that_raises_is_bad_input(name: str, tmp_path: Path) -> None:
    source = "import sys\nfrom fuzz_decode.targets import target\nfrom hostile_targets import right\n"
    (tmp_path / "odd.py").write_text(f"{source}decode = target({name}=lambda case: sys.exit(3))(lambda *a: right(*a))\n")
    with closing(ProcessPool(WorkerConfig(f"{tmp_path}/odd.py:decode", "cpu", SECONDS), 1)) as pool:
        _, drawn = next(rounds(0, pool.start().space, 0, None))
        run = drawn if name == "compiles_for" else (CASE,)
        with pytest.raises(TargetError, match=f"odd.py:decode: {name} raised SystemExit: 3"):
            list(pool.outcomes([run]))


DIES = """
import os
from fuzz_decode.targets import target
from hostile_targets import right

def compiles_for(case):
    with open(FILE, "a") as file:
        file.write("x")
    if os.path.getsize(FILE) <= DEATHS:
        os.kill(os.getpid(), 11)
    return "all"

decode = target(compiles_for=compiles_for)(lambda *a: right(*a))
"""


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_declaration_that_kills_its_process_is_bad_input_in_the_end(deaths: int, tmp_path: Path) -> None:
    """Not at once: an earlier case may have damaged that process."""
    draws = tmp_path / "draws"
    (tmp_path / "odd.py").write_text(DIES.replace("FILE", repr(str(draws))).replace("DEATHS", str(deaths)))
    with closing(ProcessPool(WorkerConfig(f"{tmp_path}/odd.py:decode", "cpu", SECONDS), 1)) as pool:
        _, drawn = next(rounds(0, pool.start().space, 0, 1))
        expected = pytest.raises(TargetError, match=r"compiles_for ended its process 3 times; .* killed by SIGSEGV")
        with expected if deaths == 3 else contextlib.nullcontext():
            assert [outcome.status for _, _, outcome in pool.outcomes([drawn])] == ["passed"]
    assert draws.stat().st_size >= 3


def test_a_flood_leaves_the_last_line_and_takes_no_room() -> None:
    with closing(Worker(WorkerConfig(f"{HOSTILE}:last_words", "cpu", SECONDS))) as worker:
        worker.ready()
        crash = worker.ask(RunCases((CASE,)))

    assert crash.findings[0].message == "was killed by SIGSEGV; last output: the last word"
    assert len(worker._output._tail) <= LIMIT


def wait_until_gone(processes: list[int]) -> list[int]:
    """Those that still run after some seconds."""
    wait_for(lambda: not any(map(is_running, processes)), 8)
    return [process for process in processes if is_running(process)]


CHILDREN = """
import os, subprocess, sys, time
from hostile_targets import right

def decode(*arguments):
    group = subprocess.Popen(["sleep", "600"])
    session = subprocess.Popen(["sleep", "600"], start_new_session=True)
    if not (middle := os.fork()):
        os.setsid()
        if last := os.fork():
            open(FILE + ".orphan", "w").write(str(last))
            os._exit(0)
        time.sleep(600)
    os.waitpid(middle, 0)
    with open(FILE, "w") as file:
        print(group.pid, session.pid, open(FILE + ".orphan").read(), os.getpid(), file=file)
    END
    return right(*arguments)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux lets a process inherit orphans")
@pytest.mark.parametrize("end", ["pass", "os._exit(3)", "os.kill(os.getpid(), 9)", "time.sleep(60)"])
def test_what_a_target_started_ends_with_its_worker(end: str, tmp_path: Path) -> None:
    (tmp_path / "starts.py").write_text(CHILDREN.replace("FILE", repr(str(tmp_path / "pids"))).replace("END", end))
    with ResilientWorker(WorkerConfig(f"{tmp_path}/starts.py:decode", "cpu", 3.0)) as worker:
        worker.run(CASE)
    processes = [int(word) for word in (tmp_path / "pids").read_text().split()]

    assert len(processes) == 4
    assert wait_until_gone(processes) == []
