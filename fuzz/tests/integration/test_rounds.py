"""Rounds: cases that compile to the same, the same ones for a seed however they are run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sample_targets

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseDone
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.layout import family
from fuzz_decode.cases.optional_arguments import generated_parameters
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import is_valid
from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.rounds import LARGEST, CompileRound, draw_round, rounds, size_of
from fuzz_decode.targets import bundled_kernel
from fuzz_decode.targets.target import Target, target_from_function
from fuzz_decode.workers.devices import pick_gpus
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.pool import Batch, PoolWork, ProcessPool
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode.workers.slots import WorkerSlot

SAMPLES = Path(sample_targets.__file__)
SEED = 1  # none of its first rounds is for a kernel that few layouts fit
EVERYTHING = Target("everything", sample_targets.honest, generated_parameters()).compile_key
KEYS: dict[str, Callable[[Case], object]] = {"bundled": bundled_kernel.compiles_for, "default": EVERYTHING}


def whole(key: str, count: int, size: int = 40, **limits: Any) -> list[tuple[Case, ...]]:
    """The first rounds, all of one size."""
    taken = (round for _, round in islice(rounds(SEED, CaseSpace(**limits)), count))
    return [draw_round(dataclasses.replace(round, size=size, take=size), KEYS[key]) for round in taken]


@pytest.fixture(scope="module", params=KEYS)
def some(request: pytest.FixtureRequest) -> tuple[str, list[tuple[Case, ...]]]:
    return request.param, whole(request.param, 25)


@pytest.mark.slow
def test_rounds_begin_with_cases_of_the_stream_in_their_order(some: tuple[str, list[tuple[Case, ...]]]) -> None:
    stream, firsts = list(islice(case_stream(SEED, CaseSpace()), 40)), [cases[0] for cases in some[1]]
    places = [stream.index(first) for first in firsts]
    assert places[:8] == list(range(8))
    assert places == sorted(places)


@pytest.mark.slow
def test_rare_kernels_get_nearly_as_many_cases_as_common_ones() -> None:
    """In the stream the most common one has a hundred times as many as most."""
    kernels: Counter[object] = Counter()
    for number, round in rounds(0, CaseSpace(), 0, 600_000):
        kernels[bundled_kernel.compiles_for(round.first)] += round.size if number > 2000 else 0
    counts = sorted(kernels.values())
    assert len(counts) > 250
    assert counts[-1] < 10 * counts[len(counts) // 2]


def test_a_round_needs_one_kernel(some: tuple[str, list[tuple[Case, ...]]]) -> None:
    name, drawn_rounds = some
    assert all(len({KEYS[name](case) for case in cases}) == 1 for cases in drawn_rounds)
    assert len({KEYS[name](cases[0]) for cases in drawn_rounds}) > 15


def test_all_else_varies_within_a_round(some: tuple[str, list[tuple[Case, ...]]]) -> None:
    for cases in some[1]:
        assert len({dataclasses.replace(case, seed=0) for case in cases}) >= 38  # now and then no draw fits
        assert len({family(case.k, case.v) for case in cases}) >= (1 if cases[0].v_prefix_of_k else 4)
        assert len({case.seq_lens for case in cases}) > 25
        assert len({case.data for case in cases}) > 1


def test_every_case_of_a_round_is_valid(some: tuple[str, list[tuple[Case, ...]]]) -> None:
    assert all(is_valid(case) for cases in some[1] for case in cases)


def test_a_round_keeps_to_what_the_target_takes() -> None:
    strides = StrideRules(contiguous=("q", "k", "v", "table"), multiple_of=8)
    taken = {
        "dtypes": ("float16",),
        "head_dims": (64, 80),
        "options": frozenset({"window"}),
        "min_seq_len": 1,
        "strides": strides,
    }
    for case in (case for cases in whole("bundled", 8, **taken) for case in cases):
        assert (case.dtype, case.head_dim in (64, 80), case.options() <= {"window"}, min(case.seq_lens) > 0) == (
            *("float16", True, True, True),
        )
        assert strides.violation(case) is None


def test_a_kernel_that_fits_one_case_only_gets_it_again_with_other_data() -> None:
    first = Case(seq_lens=(7, 3), group=3)
    cases = draw_round(
        CompileRound(first, 5, 5, "0", CaseSpace()), lambda case: (case.seq_lens, case.k, case.table, case.q, case.group)
    )
    assert {dataclasses.replace(case, seed=0) for case in cases} == {first}
    assert len({case.seed for case in cases}) == 5


def test_rounds_grow_with_their_number() -> None:
    sizes = [size_of(number) for number in range(5000)]
    assert (sizes[0], sizes[15], sizes[16], sizes[300], sizes[-1]) == (1, 1, 64, LARGEST, LARGEST)
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (21, 100), (3, 4), (64, 64)])
def test_rounds_begin_and_stop_at_any_case(start: int, stop: int) -> None:
    places = [(number, len(round)) for number, round in rounds(0, CaseSpace(), start, stop)]
    whole_places = [(number, len(round)) for number, round in rounds(0, CaseSpace(), 0, stop)]
    assert places == [(number, length) for number, length in whole_places if number + length > start]
    assert sum(length for _, length in whole_places) == stop


# what a target compiles for


def compiled(compiles_for: Any, **fields: Any) -> object:
    return target_from_function("sample", sample_targets.honest, compiles_for=compiles_for).compile_key(Case(**fields))


def test_a_target_says_what_it_compiles_for() -> None:
    assert compiled(("dtype", "head_dim"), group=3) == ("float32", 16)
    assert compiled(lambda case: case.group > 2, group=3) is True
    assert compiled(None, window=5) == ("float32", None, 16, 16, 1, 1, "window")
    with pytest.raises(TargetError, match="compiles_for names 'head_size', which no case has"):
        compiled(("head_size",))


# running them


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first one on rounds have four cases."""
    monkeypatch.setattr("fuzz_decode.generate.rounds.size_of", lambda number: 4)


def settings(target: str, folder: Path, jobs: int, cases: int = 24) -> CampaignSettings:
    options: dict[str, Any] = {"iters": cases, "jobs": jobs, "minimize_time": 2.0, "in_rounds": True}
    return CampaignSettings(target=target, corpus=folder, device="cpu", timeout=20.0, **options)


def campaign(target: str, folder: Path, jobs: int, cases: int = 24) -> tuple[Campaign, list[Case]]:
    running = Campaign(settings(target, folder, jobs, cases))
    return running, [event.case for event in running.events() if isinstance(event, CaseDone)]


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_the_number_of_jobs_changes_nothing(tmp_path: Path) -> None:
    target = f"{SAMPLES}:five_percent_off"
    (one, cases), (two, same) = (campaign(target, tmp_path / str(jobs), jobs) for jobs in (1, 2))
    alone = settings("five percent off", tmp_path / "alone", 1)
    in_process = InProcessBackend(alone.worker_config, sample_targets.five_percent_off)
    with in_process.at_work():
        third = Campaign(alone, in_process)
        in_this_process = [event.case for event in third.events() if isinstance(event, CaseDone)]

    assert one.state.bugs
    assert cases == same == in_this_process
    assert one.state.coverage == third.state.coverage
    assert [(b.signature, b.first_case_index, b.count, b.entry) for b in one.state.bugs] == [
        (b.signature, b.first_case_index, b.count, b.entry) for b in two.state.bugs
    ]
    assert one.state.coverage == two.state.coverage
    assert one.state.coverage.spread == {"kernels": 6, "fewest": 4, "median": 4, "most": 4}


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_crash_in_a_round_costs_one_case(tmp_path: Path) -> None:
    run, cases = campaign(f"{SAMPLES}:segfaults_on_two", tmp_path, 2, 8)
    (bug,) = run.state.bugs
    assert (run.state.done, bug.signature) == (8, "crash-SIGSEGV:call")
    assert bug.count == sum(case.num_seqs == 2 for case in cases)


TARGET = """
import fuzz_decode, os, sample_targets

@fuzz_decode.target(compiles_for=lambda case: 1 // 0)
def undecided(q, k, v, table, lens, scale):
    return sample_targets.honest(q, k, v, table, lens, scale)

def tells_its_gpu(q, k, v, table, lens, scale):
    raise NotImplementedError(os.environ["CUDA_VISIBLE_DEVICES"])
"""


@pytest.fixture
def odd(tmp_path: Path) -> str:
    (tmp_path / "odd.py").write_text(TARGET)
    (tmp_path / "sample_targets.py").symlink_to(SAMPLES)
    return f"{tmp_path}/odd.py"


def test_a_target_that_cannot_say_what_it_compiles_for_is_a_usage_error(odd: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="compiles_for raised ZeroDivisionError"):
        campaign(f"{odd}:undecided", tmp_path / "corpus", 1)


def test_a_round_whose_kernels_are_being_compiled_is_deferred() -> None:
    compiling, idle = PoolWork(compiling=True, key="a"), PoolWork()
    slots = [WorkerSlot(None, work, starting=False) for work in (compiling, idle)]  # type: ignore[arg-type]  # nothing runs
    first, second = Batch(0, (Case(),), "a"), Batch(1, (Case(),), "b")
    pool = ProcessPool(WorkerConfig("bundled", "cpu", 1.0), 2, _slots=slots, _deferred=[first])

    assert pool._deferred_no_longer() is None
    pool._deferred.append(second)
    assert pool._deferred_no_longer() == first  # as many as there are workers: none is deferred any longer
    assert pool._deferred_no_longer() == second
    pool._deferred, compiling.compiling = [first], False
    assert pool._deferred_no_longer() == first


# several GPUs


def test_a_worker_sees_the_gpu_that_it_is_to_use(odd: str) -> None:
    with ResilientWorker(WorkerConfig(f"{odd}:tells_its_gpu", "cpu", 20.0).on("7")) as worker:
        assert worker.run(Case()).reason == "NotImplementedError: 7"


@pytest.mark.slow
def test_workers_take_the_gpus_in_turn(odd: str) -> None:
    with closing(ProcessPool(WorkerConfig(f"{odd}:tells_its_gpu", "cpu", 20.0), 3, ("4", "GPU-5"))) as pool:
        pool.start()
        assert [slot.worker.plan.gpu for slot in pool._slots] == ["4", "GPU-5", "4"]


def test_gpus_are_numbered_among_those_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_decode.workers.devices.count_gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (pick_gpus("all"), pick_gpus("1")) == (("0", "1"), ("1",))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,GPU-abc")
    assert (pick_gpus("all"), pick_gpus("1,0")) == (("6", "GPU-abc"), ("GPU-abc", "6"))
    for wrong in ("2", "0,0", "first", "0,"):
        with pytest.raises(UsageError, match="there are 2 GPUs here, numbered 0 to 1"):
            pick_gpus(wrong)
