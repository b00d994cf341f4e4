"""fuzz-decode from Python: one case, a campaign, and an assertion for a test suite.

A function that a new process can find by its name, at the top level of a module or of a file, runs in child processes: a crash
or a hang costs one case. They import it afresh, so that what was changed in this process (globals, patches, environment) does
not reach them, and a script that fuzzes a function of its own must do so under `if __name__ == "__main__":`.

Any other function, be it a closure, a lambda, a `functools.partial` or defined in a notebook, runs in this very process: a crash
ends it, and nothing ends a hang. There a Triton kernel runs on the CPU only if TRITON_INTERPRET=1 was set before its import.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz_decode.cli.argument_types as types
from fuzz_decode.campaign.campaign import Budget, Bug, Campaign
from fuzz_decode.campaign.record import raw_entry, with_diagnosis
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import validate
from fuzz_decode.corpus.ledger import CRASH
from fuzz_decode.diagnose.diagnosis import SECONDS
from fuzz_decode.errors import UsageError
from fuzz_decode.files import corpus_must_be_writable
from fuzz_decode.report.terminal.campaign import count_findings
from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.results import Finding, Result, check_call, replay_command, to_finding
from fuzz_decode.targets.import_name import label, name_of
from fuzz_decode.workers.devices import default_jobs, pick_device
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

Function = Callable[..., Any] | str
Folder = str | os.PathLike[str]
DEVICES = ("auto", "cpu", "cuda")
CASES_A_JOB = 25  # starting a process takes as long as some tens of cases
READERS: dict[str, Callable[[str], Any]] = {
    "iters": types.positive,
    "time": types.duration,
    "stop_after": types.positive,
    "seed": types.natural,
    "jobs": types.positive,
    "dtypes": types.dtypes,
    "sequence": types.sequence,
    "timeout": types.duration,
    "minimize_time": types.duration,
}
OPTIONAL = {"iters", "time", "stop_after", "jobs", "dtypes", "sequence"}


def check(
    fn: Function, case: Case = Case(), *, before: tuple[Case, ...] = (), device: str = "auto", timeout: float = 60.0
) -> Result:
    """Run one case through a function, after the cases `before` it if there are any, and compare.

    `fn` is a decode function, or a target's name as on the command line. The result is true if the case passed. A failure is
    examined, not minimised: `str(result)` is all that is known of it. `device` is auto, cpu or cuda; a case takes at most
    `timeout` seconds. Raises UsageError if the case is none, or the function cannot be a target.

    >>> from fuzz_decode import FAMILIES, Case, Layout, check
    >>> interleaved = Case(seq_lens=(5, 0, 17), block_size=16, k=Layout(FAMILIES["interleaved"]), v=None)
    >>> check("bundled", interleaved, device="cpu").status
    'passed'
    """
    calls = *before, case
    for each in calls:
        if not isinstance(each, Case):
            raise UsageError(f"a case must be a fuzz_decode.Case, not {type(each).__name__}")
        validate(each)
    plan, here = _workplace(fn, device, _read("timeout", timeout))
    with _at_work(here), here or ResilientWorker(plan) as worker:
        outcome = worker.run_calls(calls)
        if not outcome.findings:
            return Result(outcome.status, outcome.reason)
        entry = with_diagnosis(raw_entry(plan, calls, outcome, worker.ready.versions), worker, SECONDS)
    return Result(outcome.status, finding=to_finding(entry, entry.signature, check_call(entry, _spelled(fn))))


def fuzz(
    fn: Function,
    iters: int | None = 300,
    *,
    seed: int = 0,
    time: float | None = None,
    stop_after: int | None = None,
    device: str = "auto",
    jobs: int | None = None,
    dtypes: tuple[str, ...] | None = None,
    sequence: int | None = None,
    timeout: float = 60.0,
    minimize_time: float = 60.0,
    corpus: Folder | None = None,
) -> tuple[Finding, ...]:
    """Draw cases, run them through a function, and minimise what fails: what `fuzz-decode` finds, with the same seed the same.

    `fn` is a decode function, or a target's name as on the command line. The campaign ends after `iters` cases, `time` seconds
    or `stop_after` distinct findings, whichever comes first; None is no such limit. `jobs` processes run them (None: one per
    core); with `sequence` each of them makes so many related calls and ends, to find stale state. A case takes at most `timeout`
    seconds, a finding is minimised for at most `minimize_time`. `corpus` is a folder where findings are kept, and whose
    ledger.toml says what is known to fail; without it nothing stays on disk.

    Warns if every case was rejected, so that nothing was tested, and if the ledger is out of date. Raises UsageError if an
    argument is wrong, or the function cannot be a target.

    >>> from fuzz_decode import fuzz
    >>> (finding,) = fuzz("mutant:k-block-stride-dense", iters=20, stop_after=1, device="cpu")
    >>> finding.signature, finding.case
    ('wrong-value:out', Case(k=Layout(FAMILIES['interleaved']), v=None, table=BlockTable(first_block=1)))
    """
    limits = {"iters": iters, "time": time, "stop_after": stop_after, "timeout": timeout, "minimize_time": minimize_time}
    how = {"seed": seed, "jobs": jobs, "dtypes": dtypes, "sequence": sequence}
    campaign, findings = _finished(fn, device, corpus, {**limits, **how})
    for caveat in _caveats(campaign):
        warnings.warn(caveat, stacklevel=2)
    return findings


def assert_decode_correct(
    fn: Function,
    iters: int | None = 100,
    *,
    seed: int = 0,
    time: float | None = None,
    stop_after: int | None = 1,
    device: str = "auto",
    jobs: int | None = None,
    dtypes: tuple[str, ...] | None = None,
    sequence: int | None = None,
    timeout: float = 60.0,
    minimize_time: float = 60.0,
    corpus: Folder | None = None,
) -> None:
    """`fuzz`, for a test: raises AssertionError with the whole story of what was found, or if nothing was tested.

    What the corpus's ledger.toml knows is no failure, but an entry that is out of date is one.

    >>> from fuzz_decode import assert_decode_correct
    >>> assert_decode_correct("bundled", iters=10, device="cpu")
    """
    __tracebackhide__ = True
    limits = {"iters": iters, "time": time, "stop_after": stop_after, "timeout": timeout, "minimize_time": minimize_time}
    how = {"seed": seed, "jobs": jobs, "dtypes": dtypes, "sequence": sequence}
    try:
        campaign, findings = _finished(fn, device, corpus, {**limits, **how})
    except UsageError as error:
        raise error.with_traceback(None) from None  # the test is to blame, not the lines between
    paragraphs = [*_summary(campaign, findings), *_caveats(campaign), *map(str, findings)]
    if paragraphs:
        raise AssertionError("\n".join(paragraphs))


def _finished(fn: Function, device: str, corpus: Folder | None, options: dict[str, Any]) -> tuple[Campaign, tuple[Finding, ...]]:
    """A campaign that is over, and what it found. `options` are those of `fuzz`, by name."""
    wanted = argparse.Namespace(**{name: _read(name, value) for name, value in options.items()})
    with tempfile.TemporaryDirectory(prefix="fuzz-decode-") as passing:
        campaign = _campaign(fn, device, Path(passing if corpus is None else corpus), wanted)
        with _at_work(campaign.here), contextlib.closing(campaign.events()) as events:
            for _ in events:
                pass
    return campaign, tuple(_finding(campaign, bug, fn, kept=corpus is not None) for bug in campaign.bugs.values())


def _campaign(fn: Function, device: str, folder: Path, wanted: argparse.Namespace) -> Campaign:
    if wanted.iters is None and wanted.time is None:
        raise UsageError("iters and time are both None; one of them must say when to stop")
    plan, here = _workplace(fn, device, wanted.timeout, wanted.dtypes or ())
    if wanted.sequence and here:
        raise UsageError(f"sequence needs fresh processes, and none finds {plan.target}; make it a function of a module")
    corpus_must_be_writable("corpus", folder)
    cores = default_jobs(plan.device)
    jobs = wanted.jobs or (min(cores, -(-wanted.iters // CASES_A_JOB)) if wanted.iters else cores)
    budget = Budget(wanted.iters, wanted.time, wanted.stop_after)
    return Campaign(plan, wanted.seed, budget, jobs, folder, wanted.minimize_time, wanted.sequence, here)


def _workplace(
    fn: Function, device: str, timeout: float, dtypes: tuple[str, ...] = ()
) -> tuple[WorkerConfig, InProcessBackend | None]:
    """What a worker is told, and the stand-in for workers if none can find the function."""
    if device not in DEVICES:
        raise UsageError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    if not (isinstance(fn, str) or callable(fn)):
        raise UsageError(f"what to test must be a function or the name of a target, not {type(fn).__name__}")
    name = fn if isinstance(fn, str) else name_of(fn) or ""
    if not (isinstance(fn, str) or name):
        plan = WorkerConfig(label(fn), pick_device(device), timeout, dtypes)
        return plan, InProcessBackend(plan, fn)
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "this process is itself a worker and cannot start others; in a script, what calls fuzz_decode belongs under "
            '`if __name__ == "__main__":`, since workers import the script of a function'
        )
    return WorkerConfig(name, pick_device(device), timeout, dtypes), None


def _at_work(here: InProcessBackend | None) -> contextlib.AbstractContextManager[None]:
    return here.at_work() if here else contextlib.nullcontext()


def _read(name: str, value: Any) -> Any:
    """An option's value, as the command line reads its text. Raises UsageError."""
    if value is None and name in OPTIONAL:
        return None
    text = ",".join(value) if isinstance(value, (tuple, list)) else str(value)
    try:
        return READERS[name](text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{name} {error}") from None


def _finding(campaign: Campaign, bug: Bug, fn: Function, *, kept: bool) -> Finding:
    entry, path = bug.entry, bug.path if kept else None
    title = f"{entry.signature} - {bug.count} of {_cases(campaign)}" + ", not fully minimised" * (not entry.minimised)
    again = replay_command(entry, path) if path and not campaign.here else check_call(entry, _spelled(fn))
    return to_finding(entry, title, again, bug.count, path)


def _spelled(fn: Function) -> str:
    """The function in a line of Python."""
    name = repr(fn) if isinstance(fn, str) else getattr(fn, "__name__", "")
    return name if isinstance(fn, str) or name.isidentifier() else "fn"


def _summary(campaign: Campaign, findings: tuple[Finding, ...]) -> list[str]:
    """The first finding in a line, and how many there are in another."""
    if not findings:
        return []
    where = f"{campaign.plan.target} on {campaign.plan.device}, seed {campaign.seed}"
    words = findings[0].diagnosis or findings[0].message
    return [clean(" ".join(words.split())).plain, f"{count_findings(len(findings))} in {_cases(campaign)} of {where}"]


def _cases(campaign: Campaign) -> str:
    return f"{campaign.done} case{'s' * (campaign.done > 1)}"


def _caveats(campaign: Campaign) -> list[str]:
    """Why a campaign without findings may be no good news."""
    sentences = [known.no_longer_fails(path) for known, path in campaign.unexpected_passes.items()]
    quarantined = sum(count for known, count in campaign.known.items() if known.expect == CRASH)
    if campaign.done == campaign.rejected.total() + quarantined:
        reasons = [f"{count} x {reason}" for reason, count in campaign.rejected.most_common(3)]
        reasons += [f"{quarantined} x quarantined by the ledger"] * bool(quarantined)
        none = f"none of {_cases(campaign)} was run on {campaign.plan.target}"
        sentences.append(f"nothing was tested: {none} ({'; '.join(reasons)})")
    return [clean(sentence).plain for sentence in sentences]
