"""A campaign that is ended from outside: by a signal, by a full disk, by a reader that left, or beside another campaign."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import sample_targets
from factories import entry
from processes import is_running, wait_for

import fuzz_decode
from fuzz_decode.campaign import checkpoint
from fuzz_decode.campaign.checkpoint import NAME, Checkpoint
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json
from fuzz_decode.cli import USAGE, main
from fuzz_decode.corpus import store
from fuzz_decode.corpus.read import load_folder

pytestmark = pytest.mark.slow  # every test is a campaign in a process of its own

SAMPLES = Path(sample_targets.__file__)
WRONG = f"{SAMPLES}:five_percent_off"
STARTS = """
import os, subprocess
from sample_targets import honest

def decode(q, *rest):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    open(os.path.join(os.path.dirname(__file__), "pids"), "a").write(f"{child.pid} {os.getpid()} ")
    return honest(q, *rest)[0]
"""


def command(corpus: Path, *more: str) -> list[str]:
    words = ["--device", "cpu", "--jobs", "2", "--corpus", str(corpus), "--minimize-time", "2", *more]
    return [sys.executable, "-m", "fuzz_decode", *words]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder)}


def _heed_signals() -> None:
    """As in a terminal: pytest-xdist, nohup and a shell's background jobs ignore some, and children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def started(words: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": _heed_signals}
    with subprocess.Popen(words, env=environment(folder), start_new_session=True, **pipes) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path: multiprocessing makes sockets in it, whose paths have at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_ends_a_campaign_with_its_summary_and_reports(number: int, code: int, tmp_path: Path, temporary: Path) -> None:
    corpus = tmp_path / "corpus"
    files = [tmp_path / name for name in ("json", "junit", "html")]
    options = [word for file in files for word in (f"--{file.name}", str(file))]
    words = command(corpus, "--iters", "1000000", "--target", WRONG, *options)
    with started(words, temporary) as running:
        assert wait_for(lambda: (corpus / NAME).exists())
        for _ in range(2):  # as `timeout` does
            os.killpg(running.pid, number) if number == signal.SIGTERM else running.send_signal(number)
        out, err = running.communicate(timeout=60)

    assert running.returncode == code
    assert err == "interrupted; findings are kept\n"
    assert "1 finding in " in out.splitlines()[-1]
    assert all(file.stat().st_size for file in files)
    assert json.loads(files[0].read_text())["findings"][0]["signature"] == "wrong-value:out"
    assert len(load_folder(corpus)[0]) == 1
    assert (corpus / NAME).exists()
    assert [path for path in temporary.iterdir() if path.name.startswith("fuzz-decode")] == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux lets a process inherit orphans")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_campaign(number: int, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "starts.py").write_text(STARTS)
    with started(
        command(tmp_path / "corpus", "--iters", "100000", "--target", f"{tmp_path}/starts.py:decode"), temporary
    ) as running:
        assert wait_for((tmp_path / "pids").exists)
        time.sleep(0.5)
        running.send_signal(number)
        running.communicate(timeout=60)
        processes = [int(word) for word in (tmp_path / "pids").read_text().split()]

        assert len(processes) > 2
        assert wait_for(lambda: not list(temporary.glob("pymp-*")), 10)
        assert wait_for(lambda: not any(map(is_running, processes)), 10)


def test_a_reader_that_leaves_ends_a_campaign_without_a_traceback(tmp_path: Path, temporary: Path) -> None:
    report = tmp_path / "report.json"
    words = command(tmp_path / "corpus", "--iters", "2", "--target", f"{SAMPLES}:honest", "--json", str(report))
    with started(words, temporary) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        err = running.stderr.read()

    assert running.returncode == USAGE
    assert err == "fuzz-decode: error: stdout cannot be written: Broken pipe; give it a file or a pipe that takes the output\n"
    assert report.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("words", [["targets"], ["--help"], ["run", "--iters", "1", "--target", f"{SAMPLES}:honest"]])
def test_a_full_stdout_is_a_sentence(words: list[str], tmp_path: Path, temporary: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz_decode", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(temporary),
            cwd=tmp_path,
        )

    assert done.returncode == USAGE
    assert done.stderr.startswith("fuzz-decode: error: stdout cannot be written: No space left on device")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dangling", "corpus dangling is a link to nothing; it must be a folder, or not exist yet"),
        ("dangling/x", "dangling is a link to nothing; it must be a folder, or not exist yet"),
        ("file", "corpus file is a file; it must be a folder, or not exist yet"),
        ("file/x/y", "file is a file; it must be a folder, or not exist yet"),
        ("/proc/x", "corpus /proc/x: no file can be made in /proc: "),
    ],
)
def test_a_corpus_that_cannot_be_is_refused_before_the_first_case(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("/nowhere/at/all")
    Path("file").write_text("")

    assert main(["--corpus", name, "--iters", "1"]) == USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert len(shown.err.splitlines()) == 1


OF_BATCHES = """
from sample_targets import honest

def decode(q, *rest):
    return honest(q, *rest)[0] * (1.05 if len(q) > 1 else 1)
"""


def write_batch_target(folder: Path) -> str:
    """A target that is wrong for several sequences: Case() has one, so that no default passes for the case that failed."""
    path = folder / "of_batches.py"
    path.write_text(OF_BATCHES)
    return f"{path}:decode"


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def test_a_finding_that_cannot_be_written_is_printed(tmp_path: Path, temporary: Path) -> None:
    """Files of 64 bytes at most stand for a full disk."""
    target, files = write_batch_target(tmp_path), {name: temporary / name for name in ("json", "junit")}
    for file in files.values():
        os.mkfifo(file)  # of which the limit does not hold
    readers = {name: subprocess.Popen(["cat", file], stdout=subprocess.PIPE, text=True) for name, file in files.items()}
    reports = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    words = command(tmp_path / "corpus", "--iters", "30", "--target", target, *reports)
    whole = {**environment(temporary), "PYTHONDONTWRITEBYTECODE": "1"}  # Python 3.11 would leave modules of 64 bytes
    done = subprocess.run(words, env=whole, capture_output=True, text=True, preexec_fn=limit_files)
    report, junit = (reader.communicate(timeout=60)[0] for reader in readers.values())
    unsaved, error = done.stderr.splitlines()

    assert done.returncode == USAGE
    assert unsaved.startswith(f"fuzz-decode: not saved: wrong-value:out: check({target!r}, Case(")
    names = {name: getattr(fuzz_decode, name) for name in fuzz_decode.__all__}
    result = eval(unsaved[unsaved.index("check(") :], names)
    assert result.finding.signature == "wrong-value:out"
    assert error.endswith("cannot be written: File too large")
    assert "stopped: a finding could not be saved" in done.stdout
    assert ", the first is case " in done.stdout
    assert "; not saved\n1 finding in " in done.stdout
    (found,) = json.loads(report)["findings"]
    assert (found["signature"], found["count"], found["case_file"]) == ("wrong-value:out", 1, None)
    assert found["first_case_index"] < 30
    assert found["case"] == json.loads(canonical_json(result.finding.case))
    assert 'type="wrong-value:out"' in junit
    assert not (tmp_path / "corpus").exists()


# ended at any time

SEVERAL = """
from sample_targets import honest

def decode(q, *rest, window=None, softcap=None):
    if len(q) == 3:
        raise KeyError(3)
    if window:
        raise NotImplementedError("no window")
    out = honest(q, *rest, softcap=softcap)[0]
    return out * 1.05 if softcap else out
"""
CASES = 300


def outcome(folder: Path) -> tuple[object, ...]:
    """All that must not depend on interruptions: what the report counts and finds, and the corpus byte for byte."""
    report = json.loads((folder / "report").read_text())
    files = {path.name: path.read_bytes() for path in (folder / "corpus").iterdir()}
    findings = [
        {name: str(value).replace(str(folder), "") for name, value in found.items() if name != "seconds"}
        for found in report["findings"]
    ]
    return report["cases"], report["rejected"], findings, files


def campaign_of(folder: Path, target: Path) -> list[str]:
    words = ("--iters", str(CASES), "--target", f"{target}:decode", "--minimize-time", "60", "--json", str(folder / "report"))
    return command(folder / "corpus", *words)


TRIALS = 2  # each costs two campaigns; more of them were run by hand


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_interruptions_at_random_change_nothing(number: int, tmp_path: Path, temporary: Path) -> None:
    target, whole = tmp_path / "several.py", tmp_path / "whole"
    target.write_text(SEVERAL)
    whole.mkdir()
    started_at = time.monotonic()
    subprocess.run(campaign_of(whole, target), env=environment(temporary), stdout=subprocess.DEVNULL, check=False)
    seconds, expected, random = time.monotonic() - started_at, outcome(whole), Random(int(number))
    interrupted = 0
    for trial in range(TRIALS):
        folder = tmp_path / str(trial)
        folder.mkdir()
        with started(campaign_of(folder, target), temporary) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.communicate(timeout=random.uniform(0.1, 0.6) * seconds)
            interrupted += running.poll() is None
            running.send_signal(number)
            running.communicate()
        resumed = [*campaign_of(folder, target), "--resume"]
        assert subprocess.run(resumed, env=environment(temporary), stdout=subprocess.DEVNULL).returncode == 1
        assert outcome(folder) == expected

    assert interrupted > TRIALS // 2
    assert len(expected[2]) == 2  # type: ignore[arg-type]


# two campaigns


def test_a_checkpoint_is_one_campaigns(tmp_path: Path) -> None:
    one, other = Checkpoint(tmp_path / NAME, {"seed": 1}), Checkpoint(tmp_path / NAME, {"seed": 2})
    assert one.claim()
    assert not other.claim()
    one.write({"next": 1})
    other.write({"next": 2})
    other.remove()

    assert one.read() == {"next": 1}
    one.close()
    assert other.claim()
    other.close()


def test_a_checkpoint_is_one_campaigns_before_its_folder_exists(tmp_path: Path) -> None:
    path = tmp_path / "corpus" / "new" / NAME
    one, other = Checkpoint(path, {"seed": 1}), Checkpoint(path, {"seed": 2})

    assert one.claim()
    assert not other.claim()
    other.close()
    assert path.parent.exists()
    one.close()
    assert not path.parent.exists()
    assert other.claim()
    other.close()


def test_a_lock_on_a_folder_that_was_removed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another campaign ends between the moment when its folder is opened and that when it is locked."""
    path, opened = tmp_path / "corpus" / NAME, []
    flock = checkpoint.fcntl.flock

    def after_it_was_removed(folder: int, how: int) -> None:
        opened.append(folder)
        if len(opened) == 1:
            path.parent.rmdir()
        flock(folder, how)

    monkeypatch.setattr(checkpoint.fcntl, "flock", after_it_was_removed)
    one, other = Checkpoint(path, {"seed": 1}), Checkpoint(path, {"seed": 2})
    assert one.claim()
    assert len(opened) == 2
    assert not other.claim()
    one.close()


def test_a_campaign_beside_another_says_that_it_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Checkpoint(tmp_path / NAME, {"seed": 1})
    assert other.claim()
    other.write({"next": 1})
    words = ["--corpus", str(tmp_path), "--iters", "1", "--jobs", "1", "--device", "cpu", "--target", f"{SAMPLES}:honest"]

    assert main(words) == 0
    assert "and keeps its checkpoint there; this one cannot be resumed" in capsys.readouterr().out
    assert other.read() == {"next": 1}
    assert main([*words, "--resume"]) == USAGE
    assert "--resume: another campaign runs on" in capsys.readouterr().err
    other.close()


def test_a_finding_whose_file_another_campaign_removed_is_followed_or_written_again(tmp_path: Path) -> None:
    mine, simpler = entry(Case(seq_lens=(5, 6))), entry(Case(seq_lens=(1,)))
    path = store.save(tmp_path, mine)
    assert store.where_kept(path, mine) == (path, mine)
    store.replace(path, simpler)
    assert store.where_kept(path, mine) == (tmp_path / f"{simpler.digest}.json", simpler)
    store.remove(tmp_path / f"{simpler.digest}.json")
    assert store.where_kept(path, mine) == (path, mine)
    assert path.exists()
