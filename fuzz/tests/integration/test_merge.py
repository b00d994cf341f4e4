"""Of each bug in some folders the smallest case comes into the corpus; nothing is lost in silence, and no order matters."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fuzz_decode.cases.case import Case
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.corpus.store import save
from fuzz_decode.outcome import Signature, Stage

SMALL, MIDDLE, LARGE = (Case(seq_lens=(length,)) for length in (1, 2, 3))
ENTRY = Entry(SMALL, SMALL, "mutant:x", Signature("wrong-value:out"), Stage.COMPARE, "cpu", minimised=True, diagnosis="it is so")
OTHER = replace(ENTRY, signature=Signature("crash-SIGSEGV:call"))


def with_case(case: Case, entry: Entry = ENTRY) -> Entry:
    return replace(entry, case=case)


def folder(path: Path, *entries: Entry) -> Path:
    path.mkdir(exist_ok=True)
    for entry in entries:
        save(path, entry)
    return path


def merge(*folders: Path, into: Path) -> int:
    return main(["merge", *map(str, folders), "--corpus", str(into)])


def contents(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.iterdir()}


def stored(path: Path) -> set[tuple[str, Case]]:
    entries, errors = load_folder(path)
    assert errors == []
    return {(entry.signature, entry.case) for entry in entries.values()}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tmp_path / "corpus"


def test_what_is_new_is_added_and_what_is_smaller_replaces(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(corpus, with_case(MIDDLE))
    one = folder(tmp_path / "one", with_case(SMALL), with_case(LARGE))
    two = folder(tmp_path / "two", with_case(LARGE, OTHER))

    assert merge(one, two, into=corpus) == CLEAN
    assert stored(corpus) == {(ENTRY.signature, SMALL), (OTHER.signature, LARGE)}
    names = {entry.digest: entry for entry in (with_case(SMALL), with_case(MIDDLE), with_case(LARGE, OTHER))}
    small, middle, other = (f"{digest}.json" for digest in names)
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(
        [
            f"replaced  {corpus / small} from {one / small}: wrong-value:out on mutant:x; dropped {corpus / middle}",
            f"added     {corpus / other} from {two / other}: crash-SIGSEGV:call on mutant:x",
            f"{corpus}: 1 added, 1 replaced, 0 kept; 1 dropped",
        ]
    )


def test_merging_a_larger_case_changes_nothing(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(folder(corpus, with_case(SMALL)))

    assert merge(folder(tmp_path / "one", with_case(LARGE)), into=corpus) == CLEAN
    assert contents(corpus) == before
    assert capsys.readouterr().out == f"{corpus}: 0 added, 0 replaced, 1 kept; 0 dropped\n"


def test_a_case_beats_a_sequence(corpus: Path, tmp_path: Path) -> None:
    sequence = replace(with_case(SMALL), before=(SMALL,))
    merge(folder(tmp_path / "one", sequence), folder(tmp_path / "two", with_case(LARGE)), into=corpus)

    assert [entry.before for entry in load_folder(corpus)[0].values()] == [()]


def test_the_order_of_folders_matters_as_little_as_merging_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = replace(with_case(SMALL), note="b")
    folders = [
        folder(tmp_path / "one", said, with_case(LARGE, OTHER)),
        folder(tmp_path / "two", replace(said, note="a"), with_case(MIDDLE, OTHER)),
        folder(tmp_path / "three", replace(said, diagnosis="")),
    ]
    sources = [contents(one) for one in folders]
    results, outputs = [], []
    for number, order in enumerate(itertools.permutations(folders)):
        into = tmp_path / f"corpus{number}"
        assert merge(*order, into=into) == CLEAN
        outputs.append(capsys.readouterr().out.replace(into.name, "corpus"))
        results.append(contents(into))
        assert merge(*order, into=into) == CLEAN
        assert capsys.readouterr().out == f"{into}: 0 added, 0 replaced, 2 kept; 0 dropped\n"
        assert contents(into) == results[-1]

    assert all(result == results[0] for result in results)
    assert set(outputs) == {outputs[0]}
    assert load(tmp_path / "corpus0" / f"{said.digest}.json").note == "a"
    assert [contents(one) for one in folders] == sources


def test_of_the_same_calls_the_corpus_keeps_its_own(corpus: Path, tmp_path: Path) -> None:
    """The note in it may be somebody's."""
    before = contents(folder(corpus, replace(ENTRY, note="ours", diagnosis="")))

    assert merge(folder(tmp_path / "one", replace(ENTRY, note="theirs")), into=corpus) == CLEAN
    assert contents(corpus) == before


LEDGER = """
[[known]]
target = "mutant:x"
signature = "wrong-value:out"
issue = "https://example.org/1"
reason = "it is so"
expect = "fail"
when = { max_seq_len = { min = 3 } }
"""


def test_what_the_ledger_knows_and_what_it_does_not_are_kept_apart(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, larger = with_case(LARGE), with_case(replace(LARGE, group=2))
    (folder(corpus, larger) / "ledger.toml").write_text(LEDGER)
    one = folder(tmp_path / "one", known, with_case(SMALL), with_case(MIDDLE))
    (one / "ledger.toml").write_text(LEDGER)

    assert merge(one, into=corpus) == CLEAN
    assert stored(corpus) == {(ENTRY.signature, LARGE), (ENTRY.signature, SMALL)}
    assert f"{one / 'ledger.toml'} is not merged; " in capsys.readouterr().out
    assert (corpus / "ledger.toml").read_text() == LEDGER


def test_a_corpus_merged_into_itself_loses_its_surplus_by_name(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(corpus, with_case(SMALL), with_case(MIDDLE), with_case(LARGE), OTHER)
    monkeypatch.chdir(corpus.parent)

    assert main(["merge", "corpus"]) == CLEAN
    assert stored(corpus) == {(ENTRY.signature, SMALL), (OTHER.signature, SMALL)}
    shown = capsys.readouterr().out
    assert shown.startswith(f"kept      corpus/{with_case(SMALL).digest}.json: wrong-value:out on mutant:x; dropped corpus/")
    assert all(f"corpus/{with_case(case).digest}.json" in shown for case in (MIDDLE, LARGE))
    assert shown.endswith("corpus: 0 added, 0 replaced, 2 kept; 2 dropped\n")


def test_bugs_that_no_folder_has_are_left_alone(corpus: Path, tmp_path: Path) -> None:
    folder(corpus, with_case(SMALL), with_case(MIDDLE))

    assert merge(folder(tmp_path / "one", OTHER), into=corpus) == CLEAN
    assert stored(corpus) == {(ENTRY.signature, SMALL), (ENTRY.signature, MIDDLE), (OTHER.signature, SMALL)}


def test_a_file_with_a_name_of_its_own_keeps_it(corpus: Path, tmp_path: Path) -> None:
    save(corpus, with_case(SMALL)).rename(corpus / "aiter.json")

    assert merge(folder(tmp_path / "one", with_case(SMALL), with_case(LARGE)), corpus, into=corpus) == CLEAN
    assert contents(corpus).keys() == {"aiter.json"}


def test_files_that_do_not_load_are_named_and_the_others_merged(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = folder(tmp_path / "one", ENTRY)
    (one / "bad.json").write_text("{")
    (folder(corpus) / "worse.json").write_text(json.dumps({"schema": 99}))

    assert merge(one, into=corpus) == USAGE
    assert contents(corpus).keys() == {"worse.json", f"{ENTRY.digest}.json"}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in lines] == [str(corpus / "worse.json"), str(one / "bad.json")]


def test_a_good_case_takes_the_place_of_its_own_broken_file_and_that_is_said(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = folder(corpus) / f"{ENTRY.digest}.json"
    broken.write_text("{")

    assert merge(folder(tmp_path / "one", ENTRY), into=corpus) == USAGE
    assert load(broken) == ENTRY
    assert f"replaced  {broken} from " in capsys.readouterr().out


def test_a_file_that_is_not_what_its_name_says_is_not_written_over(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = save(corpus, replace(ENTRY, target="mutant:y")).rename(corpus / f"{ENTRY.digest}.json")
    before = contents(corpus)

    assert merge(folder(tmp_path / "one", ENTRY), into=corpus) == USAGE
    assert f"{edited}: is not the case that its name says; rename it to " in capsys.readouterr().err
    assert contents(corpus) == before


@pytest.mark.parametrize("problem", ["no folder", "a file", "ledger"])
def test_where_something_is_wrong_from_the_start_nothing_is_merged(
    problem: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [folder(tmp_path / "one", ENTRY), folder(tmp_path / "two")]
    folder(corpus)
    if problem == "ledger":
        (corpus / "ledger.toml").write_text("[[known]]")
    elif problem == "a file":
        folders.append(next(folders[0].iterdir()))
    else:
        folders.append(tmp_path / "none")

    assert merge(*folders, into=corpus) == USAGE
    assert not list(corpus.glob("*.json"))
    words = "target: is missing" if problem == "ledger" else f"{folders[-1]} is no folder"
    assert words in capsys.readouterr().err
