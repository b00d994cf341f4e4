"""Oracle 6: in tagged data the output spells the address that was read. Sharp even where rounding leaves the bound no teeth."""

from __future__ import annotations

from fuzz_decode.build import Problem
from fuzz_decode.data import read_tag
from fuzz_decode.oracles.run_record import Run
from fuzz_decode.outcome import Finding


def reads_what_it_should(problem: Problem, run: Run) -> list[Finding]:
    """Every row with a chosen token spells that token's block, slot and KV head. The first row that does not is reported."""
    chosen = problem.values.chosen
    if chosen is None:
        return []
    wrong, first = 0, None
    rows, tags = run.out.double().cpu(), problem.values.v
    for seq, tokens in enumerate(chosen.tolist()):
        for head, token in enumerate(tokens):
            if token < 0:
                continue
            wanted = read_tag(tags[token, head // problem.case.group])
            got = read_tag(rows[seq, head])
            if got != wanted:
                wrong += 1
                first = first or (seq, head, wanted, got)
    if first is None:
        return []
    seq, head, wanted, got = first
    message = f"sequence {seq}, q head {head} read {_address(got)}, wanted {_address(wanted)}"
    return [Finding("provenance", "wrong-value", "out", message, where=(seq, head, 0), wrong=wrong, total=chosen.numel())]


def _address(tag: dict[str, int] | None) -> str:
    return "no single token" if tag is None else " ".join(f"{name} {number}" for name, number in tag.items())
