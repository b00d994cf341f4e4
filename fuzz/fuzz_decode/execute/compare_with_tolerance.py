"""One case through one target, judged as the test suites of other projects judge: finite noise in all memory, `out` compared
with one tolerance."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.execute.invoke import invoke
from fuzz_decode.execute.prepare import prepare
from fuzz_decode.execute.run_and_judge import run_checked
from fuzz_decode.oracles.kernel_run import index_of
from fuzz_decode.oracles.tolerance import Tolerance
from fuzz_decode.outcome import Outcome, Symptom, Violation
from fuzz_decode.problems.problem import Problem
from fuzz_decode.targets.target import Target
from fuzz_decode_reference import gather_attention
from fuzz_decode_reference.gather_attention import Options, gather_rows, weighted_sum


def compare_with_tolerance(case: Case, target: Target, device: str, tolerance: Tolerance) -> Outcome:
    """`run_case`, judged as the peer's test suite judges: no poison, no guards, out zeroed, one tolerance."""

    def examine() -> list[Violation]:
        problem = prepare(case, target, device, memory="random")
        problem.buffers["out"].storage.zero_()  # as torch.zeros_like gives it: elements that were never written may pass
        out, _ = gather_attention(*problem.arguments(), **problem.options())
        return _not_close(invoke(problem, target, None)[0], out.cpu(), _allowed(problem, out, tolerance).cpu())

    return run_checked(case, target, device, examine)


def _allowed(problem: Problem, out: Tensor, tolerance: Tolerance) -> Tensor:
    yardstick = 0.0
    if tolerance.times:
        yardstick = float((_in_own_dtype(problem).double() - out).abs().max())
    return tolerance.atol + tolerance.rtol * out.abs() + tolerance.times * yardstick


def _in_own_dtype(problem: Problem) -> Tensor:
    """out by a plain implementation that rounds every step to the dtype of q; sinks are left out."""
    out, dtype = torch.zeros_like(problem.out), problem.q.dtype
    for rows, batch in gather_rows(*problem.arguments(), Options(**problem.options())):
        rounded = dataclasses.replace(batch, q=batch.q.to(dtype), k=batch.k.to(dtype), v=batch.v.to(dtype))
        out[rows] = weighted_sum(rounded.scores.to(dtype).softmax(dim=-1), rounded.v) * batch.v_scale
    return out


def _not_close(got: Tensor, expected: Tensor, allowed: Tensor) -> list[Violation]:
    """What torch.testing.assert_close would report: a value too far off, or NaN."""
    wrong = ~((got.double() - expected).abs() <= allowed)
    if not bool(wrong.any()):
        return []
    at, count = int(wrong.flatten().int().argmax()), int(wrong.sum())
    return [
        Violation(
            oracle="allclose",
            symptom=Symptom.WRONG_VALUE,
            tensor="out",
            message=f"{count} of {got.numel()} elements of out are not close",
            where=index_of(at, got.shape),
            expected=expected.flatten()[at].item(),
            got=got.flatten()[at].item(),
            allowed=allowed.flatten()[at].item(),
            wrong=count,
            total=got.numel(),
        )
    ]
