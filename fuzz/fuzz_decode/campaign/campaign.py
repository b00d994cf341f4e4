"""A campaign: draw cases, run them, judge them in order. It emits events; showing them is `report`'s work.

Outcomes arrive in any order and are judged in the order of the cases, so that the findings do not depend on the number of jobs.
A failing case is on disk before anything else happens to it. Where kernels are compiled, cases come in `rounds` that share
them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_decode._version import __version__
from fuzz_decode.campaign.checkpoint import Checkpoint, as_text
from fuzz_decode.campaign.events import CaseDone, CaseRun, EngineReplaced, Event, NotResumable, Started
from fuzz_decode.campaign.findings import FindingRecorder
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import CampaignState
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.corpus.ledger import Ledger, load_ledger
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.corpus.store import NotSaved, where_kept
from fuzz_decode.errors import FileError, UsageError, raise_all
from fuzz_decode.files import sweep_temporary
from fuzz_decode.generate.case_stream import call_stream, cut
from fuzz_decode.generate.rounds import rounds
from fuzz_decode.outcome import Outcome, Status
from fuzz_decode.text import counted
from fuzz_decode.workers.backend import Schedule, WorkerBackend, WorkItem
from fuzz_decode.workers.in_process import InProcessBackend
from fuzz_decode.workers.pool import ProcessPool
from fuzz_decode.workers.ray_pool import RayPool
from fuzz_decode.workers.resilient_worker import ResilientWorker

MAX_TIMEOUTS = 3  # a target that hangs costs the whole timeout each time
# cases that may wait for a finding to be minimized: those that failed are asked for their cause one after another
MOST_WAITING, MOST_FAILED = 20_000, 2  # of the latter as many for each job


@dataclass(slots=True)
class Campaign:
    """One campaign; iterate over `events()` to run it."""

    settings: CampaignSettings
    in_process: InProcessBackend | None = None
    """runs cases instead of child processes"""
    state: CampaignState = field(default_factory=CampaignState)
    _ledger: Ledger = Ledger("", ())
    _checkpoint: Checkpoint | None = None
    _in_rounds: bool = False
    """also after the engine was replaced"""
    _started_at: float = 0.0
    """by the monotonic clock"""
    _waiting: dict[int, tuple[CallSequence, Outcome]] = field(default_factory=dict)
    """number of a case to its outcome, for those that are run and not judged"""
    _failed: int = 0
    """of them"""

    def events(self) -> Generator[Event, None, None]:
        """Run the campaign.

        Raises UsageError if the ledger is wrong, the target cannot be imported, the corpus not be written or another campaign is
        to be resumed. Raises HarnessError if our own code failed; if that was in a diagnosis, then at the end.
        """
        self._ledger = load_ledger(self.settings.corpus, self.settings.target)
        backend = self._backend()
        try:
            ready = backend.start()
            self._in_rounds = self.settings.draws_rounds(ready.declares_kernels)
            is_kept = self._open_checkpoint(ready.space)
            self.state.versions = ready.versions
            self._started_at = time.monotonic()
            yield Started(ready)
            yield from self._follow_engine(backend)
            if not is_kept:
                yield NotResumable(self.settings.corpus)
            self._check_known_failures()
            yield from self._judge_all(backend, ready.space)
            if self._checkpoint:
                self._checkpoint.remove()
        except NotSaved:
            self.state.stopped_because = "stopped: a finding could not be saved"
            raise
        finally:
            backend.close()
            if self._checkpoint:
                self._checkpoint.close()
            self._follow_files()
        raise_all(self.state.harness_errors)

    def _backend(self) -> WorkerBackend:
        settings, config = self.settings, self.settings.worker_config
        if self.in_process:
            return self.in_process
        if settings.ray:
            return RayPool(config, settings.ray, settings.jobs)
        return ProcessPool(config, settings.job_count, settings.gpus)

    def _judge_all(self, backend: WorkerBackend, space: CaseSpace) -> Iterator[Event]:
        recorder = FindingRecorder(self.settings, self.state, self._ledger, self._deadline, self.in_process)
        with contextlib.closing(recorder):
            yield from self._judge_with(recorder, backend, space)

    def _judge_with(self, recorder: FindingRecorder, backend: WorkerBackend, space: CaseSpace) -> Iterator[Event]:
        start, runs = self._runs(space)
        fresh = self.settings.sequence is not None
        schedule = Schedule(fresh, start, self._ledger.quarantined, self._deadline, recorder.causes.known_bugs)
        for number, calls, outcome in backend.outcomes(runs, schedule):
            for event in self._follow_engine(backend):
                recorder.go_on_with(self.settings)
                yield event
            if number < self.state.next_case:  # judged before the campaign was resumed in the middle of its run
                continue
            if outcome.status == Status.FAILED:
                recorder.save(number, calls, outcome)
                self._failed += 1
            self._waiting[number] = (calls, outcome)
            yield CaseRun()
            yield from self._judge_in_order(recorder)
            if self._is_over():
                recorder.discard_unjudged()
                return
        yield from self._take_minimized(recorder)
        for number in sorted(self._waiting):  # time is over, and some of the cases before these are not done
            if not self._is_over():
                yield from self._judge(number, recorder)
                yield from self._take_minimized(recorder)

    def _judge_in_order(self, recorder: FindingRecorder) -> Iterator[Event]:
        """Judge the cases that can be: all that come next, or those up to one that has to wait for a finding to be minimized."""
        if recorder.minimizer.done:
            yield from self._take_minimized(recorder)
        while (waiting := self._waiting.get(self.state.next_case)) and not self._is_over():
            if recorder.must_wait(*waiting):
                too_many = len(self._waiting) > MOST_WAITING or self._failed > MOST_FAILED * self.settings.job_count
                if not too_many:
                    return
                yield from self._take_minimized(recorder)
            yield from self._judge(self.state.next_case, recorder)

    def _take_minimized(self, recorder: FindingRecorder) -> Iterator[Event]:
        """Wait for the finding that is being minimized, if there is one."""
        if recorder.minimizer.busy:
            yield from recorder.minimizer.take()
            self._write_checkpoint(at_once=True)

    def _follow_engine(self, backend: WorkerBackend) -> Iterator[Event]:
        """From here on workers are started with the interpreter, if the backend says that it runs the cases."""
        if backend.engine.reason and not self.state.engine_reason:
            self.state.engine_reason = backend.engine.reason
            self.state.versions = {name: version for name, version in self.state.versions.items() if name != "engine"}
            self.settings = dataclasses.replace(self.settings, engine=backend.engine.engine)
            yield EngineReplaced(backend.engine.reason)

    def _runs(self, space: CaseSpace) -> tuple[int, Iterator[WorkItem]]:
        """The runs to make from the next case on, and the number of the first one's first case."""
        stop, length, seed, number = self.settings.iters, self.settings.sequence or 1, self.settings.seed, self.state.next_case
        if self._in_rounds:
            coming = rounds(seed, space, number, stop)
            start, first = next(coming, (number, ()))
            return start, (run for run in itertools.chain([first], (round for _, round in coming)) if run)
        start = number - number % length
        return start, cut(call_stream(seed, space, length, start // length), start, stop)

    def _judge(self, number: int, recorder: FindingRecorder) -> Iterator[Event]:
        calls, outcome = self._waiting.pop(number)
        self._failed -= outcome.status == Status.FAILED
        state = self.state
        state.next_case, state.done = number + 1, state.done + 1
        if outcome.status != Status.QUARANTINED:
            state.coverage.add(calls[-1], outcome.compiled_for)
        if outcome.status == Status.REJECTED:
            state.reject(outcome.reason)
        yield CaseDone(calls[-1], outcome)
        yield from recorder.judge(number, calls, outcome)
        if not recorder.minimizer.busy:  # a finding that is not minimized is found again by a campaign that is resumed
            self._write_checkpoint(at_once=False)

    @property
    def cases_run(self) -> int:
        """Cases that are done, judged or not."""
        return self.state.done + len(self._waiting)

    def _is_over(self) -> bool:
        """Whether there are findings enough to end before all cases are run; the state says why."""
        state, limit = self.state, self.settings.stop_after
        if limit is not None and len(state.bugs) >= limit:
            state.stopped_because = f"stopped after {counted(limit, 'finding')}"
        timeouts = sum(bug.count for bug in state.bugs if bug.is_timeout)
        if timeouts >= MAX_TIMEOUTS:
            within = f"within {self.settings.timeout:g} s"
            state.stopped_because = f"stopped: the target gave no answer {within} for {counted(timeouts, 'case')}"
        return bool(state.stopped_because)

    @property
    def _deadline(self) -> float:
        limit = self.settings.time
        return math.inf if limit is None else self._started_at + limit - self.state.seconds

    def _check_known_failures(self) -> None:
        """Run the stored cases that the ledger says fail, before all others: a fix is reported however the campaign ends."""
        stored = load_folder(self.settings.corpus)[0] if self._ledger.entries else {}
        expected = {path: known for path, entry in stored.items() if (known := self._ledger.expected(entry))}
        if expected:
            with self.in_process or ResilientWorker(self.settings.worker_config) as worker:
                run = self._ledger.apply_ledger(worker.run_calls)
                for path, known in expected.items():
                    if run(stored[path].calls).status == Status.PASSED:
                        self.state.unexpected_passes.setdefault(known, path)

    def _follow_files(self) -> None:
        """No finding is lost, and none is said to be in a file that another campaign on the same corpus removed."""
        for bug in self.state.bugs:
            if bug.is_saved:
                bug.path, bug.entry = where_kept(bug.path, bug.entry)

    def _open_checkpoint(self, space: CaseSpace) -> bool:
        """Whether the campaign can be resumed, if it is to be. Raises UsageError if the campaign to resume is another one."""
        if self.settings.checkpoint is None:
            return True
        sweep_temporary(self.settings.corpus)
        self._checkpoint = Checkpoint(self.settings.checkpoint, self._identity(space))
        if not self._checkpoint.claim():
            if self.settings.resume:
                raise UsageError(f"--resume: another campaign runs on {self.settings.corpus}; wait for its end, or kill it")
            self._checkpoint = None
            return False
        state = self._checkpoint.read() if self.settings.resume else None
        if state is not None:
            self._restore(state)
        return True

    def _identity(self, space: CaseSpace) -> dict[str, Any]:
        """All that decides which cases are drawn; the same in every process."""
        settings = self.settings
        dtypes = ",".join(settings.dtypes or ())
        how = {"dtypes": dtypes, "sequence": settings.sequence, "rounds": self._in_rounds, "version": __version__}
        return {"target": settings.target, "seed": settings.seed, "device": settings.device, **how, **as_text(space)}

    def _restore(self, state: dict[str, Any]) -> None:
        """Raises FileError if the state does not fit."""
        try:
            self.state = CampaignState.from_json(state, self._ledger, self.settings.corpus)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            path = self.settings.checkpoint or Path()
            raise FileError(path, "does not fit the ledger or this version; leave --resume out") from error

    def _write_checkpoint(self, *, at_once: bool) -> None:
        if self._checkpoint and (at_once or self._checkpoint.due):
            self._checkpoint.write(self.state.to_json(self._ledger, time.monotonic() - self._started_at))
