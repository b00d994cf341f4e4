"""Oracle 1: every finite element lies within its own error bound of the float64 reference."""

from __future__ import annotations

import torch

from fuzz_decode.oracles.kernel_run import KernelRun, index_of
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.problem import Problem


def within_bound(problem: Problem, run: KernelRun) -> list[Violation]:
    """Only elements that are finite in both are compared: `completeness` reports the others. Where the declared arithmetic may
    overflow the bound is infinite, and any number is within it."""
    violations = []
    for name, got, expected, allowed in run.inexact_results:
        error = (got.double() - expected).abs()
        excess = torch.where(torch.isfinite(got) & torch.isfinite(expected), error - allowed, -1.0)
        wrong = int((excess > 0).sum())
        if wrong == 0:
            continue
        worst = int(torch.where(excess > 0, error / allowed.clamp(min=1e-300), 0.0).argmax())
        violations.append(
            Violation(
                oracle="numeric",
                symptom=Symptom.WRONG_VALUE,
                tensor=name,
                message=f"{wrong} of {got.numel()} elements of {name} are wrong",
                where=index_of(worst, got.shape),
                expected=expected.flatten()[worst].item(),
                got=got.flatten()[worst].item(),
                allowed=allowed.flatten()[worst].item(),
                wrong=wrong,
                total=got.numel(),
            )
        )
    return violations
