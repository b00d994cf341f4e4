"""The child's side of a worker: import the target, then run one case after another. The interpreter is switched on here, before
anything imports Triton.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import Any

from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis, Trace, TraceRequest
from fuzz_decode.errors import HarnessError, TargetError, UsageError
from fuzz_decode.generate.rounds import CompileRound, draw_round
from fuzz_decode.outcome import Outcome, Violation, failure
from fuzz_decode.targets.description import describe
from fuzz_decode.workers.devices import is_dead, refused_dtypes, versions
from fuzz_decode.workers.fork_server import EXIT_REFORK, fork_per_request
from fuzz_decode.workers.protocol import EvaluateCase, WorkerConfig, WorkerInfo

DEAD_DEVICE = "crash-device"


def serve(connection: Connection, plan: WorkerConfig, log: str) -> None:
    """Answer Ready or an error once, then every Case or Trial with an Outcome, Calls with one each, a Round with its cases, every
    Examination with a Diagnosis, every Tracing with a Trace, until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _redirect_output(log)
    warnings.simplefilter("ignore")  # `python -W error` goes on to children, and would make exceptions of a kernel's warnings
    if plan.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    if plan.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = plan.gpu  # CUDA reads it once, when it is first used
    try:
        target, ready = _prepare(plan)
    except UsageError as error:
        connection.send(error)
        return
    connection.send(ready)
    forked = False
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        if asked is None and forked:
            os._exit(EXIT_REFORK)
        if asked is None:
            fork_per_request()
            forked = True
            continue
        for one in asked if isinstance(asked, tuple) else (asked,):
            os.ftruncate(1, 0)
            answer = _answer(one, target, plan.device)
            connection.send(answer)
            if isinstance(answer, HarnessError) or getattr(answer, "signature", "").startswith(DEAD_DEVICE):
                break  # the parent makes the other calls in another process


def _answer(asked: Any, target: Any, device: str) -> Any:
    if isinstance(asked, CompileRound):
        return handle_round(asked, target)
    if isinstance(asked, DiagnoseRequest):
        return handle_diagnosis(asked, target, device)
    if isinstance(asked, TraceRequest):
        watched = target if asked.watch and device == "cpu" else None
        return handle_trace(asked, watched)
    return handle_case(asked, target, device)


def handle_case(asked: Case | EvaluateCase, target: Any, device: str) -> Outcome | HarnessError:
    """Run a case. Whatever fails while the CUDA context is dead is the target's crash; any other exception is our own fault."""
    from fuzz_decode.execute.run_case import run_case
    from fuzz_decode.workers.evaluate_case import evaluate_case

    case = asked.case if isinstance(asked, EvaluateCase) else asked
    try:
        outcome = evaluate_case(asked, device) if isinstance(asked, EvaluateCase) else run_case(case, target, device)
    except Exception:
        story = traceback.format_exc()
        return _crash(story) if is_dead(device) else HarnessError(f"on case {canonical_json(case)}\n{story}")
    if outcome.stage == "run" and outcome.findings and is_dead(device):
        return _crash(outcome.findings[0].message)
    return outcome


def handle_round(asked: CompileRound, target: Any) -> tuple[CallSequence, str] | UsageError:
    """A round's cases, and what they compile for, in words."""
    try:
        return draw_round(asked, target.compile_key), str(target.compile_key(asked.first))
    except Exception as error:
        return TargetError(f"target {target.name}: compiles_for raised {type(error).__name__}: {error}"[:500])


def handle_diagnosis(asked: DiagnoseRequest, target: Any, device: str) -> Diagnosis | Outcome | HarnessError:
    """Diagnose a case. A context that died on the way is the target's crash."""
    from fuzz_decode.diagnose.examine import examine

    try:
        found = examine(asked, target, device)
    except Exception:
        story = traceback.format_exc()
        return _crash(story) if is_dead(device) else HarnessError(f"while examining case {canonical_json(asked.case)}\n{story}")
    return _crash(found.sentence) if is_dead(device) else found


def handle_trace(asked: TraceRequest, target: Any) -> Trace | HarnessError:
    """Follow a case's addresses."""
    from fuzz_decode.diagnose.access_trace import trace

    try:
        return trace(asked, target)
    except Exception:
        return HarnessError(f"while tracing case {canonical_json(asked.case)}\n{traceback.format_exc()}")


def _prepare(plan: WorkerConfig) -> tuple[Any, WorkerInfo]:
    import torch

    torch.set_num_threads(1)
    refused = refused_dtypes(plan.device)
    from fuzz_decode.targets import resolve

    if plan.preload:
        resolve(plan.preload)
    return describe_target(resolve(plan.target), plan, refused)


def describe_target(target: Any, plan: WorkerConfig, refused: dict[str, str]) -> tuple[Any, WorkerInfo]:
    """The target as it fits the plan and the machine, and what to tell of it. Raises UsageError if it does not fit."""
    target = _restrict_to_machine(target, plan, refused)
    return target, WorkerInfo(target.case_space(), versions(plan.device), describe(target), refused)


def _restrict_to_machine(target: Any, plan: WorkerConfig, refused: dict[str, str]) -> Any:
    """The target with the wanted dtypes that are right here; float8 caches may go altogether. Raises UsageError if no dtype is
    left, or on the wrong device."""
    if plan.device not in target.devices:
        raise UsageError(f"target {target.name} runs on {' and '.join(target.devices)} only, not on {plan.device}")
    wanted = tuple(dtype for dtype in target.dtypes if not plan.dtypes or dtype in plan.dtypes)
    if not wanted:
        raise UsageError(f"target {target.name} takes {', '.join(target.dtypes)}, not {', '.join(plan.dtypes)}")
    right = tuple(dtype for dtype in wanted if dtype not in refused)
    if not right:
        wrong = "; ".join(f"{dtype}: {refused[dtype]}" for dtype in wanted)
        raise UsageError(f"target {target.name}: Triton's interpreter is wrong here in every dtype to draw ({wrong})")
    narrow = tuple(dtype for dtype in target.cache_dtypes if dtype not in refused)
    return dataclasses.replace(target, dtypes=right, cache_dtypes=narrow)


def _redirect_output(log: str) -> None:
    """Whatever a target prints goes to the log, whose tail is shown if the process dies."""
    sink = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


def _crash(message: str) -> Outcome:
    return failure("run", Violation("worker", DEAD_DEVICE, "call", " ".join(message.split())[-300:]))
