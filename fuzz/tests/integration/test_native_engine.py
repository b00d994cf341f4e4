"""Campaigns in the native engine: clean ones, findings that only it sees, and kernels that it cannot run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import triton_targets

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.workers import engines
from fuzz_decode.workers.engines import NATIVE, EngineChoice, pick_engine
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_gpu,
    pytest.mark.skipif(engines.compiler() is None, reason="needs a C compiler"),
]

CASE = Case(seq_lens=(3,), block_size=2)
RACES, USES_MASKED_LANES, FOLLOWS_ADDRESSES, DOES_NOT_COMPILE = (
    dataclasses.replace(CASE, seq_lens=(3,) * number) for number in (2, 3, 4, 5)
)
SAMPLES = Path(triton_targets.__file__)
LOOP_LINE = 1 + SAMPLES.read_text().splitlines().index("    for _ in range(3):")
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


@pytest.fixture
def automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` means the native engine."""
    monkeypatch.setattr(engines, "AUTOMATIC", NATIVE)


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

    (bug,) = campaign.state.bugs.values()
    assert (bug.entry.signature, bug.entry.fault, bug.entry.is_native) == ("wrong-value:out", "k-block-stride-dense", True)


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


def test_the_interpreter_takes_over_where_a_kernel_cannot_be_run(
    automatic: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    options = ["--iters", "6", "--jobs", "2", "--device", "cpu", "--corpus", str(tmp_path / "corpus")]

    assert main([*options, "--target", target("combines_with_a_loop"), "--json", str(report)]) == CLEAN
    assert f"engine: interpreter, since {NEEDS_A_LOOP}\n" in capsys.readouterr().out
    data = json.loads(report.read_text())
    assert (data["engine"], data["engine_reason"], data["cases"]) == ("interpreter", NEEDS_A_LOOP, 6)
    assert "engine" not in data["versions"]


def test_a_worker_that_is_replaced_makes_all_calls_again(automatic: None) -> None:
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
