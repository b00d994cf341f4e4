"""What is printed, whole."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from fuzz_decode.case import BlockTable, Case
from fuzz_decode.corpus import Entry
from fuzz_decode.layout import FAMILIES, Layout
from fuzz_decode.report.coverage import Coverage
from fuzz_decode.report.finding import finding_panel

INTERLEAVED = Case(seq_lens=(2,), k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))


def rendered(renderable: object, width: int = 100) -> str:
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def entry(case: Case, **finding: object) -> Entry:
    return Entry(case, case, "mutant:x", "wrong-value:out", "compare", "cpu", finding=finding, needed={"k": "passes"})


def test_a_finding_panel_says_it_all() -> None:
    finding = {"message": "16 of 16 elements of out are wrong", "tensor": "out", "where": [0, 0, 5]}
    shown = finding_panel(entry(INTERLEAVED, **finding, expected=0.5, got=0.25, allowed=1e-6), "title")

    assert (
        rendered(shown)
        == """\
╭─ title ─────────────────────────────────────────────────────────────────────────╮
│ 16 of 16 elements of out are wrong                                              │
│ out[sequence 0, q head 0, dim 5]  expected 0.5  got 0.25  allowed ±1e-06        │
│                                                                                 │
│ seq_lens     2  (1 sequence)                                                    │
│ heads        1 q, 1 KV, group 1                                                 │
│ head_dim     16, V 16                                                           │
│ block_size   1  (3 blocks in the pool)                                          │
│ dtype, data  float32, gaussian, seed 0                                          │
│ block table  first_block 1                                                      │
│                                                                                 │
│ tensor       shape          strides          layout                             │
│ q            [1, 1, 16]     (16, 16, 1)      dense                              │
│ k_cache      [3, 1, 1, 16]  (32, 16, 16, 1)  interleaved                        │
│ v_cache      [3, 1, 1, 16]  (32, 16, 16, 1)  K's buffer, 16 elements further on │
│ block_table  [1, 2]         (2, 1)           dense                              │
│ out          [1, 1, 16]     (16, 16, 1)      dense                              │
│                                                                                 │
│ needed  k = interleaved  without it: passes                                     │
╰─────────────────────────────────────────────────────────────────────────────────╯"""
    )


def test_a_sequence_is_shown_by_what_differs() -> None:
    before = (replace(INTERLEAVED, seq_lens=(1, 3), scale=0.3), INTERLEAVED)
    shown = rendered(finding_panel(replace(entry(INTERLEAVED, tensor="out"), before=before), "title"), 60)

    assert "needs the 2 calls before it" in shown
    assert "call 1 -> 3  seq_lens 1, 3 -> 2, scale 0.3 -> default" in shown
    assert "call 2 -> 3  the same call again" in shown


def test_a_note_is_shown() -> None:
    assert "did not fail again" in rendered(
        finding_panel(replace(entry(Case(), tensor="out"), note="did not fail again"), "title")
    )


def test_text_from_a_file_cannot_steer_the_terminal() -> None:
    hostile = entry(Case(), message="\x1b[2J[red]boo[/red]\x07", tensor="out", where="\x1b]0;x\x07", got="1")
    shown = rendered(finding_panel(hostile, "t\x1b[0m"))

    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "?[2J[red]boo[/red]?" in shown


def test_coverage_counts_what_was_visited() -> None:
    coverage = Coverage()
    for case in (INTERLEAVED, INTERLEAVED, Case(dtype="float16", group=3)):
        coverage.add(case)
    shown = rendered(coverage.table()).splitlines()

    assert coverage.families == 2
    assert [line.split() for line in shown if line.startswith(("NHD", "interleaved  "))] == [
        ["NHD", "1", "0"],
        ["interleaved", "0", "2"],
    ]
    assert "group  1: 2  3: 1" in shown
    assert "2 combinations of family, dtype, group and block size" in shown
