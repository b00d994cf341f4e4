"""Every element of out and lse is written, and finite where the reference is."""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.oracles.kernel_run import KernelRun, index_of
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.poison import is_unwritten
from fuzz_decode.problems.problem import Problem


def written(problem: Problem, run: KernelRun) -> list[Violation]:
    """Every element is written, and finite exactly where the reference is (lse of an empty row is -inf). Where the declared
    arithmetic may overflow, the bound is infinite and so may the element be."""
    violations = []
    for name, got, expected, allowed in run.inexact_results:
        untouched = _never_written(name, got)
        same_infinity = ~torch.isfinite(expected) & (got.double() == expected)
        bounded = torch.isfinite(allowed)
        wrong = (torch.isfinite(got) != torch.isfinite(expected)) | ~(torch.isfinite(got) | same_infinity)
        for symptom, mask, words in (
            (Symptom.UNWRITTEN, untouched, "were never written"),
            (Symptom.WRONG_VALUE, wrong & bounded & ~untouched, "are non-finite where the reference is finite, or the reverse"),
        ):
            if not bool(mask.any()):
                continue
            first = int(mask.flatten().int().argmax())
            violations.append(
                Violation(
                    oracle="written",
                    symptom=symptom,
                    tensor=name,
                    message=f"{int(mask.sum())} of {got.numel()} elements of {name} {words}",
                    where=index_of(first, got.shape),
                    expected=expected.flatten()[first].item(),
                    got=got.flatten()[first].item(),
                    allowed=allowed.flatten()[first].item(),
                    wrong=int(mask.sum()),
                    total=got.numel(),
                )
            )
    return violations


def _never_written(name: str, got: Tensor) -> Tensor:
    """Where out still holds its marker. lse is allocated by the target, so that an unwritten one holds poison, a plain NaN."""
    return is_unwritten(got) if name == "out" else torch.zeros_like(got, dtype=torch.bool)
