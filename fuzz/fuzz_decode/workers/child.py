"""The worker's side: import the target, then answer one request after another. The engine for the CPU is chosen here, before
anything imports Triton.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json
from fuzz_decode.diagnose import DiagnoseRequest, Diagnosis, ExplainRequest, Explanation, Trace, TraceRequest
from fuzz_decode.errors import HarnessError, TargetError, UnsupportedKernel, UsageError
from fuzz_decode.generate.rounds import draw_round
from fuzz_decode.outcome import DEAD_DEVICE, Outcome, Stage, Symptom, Violation, failure
from fuzz_decode.targets.description import describe
from fuzz_decode.targets.target import Target
from fuzz_decode.text import one_line
from fuzz_decode.workers.devices import is_dead, refused_dtypes, versions
from fuzz_decode.workers.engines import INTERPRETER
from fuzz_decode.workers.fork_server import EXIT_REFORK, fork_per_request
from fuzz_decode.workers.output import begin_output
from fuzz_decode.workers.protocol import (
    Answer,
    AnyRequest,
    DrawnRound,
    DrawRound,
    EvaluateCase,
    ForkControl,
    RunCases,
    WorkerConfig,
    WorkerInfo,
)
from fuzz_decode.workers.supervisor import supervise


def serve(connection: Connection, plan: WorkerConfig, output: Connection, campaign: int, temporary: str) -> None:
    """Send a WorkerInfo, or the UsageError that prevents it; then answer requests until the parent hangs up. Whatever a target
    prints goes to `output`. `campaign` is the parent's number, `temporary` its folder for multiprocessing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    begin_output(output)
    supervise(campaign, temporary)  # returns in a process of its own
    warnings.simplefilter("ignore")  # children inherit `python -W error`, which would turn a kernel's warnings into exceptions
    _choose_engine(plan)
    if plan.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = plan.gpu  # CUDA reads it once, when it is first used
    try:
        target, ready = _prepare(plan)
    except UsageError as error:
        connection.send(error)
        return
    connection.send(ready)
    while True:
        try:
            message = connection.recv()
        except (EOFError, ConnectionResetError):
            os._exit(0)  # threads that a target left do not keep it
        match message:
            case ForkControl.START:
                fork_per_request()  # returns in a fork, which goes on with this loop
            case ForkControl.NEXT:
                os._exit(EXIT_REFORK)
            case _:
                _reply(connection, message, target, plan.device, output)


def _choose_engine(plan: WorkerConfig) -> None:
    """Triton decides when it is imported whether kernels are interpreted."""
    if plan.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1" if plan.engine.engine == INTERPRETER else "0"


def _reply(connection: Connection, request: AnyRequest, target: Target, device: str, output: Connection) -> None:
    """Send the answer; that of `RunCases` is one outcome for each case, up to one that leaves this process unusable: the parent
    has the others run in another one."""
    try:
        if not isinstance(request, RunCases):
            begin_output(output)
            connection.send(_answer(request, target, device))
            return
        for case in request.cases:
            begin_output(output)
            outcome = handle_case(case, target, device)
            connection.send(outcome)
            if outcome.signature.is_dead_device:
                return
            if request.is_explained(outcome):
                connection.send(handle_explanation(ExplainRequest.of(case, outcome, request.bugs), target, device))
    except (UsageError, HarnessError) as error:
        connection.send(error)


def _answer(
    request: DrawRound | EvaluateCase | DiagnoseRequest | ExplainRequest | TraceRequest, target: Target, device: str
) -> Answer:
    match request:
        case DrawRound():
            return handle_round(request, target)
        case EvaluateCase():
            return handle_evaluation(request, device)
        case DiagnoseRequest():
            return handle_diagnosis(request, target, device)
        case ExplainRequest():
            return handle_explanation(request, target, device)
        case TraceRequest():
            return handle_trace(request, target, device)


def handle_case(case: Case, target: Target, device: str) -> Outcome:
    """Run a case and judge it. Raises HarnessError."""
    from fuzz_decode.execute.run_and_judge import run_case

    return _outcome(case, lambda: run_case(case, target, device), device)


def handle_evaluation(request: EvaluateCase, device: str) -> Outcome:
    """Run a case on another target and judge it as its evaluation says. Raises TargetError or HarnessError."""
    from fuzz_decode.workers.evaluate_case import evaluate_case

    return _outcome(request.case, lambda: evaluate_case(request, device), device)


def _outcome(case: Case, run: Callable[[], Outcome], device: str) -> Outcome:
    """What `run` returns. Whatever fails while the CUDA context is dead is the target's crash; another exception is our fault."""
    try:
        outcome = run()
    except UsageError:
        raise
    except Exception as error:
        if is_dead(device):
            return _crash(traceback.format_exc())
        if failed := _failure_of_replaced(error):
            return failed
        raise _harness_error(f"on case {canonical_json(case)}") from error
    if outcome.stage == Stage.RUN and outcome.findings and is_dead(device):
        return _crash(outcome.findings[0].message)
    return outcome


def handle_round(request: DrawRound, target: Target) -> DrawnRound:
    """Draw a round's cases. Raises TargetError if the target does not say what it is compiled for."""
    try:
        return DrawnRound(draw_round(request.round, target.compile_key), str(target.compile_key(request.round.first)))
    except (Exception, SystemExit) as error:
        sentence = f"target {target.name}: compiles_for raised {type(error).__name__}: {error}"
        raise TargetError(sentence[:500]) from error


def handle_diagnosis(request: DiagnoseRequest, target: Target, device: str) -> Diagnosis | Outcome:
    """Diagnose a case. A CUDA context that is dead afterwards is the target's crash. Raises HarnessError."""
    from fuzz_decode.diagnose.find_fault import examine

    try:
        found = examine(request, target, device)
    except UsageError:
        raise
    except Exception as error:
        if is_dead(device):
            return _crash(traceback.format_exc())
        if failed := _failure_of_replaced(error):
            return failed
        raise _harness_error(f"while diagnosing case {canonical_json(request.case)}") from error
    return _crash(found.sentence) if is_dead(device) else found


def handle_explanation(request: ExplainRequest, target: Target, device: str) -> Explanation:
    """Which bug causes a failure. Where the runs for it end the CUDA context, this process ends, too. An error of our own is
    part of the answer, since it must not end the campaign that has found something."""
    from fuzz_decode.diagnose.explain import explain

    try:
        found = explain(request, target, device)
    except UsageError:
        raise
    except Exception as error:
        is_ours = not is_dead(device) and not _failure_of_replaced(error)
        found = Explanation(error=str(_harness_error(f"while explaining case {canonical_json(request.case)}")) if is_ours else "")
    if is_dead(device):
        os._exit(1)
    return found


def handle_trace(request: TraceRequest, target: Target, device: str) -> Trace:
    """Trace the addresses of a case. On a GPU nothing can watch what the kernel reads. Raises HarnessError."""
    from fuzz_decode.diagnose.access_trace import trace

    try:
        return trace(request, target if request.watch and device == "cpu" else None)
    except UsageError:
        raise
    except Exception as error:
        raise _harness_error(f"while tracing case {canonical_json(request.case)}") from error


def _failure_of_replaced(error: Exception) -> Outcome | None:
    """The failure of a target that replaced functions without which fuzz-decode cannot judge; None if it replaced none."""
    from fuzz_decode.execute.contain import replaced_functions

    if not (names := replaced_functions()):
        return None
    message = one_line(f"replaced {', '.join(names)}, which fuzz-decode calls: {type(error).__name__}: {error}", 300)
    return failure(Stage.RUN, Violation("contract", Symptom.EXCEPTION, "call", message, detail=type(error).__name__))


def _harness_error(when: str) -> HarnessError:
    """The exception that is being handled, with its traceback as text, since a traceback does not cross to another process."""
    return HarnessError(f"{when}\n{traceback.format_exc()}")


def _prepare(plan: WorkerConfig) -> tuple[Target, WorkerInfo]:
    from fuzz_decode.execute.contain import load_contained, set_torch_defaults
    from fuzz_decode.execute.watch import supported_launches
    from fuzz_decode.targets import resolve

    set_torch_defaults()
    refused = refused_dtypes(plan.device, plan.engine.engine)
    if refused and plan.engine.replaceable:
        raise UnsupportedKernel(f"the native engine fails its self-test here ({'; '.join(map(': '.join, refused.items()))})")
    with supported_launches():
        if plan.preload:
            load_contained(lambda: resolve(plan.preload))
        target = load_contained(lambda: resolve(plan.target))
    return describe_target(target, plan, refused)


def describe_target(target: Target, plan: WorkerConfig, refused: dict[str, str]) -> tuple[Target, WorkerInfo]:
    """The target restricted to the plan and the machine, and its description. Raises UsageError if it does not fit them."""
    target = _restrict_to_machine(target, plan, refused)
    known = versions(plan.device, plan.engine.engine)
    return target, WorkerInfo(target.case_space(), known, describe(target), refused, target.compiles_for is not None)


def _restrict_to_machine(target: Target, plan: WorkerConfig, refused: dict[str, str]) -> Target:
    """The target with those of the plan's dtypes that this machine computes correctly; there may be no float8 caches left.
    Raises UsageError if no dtype is left, or on the wrong device."""
    if plan.device not in target.devices:
        raise UsageError(f"target {target.name} runs on {' and '.join(target.devices)} only, not on {plan.device}")
    wanted = tuple(dtype for dtype in target.dtypes if not plan.dtypes or dtype in plan.dtypes)
    if not wanted:
        raise UsageError(f"target {target.name} takes {', '.join(target.dtypes)}, not {', '.join(plan.dtypes)}")
    right = tuple(dtype for dtype in wanted if dtype not in refused)
    if not right:
        wrong = "; ".join(f"{dtype}: {refused[dtype]}" for dtype in wanted)
        engine = "Triton's interpreter" if plan.engine.engine == INTERPRETER else "the native engine"
        raise UsageError(f"target {target.name}: {engine} fails its self-test in every requested dtype ({wrong})")
    narrow = tuple(dtype for dtype in target.cache_dtypes if dtype not in refused)
    return dataclasses.replace(target, dtypes=right, cache_dtypes=narrow).needing_finite(plan.needs_finite)


def _crash(message: str) -> Outcome:
    return failure(Stage.RUN, Violation("worker", Symptom.CRASH, "call", " ".join(message.split())[-300:], detail=DEAD_DEVICE))
