"""The page stands alone, says everything about each bug, and nothing that a file says can become part of it but text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fuzz_decode.campaign.triage import FIXED, NOT_RUN, STILL_FAILS, Triaged
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.diagnose import TraceRequest
from fuzz_decode.diagnose.access_trace import trace
from fuzz_decode.errors import UsageError
from fuzz_decode.generate.coverage import Coverage
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.report.html import Page
from fuzz_decode.report.html.inputs import read_coverage, read_score

CASE = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))
FINDING = {"message": "16 of 16 elements", "tensor": "out", "where": [0, 0, 5], "expected": 0.5, "got": "nan", "allowed": 1e-6}
ENTRY = Entry(
    CASE,
    CASE,
    "mutant:x",
    Signature("wrong-value:out"),
    Stage.COMPARE,
    "cpu",
    FINDING,
    {"k": "passes"},
    True,
    "block stride of K",
    "f",
)
FOUND = Triaged(Path("corpus/x.json"), ENTRY, ENTRY, STILL_FAILS, trace=trace(TraceRequest(CASE, "k-block-stride-dense")))
HOSTILE = '</style></td><script>alert(1)</script>\x1b[31m\x00<img src=http://evil onerror=x>&amp;"'


class Reader(HTMLParser):
    """The page as a browser sees it: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page(*found: Triaged, **more: object) -> Reader:
    return Reader(Page(found, Coverage.of([CASE]), "the corpus", **more).html())  # type: ignore[arg-type]  # as given


def addresses(reader: Reader) -> Iterator[str]:
    for _, attributes in reader.tags:
        yield from (value or "" for name, value in attributes.items() if name in ("href", "src", "data", "action"))


def test_a_bug_is_explained() -> None:
    shown = page(FOUND).words

    for words in (
        "1 bug of 1 failing",
        "block stride of K",
        "wrong-value:out on mutant:x: still failing",
        "out[sequence 0, q head 0, dim 5]",
        "expected 0.5, got nan, allowed ±1e-06",
        "✗ is read as K of token 0",
        "◄ should be read as K of token 0",
        "kernel uses ( 16 , 16, 16, 1)",
        "k = interleaved passes",
        "fuzz-decode replay corpus/x.json --target mutant:x",
    ):
        assert words in shown


def test_a_command_is_broken_between_words_only() -> None:
    html = Page((FOUND,), Coverage.of([CASE]), "the corpus").html()
    assert "<span>corpus/x.json</span> <span>--target</span> <span>mutant:x</span>" in html


def test_the_page_stands_alone() -> None:
    reader = page(FOUND)

    assert {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe"} == set()
    assert list(addresses(reader)) == ["#bug-1"]
    assert "http" not in "".join(reader.text)


def test_text_of_files_stays_text() -> None:
    hostile = replace(
        ENTRY,
        note=HOSTILE,
        diagnosis=HOSTILE,
        target=HOSTILE,
        signature=Signature(HOSTILE),
        finding={"message": HOSTILE, "reads": HOSTILE, "tensor": HOSTILE},
        needed={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
    )
    reader = page(replace(FOUND, entry=hostile, stored=hostile, reason=HOSTILE, path=Path(HOSTILE)), errors=[HOSTILE])

    assert {tag for tag, _ in reader.tags} & {"script", "img"} == set()
    assert list(addresses(reader)) == ["#bug-1"]
    assert "<script>alert(1)</script>?[31m?" in reader.words


def test_a_fixed_bug_is_no_failure() -> None:
    shown = page(Triaged(Path("x.json"), ENTRY, ENTRY, FIXED)).words

    assert "0 bugs of 1 failing" in shown
    assert "wrong-value:out on mutant:x: fixed" in shown


def test_a_finding_of_the_campaign_itself_is_new() -> None:
    shown = page(FOUND.as_new).words

    assert FOUND.as_new.failing
    assert "1 bug of 1 failing" in shown
    assert "wrong-value:out on mutant:x: new" in shown
    assert "still" not in shown
    assert replace(FOUND, status=FIXED).as_new.status == "not failing again"
    assert replace(FOUND, status=NOT_RUN).as_new.status == NOT_RUN


@pytest.mark.parametrize(
    ("k", "pages", "key"),
    [
        (Layout(FAMILIES["interleaved"]), BlockTable(first_block=1), "; dashed: unreferenced, NaN"),
        (Layout(FAMILIES["interleaved"]), BlockTable(), ""),
        (Layout(FAMILIES["interleaved"], pad=(0, 0, 0, 0, 3)), BlockTable(), "; dashed: between rows, NaN"),
    ],
)
def test_the_key_names_what_is_drawn(k: Layout, pages: BlockTable, key: str) -> None:
    case = replace(CASE, k=k, table=pages)
    wrong = trace(TraceRequest(case, ""))
    shown = page(replace(FOUND, entry=replace(ENTRY, case=case), trace=wrong)).words

    assert f"for sequence 0, q head 0{key} " in shown
    assert ("dashed" in shown) == bool(key)


def test_tables_show_that_they_scroll_and_coverage_is_one_of_them() -> None:
    reader = page(FOUND)

    assert [attributes.get("class") for tag, attributes in reader.tags if tag == "table"].count("heat") == 1
    assert "background-attachment: local, local, scroll, scroll" in "".join(reader.text)
    assert "dtype group block size family float32" in reader.words


def test_a_clean_campaign_shows_its_coverage() -> None:
    shown = page().words

    assert "no findings" in shown
    assert "1 case of the corpus" in shown


def test_the_score_is_shown_where_there_is_one() -> None:
    row = {"name": "block stride", "killed": 3, "runs": 4, "median": 2, "p90": None}
    shown = page(score={"mutants": 4, "detected": 3, "classes": [row]}).words

    assert "3 of 4 mutants of the bundled kernel are killed" in shown
    assert "block stride 3 of 4 2 -" in shown


def test_a_campaigns_coverage_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"coverage": [["NHD", "float16", 2, 16, 7]]}))

    assert read_coverage(path).cells == {("NHD", "float16", 2, 16): 7}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"coverage": 3}', '{"coverage": [["NHD"]]}', "[" * 10**5, "\x00"])
def test_other_files_are_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)

    for read in (read_coverage, read_score):
        with pytest.raises(UsageError, match=r"other\.json"):
            read(path)
