"""The parent's side of one worker. A crash, a hang or a dead CUDA context costs one case and a new process.

Children are forked from a server that has already imported what they need, so that a new one takes tenths of a second;
`child.serve` is what they do. They are processes, not threads: Triton's interpreter is not thread-safe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeVar

from fuzz_decode.errors import HarnessError, TargetError, UsageError
from fuzz_decode.outcome import Outcome, Stage, Symptom, Violation, failure
from fuzz_decode.workers.child import serve
from fuzz_decode.workers.core_wait import Waits, longest_wait, waits_of
from fuzz_decode.workers.fork_server import fork_server_context
from fuzz_decode.workers.output import OutputTail
from fuzz_decode.workers.protocol import ForkControl, Request, WorkerConfig, WorkerInfo
from fuzz_decode.workers.socket_folder import socket_folder

Response = TypeVar("Response")

KILL_SECONDS = 5.0
OUTPUT_SECONDS = 1.0
WAITED = 0.1  # share of the time limit; a process that waited for a core as long gets that time in addition
LONGEST = 10  # times as long as the time limit is the most that a process gets
_STARTING = threading.Lock()  # one worker is started at a time: the server of another engine must not come in between
WAITS_SECONDS = 1.0  # between two looks at how long it has waited


class WorkerDied(Exception):
    """The process ended without an answer; `exitcode` as multiprocessing gives it (negative: signal)."""

    def __init__(self, exitcode: int | None, output: str) -> None:
        super().__init__(f"worker ended with {exitcode}")
        self.exitcode, self.output = exitcode, output


class Worker:
    """One child process that answers one request after another. It must be `ready()` before the first `submit`.

    A worker whose process died, was too slow or failed by our own fault is closed: it answers nothing any more.
    """

    def __init__(self, plan: WorkerConfig) -> None:
        self.plan = plan
        self.deadline = time.monotonic() + plan.import_timeout
        self._latest = time.monotonic() + LONGEST * plan.import_timeout
        with _STARTING, _hidden_main():
            context = fork_server_context(plan)
            self.connection, theirs = context.Pipe()
            pipe, output = context.Pipe(duplex=False)
            self._process = context.Process(target=serve, args=(theirs, plan, output, os.getpid(), socket_folder()), daemon=True)
            self._process.start()
        theirs.close()
        output.close()
        self._output = OutputTail(pipe)
        self._unused = True  # no request has reached the process that would get the next one
        self._forks = False  # that process is a fork of one that runs nothing
        self._waits: Waits = {}  # for a core, up to about the moment from which the time limit counts
        self._waits_due = 0.0  # when they are to be read again: that costs as much as a case may on a GPU

    def ready(self) -> WorkerInfo:
        """Wait until the target is imported. Raises UsageError if it cannot be."""
        answer: WorkerInfo | UsageError
        try:
            answer = self._receive()
        except TimeoutError:
            limit = f"{self.plan.import_timeout:g} s, the limit of --import-timeout"
            answer = TargetError(f"target {self.plan.target} was still importing after {limit}")
        except WorkerDied as death:
            answer = TargetError(f"target {self.plan.target} {_how_it_died(death)}, while it was imported")
        if isinstance(answer, UsageError):
            self.close()
            raise answer
        return answer

    def ask(self, request: Request[Response], more_seconds: float = 0.0) -> Response:
        """Submit a request and wait for its answer."""
        self.submit(request, more_seconds)
        return self.answer(request)

    def submit(self, request: Request[Any], more_seconds: float = 0.0) -> None:
        """Send a request, whose answer may take as long as a case and `more_seconds`."""
        self._unused = False
        self._set_deadline(more_seconds)
        self._send(request)

    def answer(self, request: Request[Response]) -> Response:
        """Wait for the answer to the submitted request, or for the next one if it has several.

        Raises UsageError if the target cannot answer, HarnessError if our own code failed.
        """
        answer: Response | UsageError | HarnessError
        try:
            answer = self._receive()
        except TimeoutError:
            self.close()
            finding = Violation("worker", Symptom.TIMEOUT, "call", f"no answer within {self.plan.timeout:g} s")
            return request.if_killed(failure(Stage.RUN, finding, seconds=self.plan.timeout))
        except WorkerDied as death:
            self.close()
            finding = Violation("worker", Symptom.CRASH, "call", _how_it_died(death), detail=_death_name(death))
            return request.if_killed(failure(Stage.RUN, finding))
        if isinstance(answer, (UsageError, HarnessError)):
            self.close()
            raise answer
        if isinstance(answer, Outcome) and answer.signature.is_dead_device:
            self.close()
        return answer

    def fresh_process(self) -> None:
        """Let the next request be the first of its process: a fork that is made before anything has run.

        Where that cannot be (on CUDA, or when the process itself has run a case) the worker is closed.
        """
        if not self.alive or (self._unused and (self._forks or self.plan.device != "cpu")):
            return
        if self._unused or self._forks:
            self._send(ForkControl.NEXT if self._forks else ForkControl.START)
            self._unused = self._forks = True
        else:
            self.close()

    @property
    def alive(self) -> bool:
        return not self.connection.closed

    def is_overdue(self) -> bool:
        """Whether the answer should be there. Time in which other processes had the cores is added to the time limit."""
        while time.monotonic() > self.deadline:
            before, self._waits = self._waits, waits_of(self._process.pid or 0)
            waited = longest_wait(before, self._waits)
            if waited < WAITED * self.plan.timeout or self.deadline == self._latest:
                return True
            self.deadline = min(self.deadline + waited, self._latest)
        return False

    def kill(self) -> None:
        """Begin to end the process and all that it started, which takes a GPU's some time; `close` waits for it."""
        if self._process.is_alive():
            self._process.terminate()

    def close(self) -> None:
        """End the process and forget it; harmless when repeated."""
        self.connection.close()
        self.kill()
        self._process.join(KILL_SECONDS)
        if self._process.is_alive():
            self._process.kill()

    def _send(self, message: Request[Any] | ForkControl) -> None:
        with contextlib.suppress(BrokenPipeError):  # the next answer is that the process died
            self.connection.send(message)

    def _set_deadline(self, more_seconds: float = 0.0) -> None:
        now = time.monotonic()
        self.deadline = now + self.plan.timeout + more_seconds
        self._latest = now + LONGEST * self.plan.timeout + more_seconds
        if now >= self._waits_due:
            self._waits, self._waits_due = waits_of(self._process.pid or 0), now + WAITS_SECONDS

    def _receive(self) -> Any:
        while not self.connection.poll(max(0.0, self.deadline - time.monotonic())):
            if self.is_overdue():
                raise TimeoutError
        try:
            answer = self.connection.recv()
            self._set_deadline()  # of the next answer, if the request has several
            return answer
        except (EOFError, ConnectionResetError):
            self._process.join(KILL_SECONDS)
            raise WorkerDied(self._process.exitcode, self._output.text(OUTPUT_SECONDS)) from None


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """multiprocessing has each child run the parent's script again, which may do anything; children need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _death_name(death: WorkerDied) -> str:
    if death.exitcode is None or death.exitcode >= 0:
        return f"exit-{death.exitcode}"
    try:
        return signal.Signals(-death.exitcode).name
    except ValueError:  # a real-time signal
        return f"SIG{-death.exitcode}"


def _how_it_died(death: WorkerDied) -> str:
    killed = death.exitcode is not None and death.exitcode < 0
    how = f"was killed by {_death_name(death)}" if killed else f"ended with exit code {death.exitcode}"
    return how + (f"; last output: {death.output.splitlines()[-1][:200]}" if death.output else "")
