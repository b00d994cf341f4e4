"""Corpus files are written whole or not at all, and one that cannot be trusted gives one sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, Layout
from fuzz_decode.cases.serialization import case_to_json
from fuzz_decode.corpus import store
from fuzz_decode.corpus.entry import SCHEMA, Entry
from fuzz_decode.corpus.read import load, load_folder
from fuzz_decode.corpus.store import Deduplicated, save
from fuzz_decode.errors import UsageError
from fuzz_decode.files import MAX_BYTES
from fuzz_decode.generate.draw_case import decode_cases
from fuzz_decode.outcome import Signature, Stage

SMALL = Case(seq_lens=(2,), block_size=2, k=Layout(FAMILIES["interleaved"]), v=None)
RAW = Case(seq_lens=(9, 3), block_size=2, k=Layout(FAMILIES["interleaved"], (8, 0, 0, 0, 0)), v=None, window=5, scale=0.3)
ENTRY = Entry(
    case=SMALL,
    raw_case=RAW,
    target="paged_decode",
    signature=Signature("wrong-value:out"),
    stage=Stage.COMPARE,
    device="cpu",
    finding={"oracle": "numeric", "where": [0, 0, 3], "got": 1.5, "message": "7 of 16 elements"},
    needed={"k": "passes"},
    minimised=True,
    diagnosis="block stride of K read as 32 instead of 64",
    versions={"torch": "2.13"},
    note="seen twice",
)


def write(folder: Path, data: Any, name: str = "x.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def refusal(path: Path) -> str:
    """What `load` says about a bad file: one line that starts with the file's name."""
    with pytest.raises(UsageError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    return text.removeprefix(f"{path}: ")


def test_an_entry_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    assert load(save(tmp_path, ENTRY)) == ENTRY


@given(decode_cases())
@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_case_comes_back_as_it_was_saved(tmp_path: Path, case: Case) -> None:
    assert load(save(tmp_path, replace(ENTRY, case=case, raw_case=case))).case == case


def test_the_file_is_named_by_the_digest_and_readable(tmp_path: Path) -> None:
    path = save(tmp_path, ENTRY)
    data = json.loads(path.read_text())

    assert path == tmp_path / f"{ENTRY.digest}.json"
    assert data["schema"] == SCHEMA
    assert data["case"] == json.loads(json.dumps(case_to_json(SMALL)))
    assert list(data) == sorted(data)
    assert path.read_text().endswith("}\n")


SEQUENCE = replace(ENTRY, before=(replace(SMALL, scale=1.0), RAW))


def test_calls_before_the_case_come_back_in_order(tmp_path: Path) -> None:
    path = save(tmp_path, SEQUENCE)

    assert load(path) == SEQUENCE
    assert json.loads(path.read_text())["before"][0]["scale"] == 1.0


def test_the_digest_names_the_calls_before_the_case() -> None:
    others = [replace(ENTRY, before=SEQUENCE.before[::-1]), replace(ENTRY, before=SEQUENCE.before[:1])]

    assert len({entry.digest for entry in [ENTRY, SEQUENCE, *others]}) == 4


def test_a_file_of_a_single_case_is_as_it_was_before_there_were_sequences(tmp_path: Path) -> None:
    assert "before" not in json.loads(save(tmp_path, ENTRY).read_text())


def test_the_longest_sequence_of_large_cases_can_be_read_again(tmp_path: Path) -> None:
    assert load(save(tmp_path, replace(ENTRY, before=(RAW,) * 99))).before == (RAW,) * 99


def test_saving_twice_is_saving_once(tmp_path: Path) -> None:
    first = save(tmp_path, ENTRY)
    text = first.read_bytes()

    assert save(tmp_path, ENTRY) == first
    assert first.read_bytes() == text
    assert os.listdir(tmp_path) == [first.name]


def test_saving_what_was_loaded_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, ENTRY)
    text = path.read_bytes()

    assert save(tmp_path, load(path)) == path
    assert path.read_bytes() == text


def test_the_folder_is_made(tmp_path: Path) -> None:
    assert save(tmp_path / "a" / "b", ENTRY).is_file()


def test_the_file_never_exists_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text goes to another file of the same folder, whole and on disk, and only then takes the name."""
    moved: list[tuple[Path, Path, str]] = []
    replace_file = os.replace

    def watch(source: Any, goal: Any) -> None:
        moved.append((Path(source), Path(goal), Path(source).read_text()))
        assert not Path(goal).exists()
        replace_file(source, goal)

    monkeypatch.setattr(os, "replace", watch)
    path = save(tmp_path, ENTRY)

    [(source, goal, text)] = moved
    assert source.parent == tmp_path
    assert source.suffix != ".json"
    assert goal == path
    assert text == path.read_text()


def test_the_digest_names_case_target_and_signature_and_nothing_else() -> None:
    others = [replace(ENTRY, case=RAW), replace(ENTRY, target="other"), replace(ENTRY, signature=Signature("crash:call"))]

    assert len({entry.digest for entry in [ENTRY, *others]}) == 4
    assert replace(ENTRY, note="", raw_case=SMALL, versions={}, minimised=False, diagnosis="").digest == ENTRY.digest


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match=r"corpus folder .*file cannot be written: "):
        save(tmp_path / "file", ENTRY)


def test_the_minimized_entry_takes_the_place_of_the_raw_one(tmp_path: Path) -> None:
    raw = replace(ENTRY, case=RAW, minimised=False)

    path = store.replace(save(tmp_path, raw), ENTRY)

    assert os.listdir(tmp_path) == [path.name]
    assert load(path) == ENTRY


def test_an_entry_that_could_not_get_smaller_stays(tmp_path: Path) -> None:
    raw = replace(ENTRY, minimised=False)

    path = store.replace(save(tmp_path, raw), ENTRY)

    assert os.listdir(tmp_path) == [path.name]
    assert load(path).minimised


def test_a_raw_entry_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    assert store.replace(tmp_path / "gone.json", ENTRY).is_file()


def test_case_target_and_signature_suffice(tmp_path: Path) -> None:
    path = write(tmp_path, {"schema": SCHEMA, "case": {}, "target": "t", "signature": "s"})

    assert load(path) == Entry(Case(), Case(), "t", Signature("s"), Stage.COMPARE, "cpu")


def with_field(name: str, value: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {**ENTRY.to_json(), name: value}


def in_before(**changes: Any) -> Callable[[], dict[str, Any]]:
    return with_field("before", [{}, changes])


def in_case(**changes: Any) -> dict[str, Any]:
    return {**ENTRY.to_json(), "case": {**case_to_json(Case()), **changes}}


def test_a_good_file_is_the_start_of_all_bad_ones(tmp_path: Path) -> None:
    assert load(write(tmp_path, ENTRY.to_json())) == ENTRY
    assert load(write(tmp_path, in_case())) == replace(ENTRY, case=Case())


@pytest.mark.parametrize("length", [0, 1, 20, -3])
def test_a_truncated_file_is_refused(length: int, tmp_path: Path) -> None:
    text = save(tmp_path, ENTRY).read_text()

    assert refusal(write(tmp_path, text[:length])).startswith("is not a whole JSON file: ")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "[" * 200_000 + "]" * 200_000,
        '{"a":' * 150_000,
        '{"schema": 1, "case": {"window": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        "\x00\x00\x00",
        "{'schema': 1}",
        '{"schema": 1} {}',
        '{"schema": 1, "case": {"seed": ' + "9" * 5000 + "}}",
    ],
    ids=[
        "deep",
        "deep and closed",
        "deep objects",
        "deep within a case",
        "zeros",
        "python",
        "two values",
        "five thousand digits",
    ],
)
def test_what_is_not_json_is_refused(text: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path, text)).startswith("is not a whole JSON file: ")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"schema": "\xff\xfe\xfa"}')

    assert refusal(path).startswith("is not a whole JSON file: ")


@pytest.mark.parametrize("data", [[], 1, '"text"', None, {}, {"case": {}, "target": "t"}, [{"schema": 1}]])
def test_a_file_without_a_schema_is_refused(data: Any, tmp_path: Path) -> None:
    assert refusal(write(tmp_path, data)) == "has no schema number; a case file is written by fuzz-decode"


@pytest.mark.parametrize(
    ("schema", "shown"),
    [(2, "2"), (0, "0"), ("1", '"1"'), (None, "null"), ([1], "[1]"), ({"a": 1}, "{'a': 1}"), ("x" * 999, '"xxxx')],
)
def test_an_unknown_schema_is_refused(schema: Any, shown: str, tmp_path: Path) -> None:
    text = refusal(write(tmp_path, with_field("schema", schema)()))

    assert text.startswith(f"schema is {shown}")
    assert text.endswith("; this version reads schema 1")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (with_field("colour", "red"), "unknown field 'colour'"),
        (with_field("target", 3), "target: expected str, found int"),
        (with_field("signature", None), "signature: expected str, found NoneType"),
        (with_field("stage", ["run"]), "stage: expected str, found list"),
        (with_field("device", {}), "device: expected str, found dict"),
        (with_field("diagnosis", 0), "diagnosis: expected str, found int"),
        (with_field("note", False), "note: expected str, found bool"),
        (with_field("finding", []), "finding: expected dict, found list"),
        (with_field("needed", "k"), "needed: expected dict, found str"),
        (with_field("versions", None), "versions: expected dict, found NoneType"),
        (with_field("minimised", 1), "minimised: expected bool, found int"),
        (with_field("case", None), "case: expected an object, found NoneType"),
        (with_field("case", [1]), "case: expected an object, found list"),
        (with_field("raw_case", "x"), "case: expected an object, found str"),
        (with_field("case", {"colour": 1}), "case: unknown field 'colour'"),
        (with_field("case", {"group": [2]}), "case.group: expected int, found [2]"),
        (with_field("case", {"group": True}), "case.group: expected int, found true"),
        (with_field("case", {"scale": float("nan")}), "case field scale: nan "),
        (with_field("case", {"seq_lens": [10**15]}), "case field seq_lens: 1000000000000000 "),
        (with_field("case", {"block_size": 10**15}), "case field block_size: 1000000000000000 "),
        (with_field("case", {"num_kv_heads": 10**15}), "case field num_kv_heads: 1000000000000000 "),
        (
            with_field("case", {"k": {"order": list(CACHE_AXES), "pad": [10**15, 0, 0, 0]}}),
            "case field k: spans 1000000000000016 elements",
        ),
        (
            with_field("case", {"v": {"order": list(CACHE_AXES), "offset": 10**15}}),
            "case field v: spans 1000000000000016 elements",
        ),
        (with_field("case", {"table": {"extra_columns": 10**15}}), "case field table.extra_columns: 1000000000000000 "),
        (with_field("case", {"table": {"first_block": 10**15}}), "case field table.first_block: 1000000000000000 "),
        (with_field("before", {}), "before: expected list, found dict"),
        (with_field("before", None), "before: expected list, found NoneType"),
        (with_field("before", [3]), "before[0]: case: expected an object, found int"),
        (with_field("before", [{}] * 100), "before: 100 calls; at most 99 are made"),
        (in_before(colour=1), "before[1]: case: unknown field 'colour'"),
        (in_before(group=True), "before[1]: case.group: expected int, found true"),
        (in_before(block_size=10**15), "before[1]: case field block_size: 1000000000000000 "),
        (with_field("raw_case", {"seq_lens": [10**15]}), "case field seq_lens: 1000000000000000 "),
    ],
)
def test_a_wrong_field_is_named(data: Callable[[], dict[str, Any]], text: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path, data())).startswith(text)


@pytest.mark.parametrize("name", ["case", "target", "signature"])
def test_a_missing_field_is_named(name: str, tmp_path: Path) -> None:
    data = {field: value for field, value in ENTRY.to_json().items() if field != name}

    assert refusal(write(tmp_path, data)) == f"{name}: is missing"


def test_of_a_larger_file_no_more_is_read_than_shows_that(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    os.truncate(path, 2**40)  # no memory could hold it

    assert refusal(path) == f"is larger than {MAX_BYTES} bytes; such files are much smaller"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.json") == "cannot be read: No such file or directory"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()

    assert refusal(tmp_path / "x.json") == "is no regular file"


def test_a_folder_gives_its_good_files_and_the_errors_of_the_others(tmp_path: Path) -> None:
    good = [save(tmp_path, ENTRY), save(tmp_path, replace(ENTRY, case=RAW))]
    bad = [write(tmp_path, "{", "0.json"), write(tmp_path, {}, "m.json"), write(tmp_path, in_case(group=0), "z.json")]
    write(tmp_path, "not a case", "README.md")
    write(tmp_path, "{", ".half.tmp")

    entries, errors = load_folder(tmp_path)

    assert set(entries) == set(good)
    assert [entries[path] for path in good] == [ENTRY, replace(ENTRY, case=RAW)]
    assert list(entries) == sorted(entries)
    assert [str(error).partition(": ")[0] for error in errors] == [str(path) for path in sorted(bad)]


def test_an_empty_folder_has_no_entries(tmp_path: Path) -> None:
    assert load_folder(tmp_path) == ({}, [])


MIDDLE = replace(SMALL, table=BlockTable(first_block=1))


def settled(folder: Path, new: Entry, *stored: Entry, still_fails: bool = True) -> set[Case]:
    """Cases in the folder after `new` was settled among the stored ones."""
    for entry in stored:
        save(folder, entry)
    store.deduplicate(save(folder, new), new, lambda case: still_fails)
    return {entry.case for entry in load_folder(folder)[0].values()}


@pytest.mark.parametrize("new", [SMALL, MIDDLE])
def test_of_one_bug_the_smallest_case_stays(new: Case, tmp_path: Path) -> None:
    other = MIDDLE if new == SMALL else SMALL

    assert settled(tmp_path, replace(ENTRY, case=new), replace(ENTRY, case=other)) == {SMALL}


def test_a_case_that_no_longer_fails_guards_its_fix(tmp_path: Path) -> None:
    assert settled(tmp_path, replace(ENTRY, case=MIDDLE), ENTRY, still_fails=False) == {SMALL, MIDDLE}


def test_a_case_beats_a_sequence_and_fewer_calls_beat_more(tmp_path: Path) -> None:
    longer, shorter, alone = (replace(ENTRY, before=before) for before in ((SMALL, SMALL), (RAW,), ()))

    for new, stored in ((longer, shorter), (alone, longer), (shorter, alone)):
        folder = tmp_path / new.digest
        for entry in (stored, new):
            save(folder, entry)
        best = store.deduplicate(folder / f"{new.digest}.json", new, lambda calls: True)
        assert load_folder(folder)[0] == {best.path: best.entry}
        assert best.entry == min((stored, new), key=lambda entry: len(entry.before))


def test_other_bugs_are_left_alone(tmp_path: Path) -> None:
    others = replace(ENTRY, case=RAW, signature=Signature("crash:call")), replace(ENTRY, case=MIDDLE, target="other")

    assert settled(tmp_path, ENTRY, *others) == {SMALL, MIDDLE, RAW}


@pytest.mark.parametrize(("fault", "stays"), [("", True), ("other-fault", True), ("tail-one-more", False)])
def test_a_signature_alone_makes_no_two_cases_one_bug(fault: str, stays: bool, tmp_path: Path) -> None:
    """Wrong values have many causes: cases that were drawn apart are one bug only if the same fault explains both."""
    new = replace(ENTRY, fault="tail-one-more")
    other = replace(ENTRY, case=MIDDLE, raw_case=MIDDLE, fault=fault)

    assert settled(tmp_path, new, other) == ({SMALL, MIDDLE} if stays else {SMALL})
    assert settled(tmp_path / "undiagnosed", replace(new, fault=""), replace(other, fault="")) == {SMALL, MIDDLE}


def test_settling_tells_what_stayed(tmp_path: Path) -> None:
    path = save(tmp_path, ENTRY)

    other = save(tmp_path, replace(ENTRY, case=MIDDLE))

    assert store.deduplicate(other, replace(ENTRY, case=MIDDLE), lambda case: True) == Deduplicated(path, ENTRY, (other,))
