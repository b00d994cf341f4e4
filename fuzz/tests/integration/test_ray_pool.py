"""Campaigns on a Ray cluster find what they find without one, also when a worker is lost. Skipped where Ray is not installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sample_targets
from factories import campaign

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseDone
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cli import USAGE, main
from fuzz_decode.errors import UnsupportedKernel
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.workers import ray_pool
from fuzz_decode.workers.backend import Schedule
from fuzz_decode.workers.engines import NATIVE, EngineChoice
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.ray_pool import CALLS, LOCAL, _bundles

SAMPLES = Path(sample_targets.__file__)
CASES = 24  # seventeen tasks

# kills, once, the Ray worker whose child it runs in
TARGET = """
import os, pathlib, signal, sample_targets
once = pathlib.Path(__file__).with_suffix(".killed")

def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

def decode(q, *rest, out):
    if len(q) == 3 and once.with_suffix(".armed").exists() and not once.exists():
        once.touch()
        os.kill(parent_of(os.getppid()), signal.SIGKILL)
    return sample_targets.five_percent_off(q, *rest, out=out)
"""


def finished(target: str, folder: Path, **options: Any) -> tuple[Campaign, list[Case]]:
    running = campaign(target, folder, iters=CASES, minimize_time=1.0, **options)
    return running, [event.case for event in running.events() if isinstance(event, CaseDone)]


def facts(run: Campaign) -> list[Any]:
    return [(b.signature, b.first_case_index, b.count, b.entry.case, b.path.name) for b in run.state.bugs]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_finds_the_same_although_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "deadly.py").write_text(TARGET)
    (tmp_path / "sample_targets.py").symlink_to(SAMPLES)
    target = f"{tmp_path}/deadly.py:decode"
    here, cases = finished(target, tmp_path / "here", in_rounds=True)
    (tmp_path / "deadly.armed").touch()
    there, same = finished(target, tmp_path / "there", in_rounds=True, ray=LOCAL)

    assert (tmp_path / "deadly.killed").exists()
    assert {bug.signature for bug in here.state.bugs} == {"wrong-value:out"}
    assert (there.state.done, same, facts(there), there.state.coverage) == (CASES, cases, facts(here), here.state.coverage)


def test_a_task_has_a_round_or_several_calls() -> None:
    round = CompileRound(Case(), 4, 4, "0", CaseSpace())
    single, rows = [(Case(),)] * (CALLS + 1), [(Case(),) * 3] * 6

    assert [len(bundle) for bundle in _bundles(iter(single))] == [CALLS, 1]
    assert [sum(map(len, bundle)) for bundle in _bundles(iter(rows))] == [15, 3]
    assert list(_bundles(iter([round, round]))) == [(round,), (round,)]


def test_without_ray_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    assert main(["--iters", "3", "--ray", "local", "--device", "cpu"]) == USAGE
    assert capsys.readouterr().err.splitlines()[-1].endswith("--ray needs Ray, which is not installed; pip install 'ray>=2.9'")


class FakeRay:
    """Runs each task when its result is asked for."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def remote(self, **_: Any) -> Any:
        return lambda work: SimpleNamespace(remote=lambda *arguments: lambda: work(*arguments))

    def get(self, task: Any) -> Any:
        return task()

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return tasks[:1], tasks[1:]


def test_all_tasks_change_engines_together(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[WorkerConfig] = []

    def make_calls(plan: WorkerConfig, runs: Any, schedule: Schedule) -> Any:
        plans.append(plan)
        if plan.engine.engine == NATIVE:
            return UnsupportedKernel("the native engine does not support tt.inline_asm")
        return [(schedule.start + at, calls, Outcome(Status.PASSED)) for at, calls in enumerate(runs)]

    monkeypatch.setattr(ray_pool, "make_calls", make_calls)
    config = WorkerConfig("a target", "cpu", 20.0, engine=EngineChoice(NATIVE, replaceable=True))
    pool = ray_pool.RayPool(config, LOCAL, _ray=FakeRay())
    runs = [(Case(seed=number),) for number in range(3 * CALLS)]

    assert sorted(number for number, *_ in pool.outcomes(iter(runs))) == list(range(3 * CALLS))
    assert pool.engine == EngineChoice(reason="the native engine does not support tt.inline_asm")
    assert not any(plan.engine.replaceable for plan in plans)
