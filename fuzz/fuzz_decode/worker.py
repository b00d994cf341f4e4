"""Targets run in child processes: a crash, a hang or a dead CUDA context costs one case and a new process.

Children are forked from a server that has already imported torch, so that a new one takes tenths of a second. The Triton
interpreter is switched on in the child, before anything imports Triton. Processes only: the interpreter is not thread-safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from fuzz_decode.calls import Calls
from fuzz_decode.case import Case
from fuzz_decode.errors import HarnessError, TargetError, UsageError
from fuzz_decode.nursery import RENEW, return_in_forks
from fuzz_decode.outcome import Finding, Outcome, failure, of_the_last
from fuzz_decode.targets.description import Description, describe

START_SECONDS = 120.0  # importing a target may import half of vLLM
KILL_SECONDS = 5.0
LOG_TAIL = 2000
DEAD_DEVICE = "crash-device"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker is told once: the target's name, the device, seconds a case may take, and the dtypes wanted (none: all)."""

    target: str
    device: str
    timeout: float
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker answers once: the arguments of `strategies.cases` that the target can take, versions in use, the target in
    words, and dtypes that Triton's interpreter computes wrongly here, with what is wrong; they are not drawn."""

    generates: dict[str, Any]
    versions: dict[str, str]
    description: Description
    refused: dict[str, str] = field(default_factory=dict)


class WorkerDied(Exception):
    """The process ended without an answer; `exitcode` as multiprocessing gives it (negative: signal)."""

    def __init__(self, exitcode: int | None, log: str) -> None:
        super().__init__(f"worker ended with {exitcode}")
        self.exitcode, self.log = exitcode, log


class Worker:
    """One child process that runs one case at a time. It must be `ready()` before the first `submit`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.deadline = time.monotonic() + START_SECONDS
        self._log = tempfile.NamedTemporaryFile(prefix="fuzz-decode-", suffix=".log")  # noqa: SIM115  closed by close()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch"])
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, plan, self._log.name), daemon=True)
        self._process.start()
        theirs.close()
        self._unused, self._forks = True, False

    def ready(self) -> Ready:
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
        assert isinstance(answer, Ready)
        return answer

    def submit(self, case: Case) -> None:
        """Start a case."""
        self._unused = False
        self.deadline = time.monotonic() + self.plan.timeout
        with contextlib.suppress(BrokenPipeError):  # result() tells of the death
            self.connection.send(case)

    def result(self) -> Outcome:
        """Wait for the submitted case's outcome; a death or an overrun is one too, and leaves the worker closed.

        Raises HarnessError if it was our own code that failed.
        """
        try:
            answer = self._receive()
        except TimeoutError:
            self.close()
            finding = Finding("worker", "timeout", "call", f"no answer within {self.plan.timeout:g} s")
            return failure("run", finding, seconds=self.plan.timeout)
        except WorkerDied as death:
            self.close()
            return failure("run", Finding("worker", f"crash-{_death_name(death)}", "call", _how_it_died(death)))
        if isinstance(answer, HarnessError):
            self.close()
            raise answer
        assert isinstance(answer, Outcome)
        if answer.findings and answer.findings[0].symptom == DEAD_DEVICE:
            self.close()
        return answer

    def renew(self) -> None:
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

    def close(self) -> None:
        """Kill the process and forget it; harmless when repeated."""
        self.connection.close()
        if self._process.is_alive():
            self._process.kill()
        self._process.join(KILL_SECONDS)
        self._log.close()

    def _receive(self) -> Any:
        if not self.connection.poll(max(0.0, self.deadline - time.monotonic())):
            raise TimeoutError
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(KILL_SECONDS)
            raise WorkerDied(self._process.exitcode, self._log_tail()) from None

    def _log_tail(self) -> str:
        with open(self._log.name, "rb") as log:
            log.seek(max(0, os.path.getsize(self._log.name) - LOG_TAIL))
            return log.read().decode(errors="replace").strip()


class PatientWorker:
    """A worker for one case after another (shrinking, replay), replaced whenever a case kills it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._worker = Worker(plan)
        self.ready = self._worker.ready()

    def run(self, case: Case) -> Outcome:
        """The outcome of a case, after all that ran here before."""
        self._revive()
        self._worker.submit(case)
        return self._worker.result()

    def run_fresh(self, calls: Calls) -> Outcome:
        """The outcome of the last of the calls, made one after another in a process in which nothing ran before."""
        self._worker.renew()
        self._revive()
        self._worker.renew()  # if it was replaced: from now on a fork is enough
        outcomes: list[Outcome] = []
        while len(outcomes) < len(calls) and self._worker.alive:
            outcomes.append(self.run(calls[len(outcomes)]))
        return of_the_last(outcomes, len(calls))

    def run_calls(self, calls: Calls) -> Outcome:
        """A case as it is, several calls in a process of their own."""
        return self.run_fresh(calls) if len(calls) > 1 else self.run(calls[0])

    def failing_as(self, signature: str) -> Callable[[Calls], bool]:
        """Whether calls fail with that signature in a fresh process, as a question to ask."""
        return lambda calls: self.run_fresh(calls).signature == signature

    def close(self) -> None:
        self._worker.close()

    def _revive(self) -> None:
        if not self._worker.alive:
            self._worker = Worker(self.plan)
            self._worker.ready()

    def __enter__(self) -> PatientWorker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def pick_device(wanted: str) -> str:
    """`cpu` or `cuda` for auto, cpu or cuda, without importing torch: is there an NVIDIA driver that sees a GPU?"""
    if wanted != "auto":
        return wanted
    with contextlib.suppress(OSError):
        driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0:
            return "cuda"
    return "cpu"


def _death_name(death: WorkerDied) -> str:
    if death.exitcode is not None and death.exitcode < 0:
        return signal.Signals(-death.exitcode).name
    return f"exit-{death.exitcode}"


def _how_it_died(death: WorkerDied) -> str:
    last = f"; last words: {death.log.splitlines()[-1][:200]}" if death.log else ""
    return f"died of {_death_name(death)}{last}"


def _serve(connection: Connection, plan: Plan, log: str) -> None:
    """Child: answer Ready or an error once, then an Outcome for every Case until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _redirect_output(log)
    if plan.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    try:
        target, ready = _prepare(plan)
    except UsageError as error:
        connection.send(error)
        return
    connection.send(ready)
    forked = False
    while True:
        try:
            case = connection.recv()
        except EOFError:
            return
        if case is None and forked:
            os._exit(RENEW)
        if case is None:
            return_in_forks()
            forked = True
            continue
        os.ftruncate(1, 0)
        connection.send(_run_guarded(case, target, plan.device))


def _run_guarded(case: Case, target: Any, device: str) -> Outcome | HarnessError:
    """Run a case. Whatever fails while the CUDA context is dead is the target's crash; any other exception is our own fault."""
    from fuzz_decode.run import run_case

    try:
        outcome = run_case(case, target, device)
    except Exception:
        story = traceback.format_exc()
        return _crash(story) if _is_dead(device) else HarnessError(f"on case {case.canonical()}\n{story}")
    if outcome.stage == "run" and outcome.findings and _is_dead(device):
        return _crash(outcome.findings[0].message)
    return outcome


def _prepare(plan: Plan) -> tuple[Any, Ready]:
    import torch
    import triton

    torch.set_num_threads(1)
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: this machine has no CUDA device that torch can use; --device cpu runs in Triton's interpreter"
        )
    refused = _mended_interpreter() if plan.device == "cpu" else {}
    from fuzz_decode.targets import resolve

    target = _fitting(resolve(plan.target), plan, refused)
    versions = {"python": sys.version.split()[0], "torch": str(torch.__version__), "triton": triton.__version__}
    if plan.device == "cuda":
        versions["gpu"] = torch.cuda.get_device_name()
    return target, Ready(target.generates(), versions, describe(target), refused)


def _mended_interpreter() -> dict[str, str]:
    """Dtypes that Triton's interpreter still computes wrongly after our repairs, with what is wrong."""
    from fuzz_decode.interpreter import mend

    mend()
    from fuzz_decode.interpreter.self_test import refused

    return refused()


def _fitting(target: Any, plan: Plan, refused: dict[str, str]) -> Any:
    """The target with the wanted dtypes that are right here. Raises UsageError if nothing is left, or on the wrong device."""
    if plan.device not in target.devices:
        raise UsageError(f"target {target.name} runs on {' and '.join(target.devices)} only, not on {plan.device}")
    wanted = tuple(dtype for dtype in target.dtypes if not plan.dtypes or dtype in plan.dtypes)
    if not wanted:
        raise UsageError(f"target {target.name} takes {', '.join(target.dtypes)}, not {', '.join(plan.dtypes)}")
    right = tuple(dtype for dtype in wanted if dtype not in refused)
    if not right:
        wrong = "; ".join(f"{dtype}: {refused[dtype]}" for dtype in wanted)
        raise UsageError(f"target {target.name}: Triton's interpreter is wrong here in every dtype to draw ({wrong})")
    return dataclasses.replace(target, dtypes=right)


def _redirect_output(log: str) -> None:
    """Whatever a target prints goes to the log, whose tail is shown if the process dies."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _is_dead(device: str) -> bool:
    """After an illegal access every call on the context fails; only a new process gets a new one."""
    import torch

    if device == "cuda":
        try:
            torch.zeros(1, device="cuda").item()
        except RuntimeError:
            return True
    return False


def _crash(message: str) -> Outcome:
    return failure("run", Finding("worker", DEAD_DEVICE, "call", " ".join(message.split())[-300:]))
