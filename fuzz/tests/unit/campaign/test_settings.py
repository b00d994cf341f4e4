"""Settings of a campaign check themselves, whoever makes them, and know their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fuzz_decode.campaign.settings import MAY_BE_NONE, RULES, CampaignSettings
from fuzz_decode.errors import UsageError
from fuzz_decode.triton_native.build import compiler
from fuzz_decode.workers.devices import MAX_GPU_JOBS, default_jobs
from fuzz_decode.workers.protocol import WorkerConfig


def settings(folder: Path, **options: Any) -> CampaignSettings:
    return CampaignSettings(**{"target": "bundled", "corpus": folder, "device": "cpu", **options})


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_decode.workers.devices.count_gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for value in (True, 0.5j, "", (), -1, "a\nb")
        for name in RULES
        if (name, value) != ("needs_finite", ())  # no place needs to be finite: the default
    ],
)
def test_a_wrong_value_gets_one_sentence_that_names_its_field(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, **{name: value})

    assert str(caught.value).startswith(f"{name} must be ")
    assert str(caught.value).endswith(f", not {value!r}")
    assert "\n" not in str(caught.value)


def test_a_huge_value_is_shortened(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, jobs="9" * 10**6)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", RULES)
def test_none_is_a_value_only_where_it_means_something(name: str, tmp_path: Path) -> None:
    options = {"time": 1.0, name: None}
    if name in MAY_BE_NONE:
        assert getattr(settings(tmp_path, **options), name) is None
    else:
        with pytest.raises(UsageError, match=f"{name} must be .*, not None"):
            settings(tmp_path, **options)


def test_a_campaign_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="iters and time are both None; one of them must say when to stop"):
        settings(tmp_path, iters=None)


def test_values_become_built_in_types(tmp_path: Path) -> None:
    """A checkpoint is JSON, which knows no numbers of NumPy."""
    made = settings(tmp_path, seed=np.int64(3), time=np.float32(2), dtypes=["float16"])

    assert [type(made.seed), type(made.time), made.dtypes] == [int, float, ("float16",)]


def test_time_may_be_any_number_above_0(tmp_path: Path) -> None:
    assert settings(tmp_path, time=1e-5).time == 1e-5


def test_auto_becomes_the_device_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for gpus, device in ((0, "cpu"), (1, "cuda")):
        monkeypatch.setattr("fuzz_decode.workers.devices.count_gpus", lambda gpus=gpus: gpus)
        assert settings(tmp_path, device="auto").device == device


def test_a_corpus_that_cannot_be_written_is_found_out_before_the_campaign(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"^corpus .*file is a file; it must be a folder, or not exist yet$"):
        settings(tmp_path / "file")


def test_there_is_a_job_for_each_core_unless_their_number_is_given(tmp_path: Path) -> None:
    assert settings(tmp_path).job_count == default_jobs("cpu")
    assert settings(tmp_path, jobs=3).job_count == 3


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_has_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(1000))

    assert settings(tmp_path, device="cuda").job_count == MAX_GPU_JOBS
    assert settings(tmp_path, device="cuda", devices="all").job_count == 2 * MAX_GPU_JOBS


@pytest.mark.usefixtures("two_gpus")
def test_workers_start_on_the_first_gpu_named(tmp_path: Path) -> None:
    made = settings(tmp_path, device="cuda", devices="1,0", dtypes=("float16",), timeout=5)

    assert made.gpus == ("1", "0")
    assert made.worker_config == WorkerConfig("bundled", "cuda", 5.0, ("float16",), gpu="1")
    assert settings(tmp_path, engine="interpreter").worker_config == WorkerConfig("bundled", "cpu", 60.0)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cpu"}, "--devices 1 names GPUs of this machine, but this campaign runs on the CPU; leave it out"),
        ({"ray": "local"}, "--devices 1 names GPUs of this machine, but this campaign runs where Ray places it; leave it out"),
        ({"devices": "2"}, "--devices 2: must be all, or different numbers with commas between; there are 2 GPUs here"),
    ],
)
def test_gpus_that_are_not_used_are_refused(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        settings(tmp_path, **{"device": "cuda", "devices": "1", **options})


def test_cases_come_in_rounds_where_kernels_are_compiled_unless_they_are_sequences(tmp_path: Path) -> None:
    assert settings(tmp_path).draws_rounds(True) is (compiler() is not None)
    assert not settings(tmp_path).draws_rounds(False)
    assert settings(tmp_path, device="cuda").draws_rounds(False)
    assert not settings(tmp_path, device="cuda", sequence=4).draws_rounds(True)
    assert settings(tmp_path, in_rounds=True).draws_rounds(False)


@pytest.mark.skipif(compiler() is None, reason="the native engine needs a C compiler")
def test_in_the_native_engine_cases_come_in_rounds_if_the_target_declares_what_it_compiles_for(tmp_path: Path) -> None:
    assert settings(tmp_path, engine="native").draws_rounds(True)
    assert not settings(tmp_path, engine="native").draws_rounds(False)
    assert not settings(tmp_path, engine="native", sequence=4).draws_rounds(True)
    assert not settings(tmp_path, engine="interpreter").draws_rounds(True)
