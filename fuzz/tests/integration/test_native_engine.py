"""Campaigns in the native engine: clean ones, findings that only it sees, and kernels that it cannot run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import triton_targets
from factories import entry

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.evaluate import score
from fuzz_decode.evaluate.measurements import Measurement, MeasurementStore
from fuzz_decode.evaluate.mutant_inventory import subjects
from fuzz_decode.evaluate.settings import EvaluationSettings
from fuzz_decode.evaluate.task import Task
from fuzz_decode.workers import child, engines
from fuzz_decode.workers.engines import INTERPRETER, NATIVE, EngineChoice, pick_engine
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_gpu,
    pytest.mark.skipif(engines.compiler() is None, reason="needs a C compiler"),
]

CASE = Case(seq_lens=(3,), block_size=2)
RACES, USES_MASKED_LANES, FOLLOWS_ADDRESSES, DOES_NOT_COMPILE, COUNTS_FROM_GARBAGE = (
    dataclasses.replace(CASE, seq_lens=(3,) * number) for number in (2, 3, 4, 5, 6)
)
SAMPLES = Path(triton_targets.__file__)
LOOP_LINE = 1 + SAMPLES.read_text().splitlines().index("    for _ in range(3):")
COUNTS_FROM = 1 + SAMPLES.read_text().splitlines().index("    if tl.atomic_add(finished, 1) == COUNT - 1:")
NEEDS_A_LOOP = (
    f"the native engine does not support scf.for in a function that combines or maps elements ({SAMPLES}, line {LOOP_LINE})"
)


def target(name: str) -> str:
    return f"{SAMPLES}:{name}"


@pytest.fixture(scope="module")
def worker() -> Iterator[ResilientWorker]:
    config = WorkerConfig(target("misbehaves"), "cpu", 20.0, engine=EngineChoice(NATIVE))
    with ResilientWorker(config) as worker:
        yield worker


def test_the_bundled_kernel_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    options = ["--iters", "10", "--jobs", "1", "--device", "cpu", "--engine", "native", "--corpus", str(tmp_path / "corpus")]

    assert main([*options, "--json", str(report)]) == CLEAN
    assert capsys.readouterr().out.startswith("target bundled on cpu (native engine), seed 0")
    data = json.loads(report.read_text())
    assert (data["engine"], data["findings"], data["rejected"]) == ("native", [], 0)


def test_a_mutant_is_found_with_the_same_signature(tmp_path: Path) -> None:
    options: dict[str, Any] = {"iters": 20, "stop_after": 1, "jobs": 1, "device": "cpu", "minimize_time": 10.0}
    campaign = Campaign(CampaignSettings(target="mutant:k-block-stride-dense", corpus=tmp_path, engine="native", **options))
    for _ in campaign.events():
        pass

    (bug,) = campaign.state.bugs
    found = bug.entry.signature, bug.entry.fault, bug.entry.versions["engine"]
    assert found == ("wrong-value:out", "k-block-stride-dense", "native")


def test_an_access_behind_an_allocation_is_a_finding(worker: ResilientWorker) -> None:
    outcome, diagnosis = worker.run(CASE), worker.diagnose(CASE, seconds=3.0)

    assert outcome.signature == "out-of-bounds-source:call"
    place = "after its storage in line 23 of triton_targets.py, program (0, 0, 0), 4 elements in all"
    assert outcome.findings[0].message == f"source was read 4 bytes {place}"
    assert (diagnosis.fault, diagnosis.confident) == ("wild-read", True)


def test_a_race_is_a_finding(worker: ResilientWorker) -> None:
    assert worker.run(RACES).signature == "order-dependent:out"
    assert worker.diagnose(RACES).sentence.startswith("its programs race: 1 of 32 elements of out differ in their bits")


def test_a_masked_lane_in_a_result_is_a_finding(worker: ResilientWorker) -> None:
    assert worker.run(USES_MASKED_LANES).signature == "undefined-value-wanted:call"
    assert worker.diagnose(USES_MASKED_LANES).fault == "undefined-value"


def test_a_counter_that_nothing_set_to_zero_is_a_finding(worker: ResilientWorker) -> None:
    (finding,) = worker.run(COUNTS_FROM_GARBAGE).findings

    assert finding.signature == "undefined-value-finished:call"
    place = f"line {COUNTS_FROM} of triton_targets.py, program (0, 0, 0)"
    read = f"the kernel reads memory that nothing wrote, of finished, int32 [1], in {place}"
    assert finding.message == f"{read}: it decides a branch in {place}, 2 elements in all"


def test_an_address_in_memory_leads_to_any_tensor_of_the_host(worker: ResilientWorker) -> None:
    assert worker.run(FOLLOWS_ADDRESSES).status == "passed"


def test_an_error_of_the_compiler_is_shown_with_its_lines(worker: ResilientWorker) -> None:
    (finding,) = worker.run(DOES_NOT_COMPILE).findings

    assert finding.signature == "exception-CompilationError:call"
    assert finding.message.startswith("triton.compiler.errors.CompilationError: COUNT must be three at triton_targets.py:")
    source = [line.partition(": ")[2] for line in finding.calls.splitlines()]
    assert source == [
        "call[(1,)](torch.zeros(1), COUNT=4)",
        "tl.store(x, three_or_nothing(x, COUNT))",
        'tl.static_assert(COUNT == 3, "COUNT must be three")',
    ]


def test_the_interpreter_takes_over_where_a_kernel_cannot_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    options = ["--iters", "6", "--jobs", "2", "--device", "cpu", "--corpus", str(tmp_path / "corpus")]

    assert main([*options, "--target", target("combines_with_a_loop"), "--json", str(report)]) == CLEAN
    assert f"engine: interpreter, since {NEEDS_A_LOOP}\n" in capsys.readouterr().out
    data = json.loads(report.read_text())
    assert (data["engine"], data["engine_reason"], data["cases"]) == ("interpreter", NEEDS_A_LOOP, 6)
    assert "engine" not in data["versions"]


@pytest.mark.parametrize("command", ["replay", "triage", "minimize", "targets"])
def test_each_command_says_once_that_the_interpreter_took_over(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = target("combines_with_a_loop")
    path = save(tmp_path, entry(CASE, name))
    words = ["--check", name] if command == "targets" else [str(path), "--target", name]

    assert main([command, *words, "--device", "cpu"]) == CLEAN
    assert capsys.readouterr().out.count(f"engine: interpreter, since {NEEDS_A_LOOP}\n") == 1


def test_a_worker_that_is_replaced_makes_all_calls_again() -> None:
    with ResilientWorker(WorkerConfig(target("combines_with_a_loop"), "cpu", 20.0, engine=pick_engine("auto", "cpu"))) as worker:
        assert worker.run_fresh((CASE, CASE)).status == "passed"
        assert worker.plan.engine == EngineChoice(reason=NEEDS_A_LOOP)
        assert "engine" not in worker.ready.versions


def test_nothing_takes_over_from_the_engine_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--iters", "3", "--jobs", "1", "--device", "cpu", "--engine", "native", "--corpus", str(tmp_path / "corpus")]

    assert main([*options, "--target", target("combines_with_a_loop")]) == USAGE
    assert capsys.readouterr().err == f"fuzz-decode: error: {NEEDS_A_LOOP}; engine interpreter may run this kernel\n"


def test_without_a_compiler_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)

    assert main(["--iters", "1", "--device", "cpu", "--engine", "native", "--corpus", str(tmp_path)]) == USAGE


def test_the_interpreter_takes_over_where_the_compiler_fails(tmp_path: Path) -> None:
    """In a process of its own: workers have the environment of the first one."""
    environment = {**os.environ, "CC": shutil.which("false") or "", "XDG_CACHE_HOME": str(tmp_path)}
    options = ["--iters", "1", "--jobs", "1", "--device", "cpu", "--corpus", str(tmp_path / "corpus")]
    command = [sys.executable, "-m", "fuzz_decode", *options, "--target", target("combines_with_a_loop")]

    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    assert done.returncode == CLEAN, done.stderr
    header, reason, *_ = done.stdout.splitlines()
    assert header.startswith(f"target {target('combines_with_a_loop')} on cpu (Triton interpreter)")
    compiler = f"the C compiler {environment['CC']}, which fails: no message"
    assert reason == f"engine: interpreter, since the native engine does not support {compiler}"


@pytest.mark.parametrize("replaceable", [True, False])
def test_auto_takes_an_engine_that_passes_its_self_test(monkeypatch: pytest.MonkeyPatch, replaceable: bool) -> None:
    monkeypatch.setattr(child, "refused_dtypes", lambda device, engine: {"bfloat16": "sum differs from torch"})
    config = WorkerConfig("bundled", "cpu", 20.0, engine=EngineChoice(NATIVE, replaceable))

    if not replaceable:
        assert child._prepare(config)[1].refused == {"bfloat16": "sum differs from torch"}
        return
    with pytest.raises(UnsupportedKernel, match=r"fails its self-test here \(bfloat16: sum differs from torch\)"):
        child._prepare(config)


def test_a_score_is_made_again_in_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: a table has the measurements of one engine."""
    measured: list[EngineChoice] = []

    class Pool:
        def __init__(self, plan: WorkerConfig, jobs: int) -> None:
            self.plan = plan

        def measurements(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Measurement]]:
            for number, task in enumerate(tasks):
                if number == 1 and self.plan.engine.engine == NATIVE:
                    raise UnsupportedKernel(NEEDS_A_LOOP)
                measured.append(self.plan.engine)
                yield task, Measurement(task.subject.name, task.subject.kind, task.seed, cases=1)

        def close(self) -> None:
            pass

    monkeypatch.setattr(score, "EvaluationPool", Pool)
    setting = EvaluationSettings("cpu", 20.0, cases=1, engine=EngineChoice(NATIVE, replaceable=True))
    made = score.Score(subjects("k-block-stride-dense"), setting, 2, 0, MeasurementStore(None), 1)

    assert [measurement.seed for measurement in made.events()] == [0, 0, 1]
    assert (len(made.measured), made.setting.engine) == (2, EngineChoice(reason=NEEDS_A_LOOP))
    assert [choice.engine for choice in measured] == [NATIVE, INTERPRETER, INTERPRETER]
