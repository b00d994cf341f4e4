"""Out of memory: a finding if the target asks for it, a rejection if the harness does, and the memory is free afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import re
import signal
import weakref
from typing import Any

import pytest
import sample_targets
import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import QUERY_AXES, Layout
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.execute import run_and_judge as run_case_module
from fuzz_decode.execute.compare_with_tolerance import compare_with_tolerance
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import Status
from fuzz_decode.targets.target import Arithmetic, target_from_function

CASE = Case(seq_lens=(3, 2), num_kv_heads=2, block_size=2)
ERRORS = [torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 64 GiB"), MemoryError("scratch of 64 GiB")]


def raising(error: BaseException) -> Any:
    def target(q: Tensor, *rest: Any) -> Tensor:
        raise error

    return target_from_function("sample", target)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_memory_that_the_target_lacks_is_a_finding(error: Exception) -> None:
    result = run_case(CASE, raising(error), "cpu")
    assert (result.status, result.stage, result.signature) == (Status.FAILED, "run", "out-of-memory:call")
    (finding,) = result.findings
    assert finding.oracle == "contract"
    assert f"{type(error).__name__}: {str(error).splitlines()[0]} at test_run_and_judge.py:" in finding.message
    assert "\n" not in finding.message


def test_memory_that_the_target_lacks_is_a_finding_for_a_peer_s_tolerance() -> None:
    result = compare_with_tolerance(CASE, raising(ERRORS[0]), "cpu", Tolerance(atol=1.0))
    assert (result.status, result.signature) == (Status.FAILED, "out-of-memory:call")


def test_torch_s_cpu_allocator_has_no_error_of_its_own() -> None:
    def allocates_too_much(q: Tensor, *rest: Any) -> Tensor:
        return torch.empty(2**60, dtype=torch.uint8)

    result = run_case(CASE, target_from_function("sample", allocates_too_much), "cpu")
    assert (result.status, result.signature) == (Status.FAILED, "exception-RuntimeError:call")
    assert " at test_run_and_judge.py:" in result.findings[0].message


def test_an_error_of_a_kernel_in_the_interpreter_is_unwrapped() -> None:
    class InterpreterError(Exception):
        pass

    def wraps(q: Tensor, *rest: Any) -> Tensor:
        raise InterpreterError("MemoryError") from MemoryError()

    assert run_case(CASE, target_from_function("sample", wraps), "cpu").signature == "out-of-memory:call"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("function", ["prepare", "expect"])
def test_memory_that_the_harness_lacks_is_a_rejection(error: Exception, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_out(*arguments: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(run_case_module, function, runs_out)
    result = run_case(CASE, target_from_function("sample", sample_targets.honest), "cpu")
    assert (result.status, result.stage, result.reason, result.findings) == (Status.REJECTED, "build", "not enough memory", ())


def test_a_target_that_ran_out_of_memory_leaves_none_behind() -> None:
    scratch: list[weakref.ref[Tensor]] = []

    def keeps_scratch_in_its_frame(q: Tensor, *rest: Any) -> Tensor:
        held = torch.empty(4)
        scratch.append(weakref.ref(held))
        raise MemoryError

    assert run_case(CASE, target_from_function("sample", keeps_scratch_in_its_frame), "cpu").status == Status.FAILED
    assert [reference() for reference in scratch] == [None]
    assert run_case(CASE, target_from_function("sample", sample_targets.honest), "cpu").status == Status.PASSED


@pytest.mark.parametrize("error", [SystemExit(3), SystemExit("no GPU")])
def test_a_target_that_exits_is_a_finding_with_its_line(error: SystemExit) -> None:
    result = run_case(CASE, raising(error), "cpu")
    assert (result.status, result.stage, result.signature) == (Status.FAILED, "run", "exception-SystemExit:call")
    assert re.fullmatch(rf"SystemExit: {error} at test_run_and_judge.py:\d+: raise error", result.findings[0].message)


@pytest.mark.usefixtures("heeded_interrupts")
@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()], ids=repr)
def test_an_interrupt_ends_this_process_unless_only_the_target_can_raise_it(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_case(CASE, raising(error), "cpu")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a worker
    try:
        assert run_case(CASE, raising(error), "cpu").signature == f"exception-{type(error).__name__}:call"
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_assertion_without_a_text_is_shown_with_its_line() -> None:
    (finding,) = run_case(CASE, target_from_function("sample", sample_targets.asserts_other_strides), "cpu").findings
    assert re.fullmatch(
        r"AssertionError at sample_targets.py:\d+: assert k_cache.stride\(\) != v_cache.stride\(\)", finding.message
    )
    assert finding.calls == ""


def test_the_calls_lead_from_the_target_through_decorators_and_torch_to_the_line() -> None:
    def decorated(fn: Any) -> Any:
        @functools.wraps(fn)
        def wrapper(*arguments: Any) -> Any:
            return fn(*arguments)

        return wrapper

    @decorated
    def launch(q: Tensor) -> Tensor:
        return torch.einsum("a,b->ab", q, q)

    def decode(q: Tensor, *rest: Any) -> Tensor:
        return launch(q)  # type: ignore[no-any-return]

    (finding,) = run_case(CASE, target_from_function("sample", decode), "cpu").findings
    assert finding.message.endswith(': return torch.einsum("a,b->ab", q, q)')
    assert [line.split(": ", 1)[1].split("  #")[0] for line in finding.calls.splitlines()] == [
        "return launch(q)",
        "return fn(*arguments)",
        'return torch.einsum("a,b->ab", q, q)',
    ]


def test_a_long_message_leaves_room_for_the_line() -> None:
    (finding,) = run_case(CASE, raising(ValueError("long " * 200)), "cpu").findings
    assert len(finding.message) == 300
    assert finding.message.endswith(": raise error")


def test_of_a_deep_recursion_the_last_calls_are_kept() -> None:
    def recurses(q: Tensor, *rest: Any) -> Tensor:
        return recurses(q)

    (finding,) = run_case(CASE, target_from_function("sample", recurses), "cpu").findings
    assert finding.signature == "exception-RecursionError:call"
    assert len(finding.calls.splitlines()) == 13


def test_the_second_layout_of_a_case_keeps_the_stride_rules() -> None:
    """Values laid out plainly, with rows of V shorter than those of K, would have other strides in V than in K."""
    rules, strides = StrideRules(v_like_k=True), []

    def asserting(q: Tensor, k_cache: Tensor, v_cache: Tensor, *rest: Any) -> Any:
        strides.append((k_cache.stride(), v_cache.stride()))
        assert k_cache.stride() == v_cache.stride()
        return sample_targets.honest(q, k_cache, v_cache, *rest)

    target = target_from_function("sample", asserting, strides=rules, arithmetic=Arithmetic(same_bits_anywhere=True))
    case = rules.nearest(dataclasses.replace(CASE, head_dim=64, q=Layout(QUERY_AXES, (8, 0, 0))))

    assert run_case(case, target, "cpu").status == Status.PASSED
    assert len(strides) == 2
