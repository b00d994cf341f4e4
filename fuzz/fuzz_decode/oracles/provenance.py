"""Oracle 6: in tagged data the output spells the address that was read. Sharp even where rounding leaves the bound no teeth."""

from __future__ import annotations

from fuzz_decode.build import Problem
from fuzz_decode.data import read_tag, tag_base
from fuzz_decode.oracles.run_record import Run
from fuzz_decode.outcome import Finding


def reads_what_it_should(problem: Problem, run: Run) -> list[Finding]:
    """Every row with a chosen token spells that token's block, slot and KV head. The first row that does not is reported."""
    chosen = problem.values.chosen
    if chosen is None:
        return []
    case, wrong, first = problem.case, 0, None
    rows, tags, base = run.out.double().cpu() / (case.v_scale or 1.0), problem.values.v, tag_base(case)
    for row, tokens in enumerate(chosen.tolist()):
        for head, token in enumerate(tokens):
            if token < 0:
                continue
            wanted = read_tag(tags[token, head // case.group], base)
            got = read_tag(rows[row, head], base)
            if got != wanted:
                wrong += 1
                first = first or (row, head, wanted, got)
    if first is None:
        return []
    row, head, wanted, got = first
    token = f", query token {row % case.q_len}" if case.q_len > 1 else ""
    message = f"sequence {row // case.q_len}{token}, q head {head} read {_address(got)}, wanted {_address(wanted)}"
    return [Finding("provenance", "wrong-value", "out", message, where=(row, head, 0), wrong=wrong, total=chosen.numel())]


def _address(tag: dict[str, int] | None) -> str:
    return "no single token" if tag is None else " ".join(f"{name} {number}" for name, number in tag.items())
