"""What is printed, whole."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from factories import entry as stored_entry
from rich.console import Console

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseRun, Minimized, SpuriousTimeout, Started
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.campaign.state import Bug, CampaignState
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import Trace
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.report.facts import tensor_facts
from fuzz_decode.report.terminal.campaign import CampaignView, closing_remarks
from fuzz_decode.report.terminal.coverage import coverage_summary, coverage_table
from fuzz_decode.report.terminal.finding import finding_panel, show_finding, stride_table, worst_element
from fuzz_decode.targets.description import describe
from fuzz_decode.targets.target import target_from_function
from fuzz_decode.workers.protocol import WorkerInfo

INTERLEAVED = Case(seq_lens=(2,), k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))


def campaign(folder: Path, iters: int | None = 1, time: float | None = None) -> Campaign:
    settings = CampaignSettings(target="bundled", corpus=folder, device="cpu", iters=iters, time=time, timeout=1.0, jobs=1)
    return Campaign(settings)


def rendered(renderable: object, width: int = 100) -> str:
    console = Console(width=width, no_color=True, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def entry(case: Case, **finding: object) -> Entry:
    return Entry(
        case, case, "mutant:x", Signature("wrong-value:out"), Stage.COMPARE, "cpu", finding=finding, needed={"k": "passes"}
    )


def test_a_panel_shows_the_calls_that_led_to_an_exception() -> None:
    calls = "launch.py:40: kernel[(1,)](q)\nkernel.py:12: x = tl.load(q[3])"
    shown = rendered(finding_panel(entry(INTERLEAVED, message="ValueError: no at kernel.py:12", calls=calls), "title"))

    assert [line.strip("│ ") for line in shown.splitlines()[1:4]] == ["ValueError: no at kernel.py:12", *calls.splitlines()]


def test_a_finding_without_an_element_has_one_blank_line_and_no_map() -> None:
    """A call that raised has no wrong element, and where nothing is known of its reads, no memory to show."""
    raised, wrong = entry(INTERLEAVED, message="KeyError: 3"), entry(INTERLEAVED, tensor="out", where=[0, 0, 5], message="wrong")
    trace = Trace(known=False, row=0, head=0, wanted=(), actual=())
    lines = [line.strip("│ ") for line in rendered(finding_panel(raised, "title", trace)).splitlines()]

    assert lines[1:4] == ["KeyError: 3", "", "seq_lens     2  (1 sequence)"]
    assert "memory of" not in "".join(lines)
    assert "memory of" in rendered(finding_panel(wrong, "title", trace))


def test_a_value_that_spells_an_address_has_no_tolerance() -> None:
    numbers = {"oracle": "provenance", "expected": 63.0, "got": 0.0, "allowed": 106.0}
    shown = worst_element(entry(INTERLEAVED, tensor="out", where=[0, 0, 5], **numbers)).plain

    assert shown.endswith("expected 63  got 0  allowed ±0: the value spells the address that was read")


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
│ required: k = interleaved (passes with the default)                             │
╰─────────────────────────────────────────────────────────────────────────────────╯"""
    )


def test_a_sequence_is_shown_by_what_differs() -> None:
    before = (replace(INTERLEAVED, seq_lens=(1, 3), scale=0.3), INTERLEAVED)
    shown = rendered(finding_panel(replace(entry(INTERLEAVED, tensor="out"), before=before), "title"), 60)

    assert "requires the 2 calls before it" in shown
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
    narrow = {"cache_dtype": "float8_e5m2", "k_scale": 0.5, "v_scale": 0.5}
    for case in (INTERLEAVED, INTERLEAVED, Case(dtype="float16", group=3, sinks=True, **narrow)):  # type: ignore[arg-type]  # mixed
        coverage.add(case)
    shown = rendered(coverage_table(coverage)).splitlines()

    assert coverage.families == 2
    assert [line.split() for line in shown if line.startswith(("NHD", "interleaved  "))] == [
        ["NHD", "1", "0"],
        ["interleaved", "0", "2"],
    ]
    assert "group  1: 2  3: 1" in shown
    assert "options  window: 0  softcap: 0  ALiBi: 0  sinks: 1  float8: 1  q_len > 1: 0" in shown
    assert "2 combinations of family, dtype, group and block size" in shown


def test_a_dtype_that_the_interpreter_computes_wrongly_is_named_at_the_start(tmp_path: Path) -> None:
    running = campaign(tmp_path)
    console = Console(width=80, no_color=True, highlight=False)
    understood = describe(target_from_function("bundled", lambda q, k, v, table, lens, scale: q))
    with console.capture() as capture:
        refused = {"bfloat16": "dot differs from torch"}
        CampaignView(running, console).show(Started(WorkerInfo({}, {}, understood, refused)))
    assert capture.get().splitlines()[-1] == "bfloat16 skipped: failed the interpreter self-test (dot differs from torch)"


def test_a_case_that_was_only_slow_gets_a_line(tmp_path: Path) -> None:
    running = campaign(tmp_path)
    console = Console(width=80, no_color=True, highlight=False)
    with console.capture() as capture:
        CampaignView(running, console).show(
            SpuriousTimeout(Path("corpus/abc.json"), "no answer within 1 s, but in time when run alone")
        )
    words = "corpus/abc.json is not a finding and is removed: no answer within 1 s, but in time when run alone\n"
    assert capture.get() == words


def test_the_lines_of_a_night_fit_on_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("fuzz_decode.report.terminal.campaign.time.monotonic", lambda: next(clock) / 4)
    console = Console(width=80, no_color=True, highlight=False)
    view = CampaignView(campaign(tmp_path, iters=None, time=8 * 3600.0), console)
    with console.capture() as capture, view:
        while view.seconds < 8 * 3600:
            view.show(CaseRun())
    assert 100 < len(capture.get().splitlines()) < 250


def test_a_panel_is_no_wider_than_a_line_can_be_read() -> None:
    console = Console(width=200, no_color=True, highlight=False)
    with console.capture() as capture:
        show_finding(console, entry(INTERLEAVED, message="wrong " * 60), "fuzz-decode replay x", "title")
    assert max(map(len, capture.get().splitlines())) == 110


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_title_is_not_cut(width: int) -> None:
    console = Console(width=width, no_color=True, highlight=False)
    title = f"wrong-value:out on {'path/' * 40}kernel.py:decode: still failing"
    with console.capture() as capture:
        show_finding(console, entry(INTERLEAVED), "fuzz-decode replay x", title)
    assert capture.get().splitlines()[0] == title


@pytest.mark.parametrize("width", [72, 80, 110])
def test_no_word_of_a_layout_is_broken(width: int) -> None:
    with closing(case_stream(3, CaseSpace())) as stream:
        for case in itertools.islice(stream, 60):
            shown = rendered(stride_table(case), width - 4).split()
            words = [word for facts in tensor_facts(case) for word in f"{facts.name} {facts.strides} {facts.layout}".split()]
            assert set(words) <= set(shown)


def test_findings_come_last(tmp_path: Path) -> None:
    running = campaign(tmp_path)
    console = Console(width=80, no_color=True, highlight=False)
    view = CampaignView(running, console)
    found = replace(entry(INTERLEAVED, message="16 of 16 elements"), diagnosis="block stride of K", minimised=True)
    running.state.bugs.append(Bug(found, tmp_path / "a.json", 0, cases=[0]))
    running.state.coverage.add(INTERLEAVED)
    with console.capture() as capture:
        view.show(Minimized(found, tmp_path / "a.json", None))
        view.summary()
    first, *lines = capture.get().splitlines()

    assert first == "not minimized: block stride of K"
    (covered,) = (number for number, line in enumerate(lines) if line.startswith("covered"))
    (panel,) = (number for number, line in enumerate(lines) if line.startswith("╭"))
    assert covered < panel
    assert lines[-2].startswith("wrong-value:out: 1 of 0 cases")


def test_a_short_campaign_has_no_table() -> None:
    short = rendered(coverage_summary(Coverage.of([INTERLEAVED] * 99))).splitlines()
    long = rendered(coverage_summary(Coverage.of([INTERLEAVED] * 100))).splitlines()

    assert short[0] == "covered  1 of 15 layout families, 1 dtype, 1 combination of family, dtype, group and block size"
    assert len(short) == 2
    assert len(long) > 15


def test_the_end_says_what_is_unexplained_and_how_to_search_behind_a_missing_mask() -> None:
    state = CampaignState(unexplained=3)
    for fault in ("tail-v-unmasked", "k-block-stride-dense", "window-kv-unmasked", "tail-one-more"):
        state.bugs.append(Bug(stored_entry(Case(), fault=fault), Path("x.json"), 0))

    assert list(closing_remarks(state)) == [
        "3 failing cases counted for the signature alone: nothing explains them",
        "to search behind what reads NaN, and faster, declare or give --needs-finite tail,before_window",
    ]
    assert list(closing_remarks(CampaignState())) == []
