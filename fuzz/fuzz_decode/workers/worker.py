"""Targets run in child processes: a crash, a hang or a dead CUDA context costs one case and a new process.

Children are forked from a server that has already imported torch, so that a new one takes tenths of a second; what they do is
in `serve`. Processes only: Triton's interpreter is not thread-safe.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis, Trace, TraceRequest
from fuzz_decode.errors import HarnessError, TargetError, UsageError
from fuzz_decode.generate.rounds import CompileRound
from fuzz_decode.outcome import Outcome, Violation, failure
from fuzz_decode.workers.child import DEAD_DEVICE, serve
from fuzz_decode.workers.protocol import EvaluateCase, WorkerConfig, WorkerInfo

START_SECONDS = 120.0  # importing a target may import half of vLLM
KILL_SECONDS = 5.0
LOG_TAIL = 2000


class WorkerDied(Exception):
    """The process ended without an answer; `exitcode` as multiprocessing gives it (negative: signal)."""

    def __init__(self, exitcode: int | None, log: str) -> None:
        super().__init__(f"worker ended with {exitcode}")
        self.exitcode, self.log = exitcode, log


class Worker:
    """One child process that runs one case after another. It must be `ready()` before the first `submit`."""

    def __init__(self, plan: WorkerConfig) -> None:
        self.plan = plan
        self.deadline = time.monotonic() + START_SECONDS
        self._log = tempfile.NamedTemporaryFile(prefix="fuzz-decode-", suffix=".log")  # noqa: SIM115  closed by close()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, plan, self._log.name), daemon=True)
        with _hidden_main():
            self._process.start()
        theirs.close()
        self._unused, self._forks = True, False

    def ready(self) -> WorkerInfo:
        """Wait until the target is imported. Raises UsageError if it cannot be."""
        try:
            answer = self._receive()
        except TimeoutError:
            answer = TargetError(f"target {self.plan.target} was still importing after {START_SECONDS:.0f} s")
        except WorkerDied as death:
            answer = TargetError(f"target {self.plan.target} {_how_it_died(death)}, while it was imported")
        if isinstance(answer, UsageError):
            self.close()
            raise answer
        assert isinstance(answer, WorkerInfo)
        return answer

    def submit(self, asked: Case | CallSequence | CompileRound | EvaluateCase | DiagnoseRequest | TraceRequest) -> None:
        """Start a case or several, the drawing of a round, a trial of another target than the plan's, or the examination or
        tracing of a case."""
        self._unused = False
        more = asked.seconds if isinstance(asked, DiagnoseRequest) else 0.0
        self.deadline = time.monotonic() + self.plan.timeout + more
        with contextlib.suppress(BrokenPipeError):  # result() tells of the death
            self.connection.send(asked)

    def diagnosis(self) -> Diagnosis | Outcome:
        """Wait for the submitted examination; an Outcome if the target did not survive it. Raises HarnessError like `result`."""
        answer = self._answer()
        assert isinstance(answer, (Diagnosis, Outcome))
        return answer

    def trace(self) -> Trace | None:
        """Wait for the submitted tracing; None if there was not the time or the memory for it. Raises HarnessError."""
        answer = self._answer()
        return answer if isinstance(answer, Trace) else None

    def drawn(self) -> tuple[CallSequence, str] | None:
        """Wait for the submitted round's cases, and what they compile for, in words; None if the process died. Raises UsageError
        if the target does not say what it compiles for."""
        answer: Any = None
        try:
            answer = self._receive()
        except TimeoutError:
            answer = TargetError(f"target {self.plan.target}: compiles_for gave no answer within {self.plan.timeout:g} s")
        except WorkerDied:
            self.close()
        if isinstance(answer, UsageError):
            self.close()
            raise answer
        return None if answer is None else (answer[0], answer[1])

    def result(self) -> Outcome:
        """Wait for the outcome of the submitted case, or of the next of several; a death or an overrun is one too, and leaves the
        worker closed.

        Raises HarnessError if it was our own code that failed.
        """
        answer = self._answer()
        assert isinstance(answer, Outcome)
        return answer

    def _answer(self) -> Any:
        try:
            answer = self._receive()
        except TimeoutError:
            self.close()
            finding = Violation("worker", "timeout", "call", f"no answer within {self.plan.timeout:g} s")
            return failure("run", finding, seconds=self.plan.timeout)
        except WorkerDied as death:
            self.close()
            return failure("run", Violation("worker", f"crash-{_death_name(death)}", "call", _how_it_died(death)))
        if isinstance(answer, HarnessError):
            self.close()
            raise answer
        if isinstance(answer, Outcome) and answer.findings and answer.findings[0].symptom == DEAD_DEVICE:
            self.close()
        return answer

    def fresh_process(self) -> None:
        """Let the next case be the first of its process: a fork that is made before anything has run.

        Where that cannot be (on CUDA, or when the process itself has run a case) the worker is closed.
        """
        if not self.alive or (self._unused and (self._forks or self.plan.device != "cpu")):
            return
        if self._unused or self._forks:
            self._unused = self._forks = True
            with contextlib.suppress(BrokenPipeError):  # result() tells of the death
                self.connection.send(None)
        else:
            self.close()

    @property
    def alive(self) -> bool:
        return not self.connection.closed

    @property
    def overdue(self) -> bool:
        return time.monotonic() > self.deadline

    def kill(self) -> None:
        """Begin to end the process, which takes a GPU's some time; `close` waits for it."""
        if self._process.is_alive():
            self._process.kill()

    def close(self) -> None:
        """Kill the process and forget it; harmless when repeated."""
        self.connection.close()
        self.kill()
        self._process.join(KILL_SECONDS)
        self._log.close()

    def _receive(self) -> Any:
        if not self.connection.poll(max(0.0, self.deadline - time.monotonic())):
            raise TimeoutError
        try:
            answer = self.connection.recv()
            self.deadline = time.monotonic() + self.plan.timeout  # of the next answer, where several cases were submitted
            return answer
        except (EOFError, ConnectionResetError):
            self._process.join(KILL_SECONDS)
            raise WorkerDied(self._process.exitcode, self._log_tail()) from None

    def _log_tail(self) -> str:
        with open(self._log.name, "rb") as log:
            log.seek(max(0, os.path.getsize(self._log.name) - LOG_TAIL))
            return log.read().decode(errors="replace").strip()


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """multiprocessing has each child run the parent's script again, which may do anything; what children do needs none of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _death_name(death: WorkerDied) -> str:
    if death.exitcode is not None and death.exitcode < 0:
        return signal.Signals(-death.exitcode).name
    return f"exit-{death.exitcode}"


def _how_it_died(death: WorkerDied) -> str:
    last = f"; last words: {death.log.splitlines()[-1][:200]}" if death.log else ""
    return f"died of {_death_name(death)}{last}"
