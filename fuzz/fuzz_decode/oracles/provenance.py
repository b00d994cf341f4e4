"""Oracle 6: in tagged data the output spells the address that was read. It detects a wrong address even where the error bound is
too wide to detect it, and names the address: so it comes before the numeric oracle."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fuzz_decode.oracles.kernel_run import KernelRun
from fuzz_decode.outcome import Symptom, Violation
from fuzz_decode.problems.problem import Problem
from fuzz_decode.problems.values import TAG_NOISE, read_tag, tag_base

LISTED_READS = 16  # of a report; more are counted
Address = dict[str, int] | None


def reads_what_it_should(problem: Problem, run: KernelRun) -> list[Violation]:
    """Every row with a chosen token spells that token's block, slot and KV head; where it does not, the violation names the
    address that was read. A row that is not finite spells nothing, and is left to `completeness`."""
    wrong = [read for read in _reads(problem, run) if read[2] != read[3]]
    if not wrong:
        return []
    row, head, *_ = wrong[0]
    expected, got, allowed = run.expected.out[row, head], run.out[row, head].double(), run.expected.bound.out[row, head]
    dim = int((got - expected).abs().argmax())
    lines = [_in_words(problem, *read) for read in wrong]
    more = [f"and {len(lines) - LISTED_READS} more"] if len(lines) > LISTED_READS else []
    return [
        Violation(
            oracle="provenance",
            symptom=Symptom.WRONG_VALUE,
            tensor="out",
            message=lines[0],
            where=(row, head, dim),
            expected=expected[dim].item(),
            got=got[dim].item(),
            allowed=allowed[dim].item(),
            wrong=len(wrong),
            total=run.out.shape[0] * run.out.shape[1],
            reads="\n".join([*lines[:LISTED_READS], *more]) if len(lines) > 1 else "",
        )
    ]


def _reads(problem: Problem, run: KernelRun) -> Iterator[tuple[int, int, Address, Address]]:
    """Row, q head, expected and actual address, for each finite row with a chosen token that differs from that token's tag by
    more than a rounding."""
    chosen, case = problem.values.chosen, problem.case
    if chosen is None or not len(problem.values.v):
        return
    rows, base = run.out.double() / (case.v_scale or 1.0), tag_base(case)
    tags = problem.values.v[chosen.clamp(min=0), torch.arange(case.num_q_heads) // case.group]
    bounded = run.expected.bound.out.isfinite().all(dim=-1)
    off = ((rows - tags).abs() >= TAG_NOISE).any(dim=-1) & run.out.isfinite().all(dim=-1) & bounded & (chosen >= 0)
    for row, head in off.nonzero().tolist():
        yield row, head, read_tag(tags[row, head], base), read_tag(rows[row, head], base)


def _in_words(problem: Problem, row: int, head: int, expected: Address, got: Address) -> str:
    return f"{problem.case.row_name(row)}, q head {head} read {_address(got)}, expected {_address(expected)}"


def _address(tag: Address) -> str:
    return "no single token" if tag is None else " ".join(f"{name} {number}" for name, number in tag.items())
