"""pytest plugin: every case file of the corpus folder is a test. Imports nothing heavy until one is run.

A folder called corpus is common, and the plugin is active wherever fuzz-decode is installed. So a file of it that is no case
file is left alone, unless `--decode-target` or the ini option `decode_corpus` says that the folder is one of case files; then
such a file is a failure.

    pytest --decode-target mypackage.kernels:decode

replays corpus/*.json on that function. Without the option the bundled kernel must pass each case, and where a file names a
mutant, that mutant must still fail, so that the corpus itself is tested. A failure that ledger.toml knows of the target that
is replayed is an xfail, one that is gone a failure, and a known crash is skipped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuzz_decode.errors import FileError, UsageError
from fuzz_decode.files import MAX_BYTES, read_whole
from fuzz_decode.text import one_line, plain

if TYPE_CHECKING:
    from fuzz_decode.outcome import Outcome
    from fuzz_decode.workers.resilient_worker import ResilientWorker

REPLACED = "why the interpreter took over"  # a property of reports, which reach the main process under xdist, too
WORKERS = pytest.StashKey[dict[tuple[str, str], "ResilientWorker"]]()


class ReplayFailed(Exception):
    """A stored case failed; the text is the report, and `headline` its essence."""

    def __init__(self, report: str, headline: str = "") -> None:
        super().__init__(report)
        self.headline = headline or report


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fuzz-decode", "replay of stored decode attention cases")
    group.addoption("--decode-target", metavar="T", help="replay the corpus on module:function or path/to/file.py:function")
    group.addoption("--decode-device", choices=("auto", "cpu", "cuda"), default="auto", help="where to replay it")
    engines = ("auto", "native", "interpreter")
    group.addoption("--decode-engine", choices=engines, default="auto", help="what runs Triton kernels on the CPU")
    parser.addini("decode_corpus", "folder of case files, relative to the rootdir (default: corpus)", default="")
    parser.addini("decode_timeout", "seconds that one replayed case may take", default="60")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[WORKERS] = {}


def pytest_unconfigure(config: pytest.Config) -> None:
    for worker in config.stash.get(WORKERS, {}).values():
        worker.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once why the interpreter took over, where it did."""
    reports = [report for listed in terminalreporter.stats.values() for report in listed]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    for reason in dict.fromkeys(reason for name, reason in properties if name == REPLACED):
        from fuzz_decode.report.terminal.header import interpreter_line

        terminalreporter.write_line(f"fuzz-decode: {interpreter_line(reason).plain}")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    named = str(parent.config.getini("decode_corpus"))
    if file_path.suffix != ".json" or file_path.parent != parent.config.rootpath / (named or "corpus"):
        return None
    if named or parent.config.getoption("--decode-target") or is_case_file(file_path):
        return CaseFile.from_parent(parent, path=file_path)
    return None


def is_case_file(path: Path) -> bool:
    """Whether the file is a case file of some version, valid or not. Of a larger file nothing is read."""
    try:
        data = json.loads(read_whole(path)) if path.stat().st_size <= MAX_BYTES else None
    except (OSError, FileError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and type(data.get("schema")) is int and isinstance(data.get("case"), dict)


class CaseFile(pytest.File):
    """One file of the corpus: one item, or two where it names a mutant."""

    def collect(self) -> Iterator[pytest.Item]:
        from fuzz_decode.corpus.read import load
        from fuzz_decode.targets.names import BUNDLED, is_mutant

        chosen = self.config.getoption("--decode-target")
        yield ReplayItem.from_parent(self, name=chosen or BUNDLED, target=chosen or BUNDLED, must_fail=False)
        try:
            target = load(self.path).target
        except UsageError:
            return  # the first item reports it
        if chosen is None and is_mutant(target):
            yield ReplayItem.from_parent(self, name=f"{target} still fails", target=target, must_fail=True)


class ReplayItem(pytest.Item):
    """One case on one target."""

    def __init__(self, *, target: str, must_fail: bool, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # pytest's own arguments
        self.target, self.must_fail = target, must_fail

    def runtest(self) -> None:
        from fuzz_decode.corpus.ledger import load_ledger
        from fuzz_decode.corpus.read import load

        entry, ledger = load(self.path), load_ledger(self.path.parent, self.target)
        if crash := ledger.crash(entry.calls):
            pytest.skip(f"quarantined: {crash.reason} ({crash.issue})")
        worker = self._worker(entry.device if self.must_fail else self.config.getoption("--decode-device"))
        outcome = worker.run_calls(entry.calls)
        if worker.plan.engine.reason:
            self.user_properties.append((REPLACED, worker.plan.engine.reason))
        if outcome.status == "rejected":
            pytest.skip(f"{self.target} does not take this case: {outcome.reason}")
        if known := ledger.failure(outcome.signature, entry.calls):
            pytest.xfail(f"{known.signature}: {known.reason} ({known.issue})")
        if outcome.status == "passed" and (known := ledger.expected(entry)):
            raise ReplayFailed(known.no_longer_fails(self.path))
        if self.must_fail and outcome.signature != entry.signature:
            raise ReplayFailed(f"{self.target} should fail as {entry.signature}, but {outcome.signature or 'passes'}")
        if outcome.findings and not self.must_fail:
            raise self._failure(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> Any:
        """pytest's, but of a failed replay and bad input the text alone, and its essence in the short summary."""
        error = excinfo.value
        if not isinstance(error, (ReplayFailed, UsageError)):
            return super().repr_failure(excinfo)
        shown = excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            shown.reprcrash.message = one_line(error.headline if isinstance(error, ReplayFailed) else error)
        return shown

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.path.name}: {self.name}"

    def _worker(self, wanted: str) -> ResilientWorker:
        """A mutant may fail only where it was found: splits differ between the interpreter and a GPU."""
        from fuzz_decode.workers.devices import pick_device
        from fuzz_decode.workers.engines import pick_engine
        from fuzz_decode.workers.protocol import WorkerConfig
        from fuzz_decode.workers.resilient_worker import ResilientWorker

        device = pick_device(wanted)
        if self.must_fail and device == "cuda" and pick_device("auto") == "cpu":
            pytest.skip("found on a GPU, and here is none")
        workers = self.config.stash[WORKERS]
        if (self.target, device) not in workers:
            timeout = float(str(self.config.getini("decode_timeout")))
            engine = pick_engine(self.config.getoption("--decode-engine"), device)
            workers[self.target, device] = ResilientWorker(WorkerConfig(self.target, device, timeout, engine=engine))
        return workers[self.target, device]

    def _failure(self, outcome: Outcome) -> ReplayFailed:
        """The finding as text, and its diagnosis."""
        from fuzz_decode.corpus.lookup import with_outcome
        from fuzz_decode.corpus.read import load
        from fuzz_decode.report.facts import headline
        from fuzz_decode.report.terminal.finding import finding_text, repro_line

        entry = with_outcome(load(self.path), outcome, self.target)
        report = finding_text(entry, repro_line(self.path, self.target), outcome.signature)
        return ReplayFailed(plain(report, getattr(sys.__stdout__, "encoding", None)), headline(entry))
