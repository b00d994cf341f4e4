"""fuzz-decode from Python: one case, a campaign, and an assertion for a test suite.

A function at the top level of a module or a file, which a new process can import by its name, runs in child processes: a crash
or a hang costs one case. They import it afresh, so that changes made in this process (globals, patches, environment) do not
reach them, and a script that fuzzes a function of its own must do so under `if __name__ == "__main__":`.

Any other function, be it a closure, a lambda, a `functools.partial` or defined in a notebook, runs in this very process: a crash
ends it, and nothing ends a hang. There a Triton kernel runs on the CPU only in the interpreter, that is, if TRITON_INTERPRET=1
was set before its import.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.make_entry import raw_entry, with_diagnosis
from fuzz_decode.campaign.option_values import DEFAULT_ITERS, DEVICE, ENGINE, PLACES, SECONDS, UNSET, Unset, number_of_cases
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import validate
from fuzz_decode.corpus.ledger import CRASH
from fuzz_decode.diagnose.diagnosis import SECONDS as DIAGNOSIS_SECONDS
from fuzz_decode.errors import HarnessError, UsageError
from fuzz_decode.report.terminal.finding import clean
from fuzz_decode.results import Finding, Result, attach, campaign_findings, case_finding
from fuzz_decode.targets.import_name import label, name_of
from fuzz_decode.text import counted
from fuzz_decode.workers.devices import pick_device
from fuzz_decode.workers.engines import pick_engine
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.protocol import IMPORT_SECONDS, WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker

Function = Callable[..., Any] | str
Folder = str | os.PathLike[str]
TEST_ITERS = 100
CASES_PER_JOB = 25  # at least: starting a process takes as long as some tens of cases


def check(
    fn: Function,
    case: Case = Case(),
    *,
    before: tuple[Case, ...] = (),
    device: str = "auto",
    engine: str = "auto",
    timeout: float = 60.0,
    import_timeout: float = IMPORT_SECONDS,
    needs_finite: tuple[str, ...] = (),
) -> Result:
    """Run one case through a function, after the cases in `before` if there are any, and compare.

    `fn` is a decode function, or a target's name as on the command line. The result is true if the case passed. A failure is
    diagnosed, not minimized: `str(result)` is the whole story. `device` is auto, cpu or cuda, and `engine` is what runs Triton
    kernels on the CPU: auto, native or interpreter. A case takes at most `timeout` seconds, importing the function at most
    `import_timeout`. `needs_finite` are places where memory that weighs nothing holds finite numbers in place of NaN, beside
    those that the function declares. Raises UsageError if an argument is wrong, or the function cannot be a target.

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
    seconds = {
        "timeout": SECONDS.checked("timeout", timeout),
        "import_timeout": SECONDS.checked("import_timeout", import_timeout),
    }
    on = pick_device(DEVICE.checked("device", device))
    places = PLACES.checked("needs_finite", needs_finite)
    runs = pick_engine(ENGINE.checked("engine", engine), on)
    config = WorkerConfig(_target_name(fn), on, **seconds, engine=runs, needs_finite=places)
    in_process = _in_process_backend(fn, config)
    with _running(in_process), in_process or ResilientWorker(config) as worker:
        outcome = worker.run_calls(calls)
        if not outcome.findings:
            return Result(str(outcome.status), outcome.reason)
        entry = raw_entry(config, calls, outcome, worker.ready.versions)
        try:
            entry = with_diagnosis(entry, worker, DIAGNOSIS_SECONDS)
        except (HarnessError, UsageError) as error:
            attach(error, (case_finding(entry, _expression(fn)),))
            raise
    return Result(str(outcome.status), finding=case_finding(entry, _expression(fn)))


def fuzz(
    fn: Function,
    iters: int | Unset | None = UNSET,
    *,
    seed: int = 0,
    time: float | None = None,
    stop_after: int | None = None,
    device: str = "auto",
    engine: str = "auto",
    jobs: int | None = None,
    dtypes: tuple[str, ...] | None = None,
    sequence: int | None = None,
    timeout: float = 60.0,
    import_timeout: float = IMPORT_SECONDS,
    minimize_time: float = 60.0,
    corpus: Folder | None = None,
    needs_finite: tuple[str, ...] = (),
) -> tuple[Finding, ...]:
    """Draw cases, run them through a function, and minimize failures. Findings are those of `fuzz-decode` with the same seed.

    `fn` is a decode function, or a target's name as on the command line. The campaign ends after `iters` cases (if not
    given 300, or no limit with `time`), `time` seconds or `stop_after` distinct findings, whichever comes first; None is no
    limit. `jobs` processes run the cases (None: one per core); with `sequence`, each process makes that many related calls and
    ends, which finds stale state. A case takes at most `timeout` seconds, importing the function `import_timeout`, and minimizing
    a finding `minimize_time`. `corpus` is a folder where findings are kept, and whose ledger.toml lists known failures; without
    it nothing stays on disk. `device`, `engine` and `needs_finite` are those of `check`.

    Warns if every case was rejected, so that nothing was tested, and if the ledger is out of date. Raises UsageError if an
    argument is wrong, or the function cannot be a target.

    >>> from fuzz_decode import fuzz
    >>> (finding,) = fuzz("mutant:k-block-stride-dense", iters=20, stop_after=1, device="cpu")
    >>> finding.signature, finding.case
    ('wrong-value:out', Case(k=Layout(FAMILIES['interleaved']), v=None, table=BlockTable(first_block=1)))
    """
    limits = {"iters": number_of_cases(iters, time, DEFAULT_ITERS), "time": time, "stop_after": stop_after}
    seconds = {"timeout": timeout, "import_timeout": import_timeout, "minimize_time": minimize_time}
    where = {"device": device, "engine": engine, "jobs": jobs}
    draws = {"seed": seed, "dtypes": dtypes, "sequence": sequence, "needs_finite": needs_finite}
    campaign, findings = _run_campaign(fn, corpus, **limits, **seconds, **where, **draws)
    for caveat in _caveats(campaign):
        warnings.warn(caveat, stacklevel=2)
    return findings


def assert_decode_correct(
    fn: Function,
    iters: int | Unset | None = UNSET,
    *,
    seed: int = 0,
    time: float | None = None,
    stop_after: int | None = 1,
    device: str = "auto",
    engine: str = "auto",
    jobs: int | None = None,
    dtypes: tuple[str, ...] | None = None,
    sequence: int | None = None,
    timeout: float = 60.0,
    import_timeout: float = IMPORT_SECONDS,
    minimize_time: float = 60.0,
    corpus: Folder | None = None,
    needs_finite: tuple[str, ...] = (),
) -> None:
    """`fuzz`, for a test: raises AssertionError with the whole story of each finding, or if nothing was tested. 100 cases if
    neither `iters` nor `time` is given.

    A failure that the corpus's ledger.toml lists is no failure, but an entry that is out of date is one.

    >>> from fuzz_decode import assert_decode_correct
    >>> assert_decode_correct("bundled", iters=10, device="cpu")
    """
    __tracebackhide__ = True
    limits = {"iters": number_of_cases(iters, time, TEST_ITERS), "time": time, "stop_after": stop_after}
    seconds = {"timeout": timeout, "import_timeout": import_timeout, "minimize_time": minimize_time}
    where = {"device": device, "engine": engine, "jobs": jobs}
    draws = {"seed": seed, "dtypes": dtypes, "sequence": sequence, "needs_finite": needs_finite}
    try:
        campaign, findings = _run_campaign(fn, corpus, **limits, **seconds, **where, **draws)
    except UsageError as error:
        raise error.with_traceback(None) from None  # the mistake is in the test, not in the lines between
    paragraphs = [*_summary(campaign, findings), *_caveats(campaign), *map(str, findings)]
    if paragraphs:
        raise AssertionError("\n".join(paragraphs))


def _run_campaign(fn: Function, corpus: Folder | None, **options: Any) -> tuple[Campaign, tuple[Finding, ...]]:
    """A campaign from start to end, and its findings. `options` are fields of CampaignSettings."""
    with tempfile.TemporaryDirectory(prefix="fuzz-decode-") as temporary:
        folder = Path(temporary if corpus is None else corpus)
        settings = _with_fewer_jobs(CampaignSettings(target=_target_name(fn), corpus=folder, **options))
        in_process = _in_process_backend(fn, settings.worker_config)
        if in_process:
            settings = dataclasses.replace(settings, engine=in_process.engine.engine)
        campaign = Campaign(settings, in_process)
        if settings.sequence and in_process:
            why = f"none finds {settings.target}; make it a function of a module"
            raise UsageError(f"sequence needs fresh processes, and {why}")
        with _running(campaign.in_process), contextlib.closing(campaign.events()) as events:
            try:
                for _ in events:
                    pass
            except (HarnessError, UsageError, KeyboardInterrupt) as error:
                attach(error, campaign_findings(campaign, _expression(fn), kept=corpus is not None))
                raise
    return campaign, campaign_findings(campaign, _expression(fn), kept=corpus is not None)


def _with_fewer_jobs(settings: CampaignSettings) -> CampaignSettings:
    """Unless their number is given, no more jobs than there is work for."""
    if settings.jobs is not None or settings.iters is None:
        return settings
    return dataclasses.replace(settings, jobs=min(settings.job_count, -(-settings.iters // CASES_PER_JOB)))


def _target_name(fn: Function) -> str:
    """The name that a child process imports, or else a label. Raises UsageError if `fn` is neither a function nor a name."""
    if isinstance(fn, str):
        return fn
    if not callable(fn):
        raise UsageError(f"what to test must be a function or the name of a target, not {type(fn).__name__}")
    return name_of(fn) or label(fn)


def _in_process_backend(fn: Function, config: WorkerConfig) -> InProcessBackend | None:
    """What runs the function in this process if no other can import it, else None. Raises UsageError if neither is possible."""
    if not isinstance(fn, str) and name_of(fn) is None:
        return InProcessBackend(config, fn)
    if multiprocessing.current_process().daemon:
        raise UsageError(
            "this process is itself a worker and cannot start others; in a script, what calls fuzz_decode belongs under "
            '`if __name__ == "__main__":`, since workers import the script of a function'
        )
    return None


def _running(in_process: InProcessBackend | None) -> contextlib.AbstractContextManager[None]:
    """Goes around all runs in this process."""
    return in_process.at_work() if in_process else contextlib.nullcontext()


def _expression(fn: Function) -> str:
    """Python code that stands for the function."""
    name = repr(fn) if isinstance(fn, str) else getattr(fn, "__name__", "")
    return name if isinstance(fn, str) or name.isidentifier() else "fn"


def _summary(campaign: Campaign, findings: tuple[Finding, ...]) -> list[str]:
    """The first finding in a line, and the number of findings in another."""
    if not findings:
        return []
    settings, first = campaign.settings, findings[0].diagnosis or findings[0].message
    where = f"{settings.target} on {settings.device}, seed {settings.seed}"
    return [clean(" ".join(first.split())).plain, f"{counted(len(findings), 'finding')} in {_cases(campaign)} of {where}"]


def _cases(campaign: Campaign) -> str:
    return counted(campaign.state.done, "case")


def _caveats(campaign: Campaign) -> list[str]:
    """Reasons not to trust a campaign without findings."""
    state = campaign.state
    sentences = [known.no_longer_fails(path) for known, path in state.unexpected_passes.items()]
    quarantined = sum(count for known, count in state.known.items() if known.expect == CRASH)
    if state.done == state.rejected.total() + quarantined:
        reasons = [f"{count} x {reason}" for reason, count in state.rejected.most_common(3)]
        reasons += [f"{quarantined} x quarantined by the ledger"] * bool(quarantined)
        none = f"none of {_cases(campaign)} was run on {campaign.settings.target}"
        sentences.append(f"nothing was tested: {none} ({'; '.join(reasons)})")
    return [clean(sentence).plain for sentence in sentences]
