"""Case files that somebody else made: whatever is in them, they load or give one line; nothing hangs, crashes, is imported, or
steers what it is shown on."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_decode.cases.call_sequence import sort_key
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cli import FINDINGS, USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import load_ledger
from fuzz_decode.corpus.lookup import find_files, target_of
from fuzz_decode.corpus.read import load
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import FileError, TargetError, UsageError
from fuzz_decode.report.terminal.finding import finding_text
from fuzz_decode.targets import resolve

BUG = "mutant:k-block-stride-dense"
FAILS = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))
CASE = Case(k=Layout(FAMILIES["interleaved"]), v=None)
FINDING = {
    "oracle": "numeric",
    "symptom": "wrong-value",
    "tensor": "out",
    "message": "7 of 16 elements",
    "where": [0, 0, 3],
    "expected": 1.5,
    "got": "nan",
    "allowed": 1e-6,
    "wrong": 7,
    "total": 16,
    "reads": "",
}
ENTRY = Entry(
    CASE,
    CASE,
    BUG,
    "wrong-value:out",
    "compare",
    "cpu",
    finding=FINDING,
    needed={"k": "passes"},
    diagnosis="it is so",
    versions={"torch": "2.13"},
    note="seen twice",
    before=(Case(),),
)
GOOD: dict[str, Any] = json.loads(json.dumps(ENTRY.to_json()))
STEERING = "\x1b[2J\x07\r\n\u2028::set-output name=x::y\n\t##[add-mask]z \u202e</td><script>|`\ufffe"
NAME = STEERING.replace("/", "")
HUGE = ("[" * 900 + "]" * 900, "1e999", "-1e999", "NaN", "-Infinity", "1" * 400, "9" * 4300, '"' + "x" * 100_000 + '"', "2e308")
ANY = (None, True, -1, 1.5, STEERING, [[]], [None], {}, {STEERING: STEERING}, 2**62, 1e300)


def write(folder: Path, data: Any) -> Path:
    """A file of bytes, of text, or of JSON data."""
    path = folder / "x.json"
    text = data if isinstance(data, (bytes, str)) else json.dumps(data)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def tried(path: Path) -> str:
    """What is wrong with the file, in one harmless line; nothing if it loads, and then it can be shown, compared and stored."""
    try:
        entry = load(path)
    except FileError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert text.isprintable()
        assert len(text) < len(str(path)) + 310
        return text.removeprefix(f"{path}: ")
    assert finding_text(entry, "repro", "title").replace("\n", "").isprintable()
    assert sort_key(entry.calls) <= sort_key(entry.calls)
    assert json.dumps(entry.to_json(), allow_nan=False)
    return ""


def places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value within JSON data."""
    if at:
        yield at
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*at, key))


def altered(place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    """A good file, but for what `change` makes of (the thing around, the key) at one place."""
    data = copy.deepcopy(GOOD)
    around = data
    for key in place[:-1]:
        around = around[key]
    change(around, place[-1])
    return data


# what raw_case and before hold is read like case
PLACES = [place for place in places(GOOD) if place[0] not in ("raw_case", "before") or len(place) < 3]


def test_the_file_that_all_others_are_made_of_is_good(tmp_path: Path) -> None:
    assert tried(write(tmp_path, GOOD)) == ""
    assert load(tmp_path / "x.json") == ENTRY
    assert len(PLACES) > 60


@pytest.mark.slow
def test_a_value_of_any_kind_at_any_place_is_named_or_harmless(tmp_path: Path) -> None:
    refused = 0
    for place in PLACES:
        for value in ANY:
            text = tried(write(tmp_path, altered(place, lambda around, key, value=value: around.__setitem__(key, value))))
            refused += bool(text)
            if text and place[0] in ("case", "raw_case", "before"):
                assert re.match(r"(case|raw_case|before)\b", text), (place, value, text)
            elif text:
                assert re.match(rf"({place[0]}\b|schema is |unknown field)", text), (place, value, text)
    assert refused > len(PLACES) * len(ANY) // 2


def raw(place: tuple[Any, ...], text: str) -> str:
    """A good file with a text in one place that json.dumps would not write."""
    return json.dumps(altered(place, lambda around, key: around.__setitem__(key, "PLACE"))).replace('"PLACE"', text)


@pytest.mark.parametrize("text", HUGE, ids=lambda text: text[:12])
def test_a_huge_value_at_any_place_is_named_or_harmless(text: str, tmp_path: Path) -> None:
    texts = [tried(write(tmp_path, raw(place, text))) for place in PLACES if len(place) < 3]

    assert [place for place, text in zip(PLACES, texts, strict=False) if not text] == [] or text.startswith('"xxx')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a whole JSON file"),
        ("\x00" * 99, "is not a whole JSON file"),
        (b"\xff\xfe\xfa", "is not a whole JSON file"),
        (b'{"schema": 1, "note": "\xc3\x28"}', "is not a whole JSON file"),
        ("[" * 200_000, "is not a whole JSON file"),
        ("1" * 10**6, "is not a whole JSON file"),
        ('{"schema": ' + "1" * 10**6 + "}", "is not a whole JSON file"),
        ('{"schema": 1, "schema": 1}', "field 'schema' is there twice"),
        ('{"schema": 1, "case": {"seed": 1, "group": 1, "seed": 2}}', "field 'seed' is there twice"),
        ("{" + ",".join(f'"{number}": 1' for number in range(80_000)) + ', "7": 1}', "field '7' is there twice"),
        (json.dumps({STEERING * 99: 1, **GOOD}), r"unknown field '\x1b[2J"),
        (json.dumps({**GOOD, "case": {STEERING * 99: 1}}), r"case: unknown field '\x1b[2J"),
        (json.dumps({**GOOD, "needed": {"\ud800": "x"}}), "needed.?: is not valid text"),
        (json.dumps({**GOOD, "versions": {STEERING * 99: 1}}), "versions.?[2J?"),
        (json.dumps({**GOOD, "finding": {"x": 10**400}}), "finding.x: 1000000000"),
        (json.dumps({**GOOD, "finding": {"where": "abc"}}), "finding.where: expected list, found str"),
        (json.dumps({**GOOD, "finding": {"where": [10**400]}}), "finding.where: 1000000000"),
        (json.dumps({**GOOD, "finding": {"got": float("nan")}}), "finding.got: NaN is out of range"),
        (json.dumps({**GOOD, "finding": {"message": 1}}), "finding.message: expected str, found int"),
        (json.dumps({**GOOD, "target": "a:b\nimport os"}), "target: holds a line break"),
        (json.dumps({**GOOD, "signature": "a\x1b[2J"}), "signature: holds a line break or another control character"),
        (json.dumps({**GOOD, "device": "tpu"}), 'device: "tpu" is none of cpu, cuda'),
        (json.dumps({**GOOD, "stage": "sale"}), 'stage: "sale" is none of build, run, compare'),
        (json.dumps({**GOOD, "case": {"seq_lens": [1] * 300_000}}), "case field seq_lens: 300000 sequences"),
        (json.dumps({**GOOD, "case": {"seq_lens": [10**400]}}), "case.seq_lens: a number of 401 digits is out of range"),
        (json.dumps({**GOOD, "case": {"q": {"order": [STEERING] * 9999}}}), "case field q.order: ?[2J?"),
        (json.dumps({**GOOD, "case": {"q": {"order": ["seq"] * 99_999}}}), "case field q.order: seq seq"),
        (json.dumps({**GOOD, "case": {"q": {"order": ["seq", "head", "dim"], "pad": [0] * 99_999}}}), "case field q.pad: 99999"),
        (json.dumps({**GOOD, "case": {"dtype": STEERING * 999}}), r"case field dtype: '\x1b[2J"),
        (json.dumps({**GOOD, "before": [{}] * 100_000}), "before: 100000 calls; at most 99 are made"),
    ],
    ids=itertools.count(),
)
def test_what_is_wrong_is_said_in_a_line(text: str | bytes, words: str, tmp_path: Path) -> None:
    assert tried(write(tmp_path, text)).startswith(words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x1f\x8b\x08\x00", "is not a whole JSON file"),
        (b"PK\x03\x04", "is not a whole JSON file"),
        (b"\x80\x04\x95\x0b\x00pickle.", "is not a whole JSON file"),
        (json.dumps(GOOD) * 2, "is not a whole JSON file: Extra data"),
        (json.dumps(GOOD) + "\0", "is not a whole JSON file: Extra data"),
        (json.dumps(GOOD)[:-1], "is not a whole JSON file"),
        ([], "has no schema number"),
        ({"schema": True}, "schema is true; this version reads schema 1"),
        ({"schema": 1.0}, "schema is 1.0; this version reads schema 1"),
        ({**GOOD, "schema": -1}, "schema is -1; this version reads schema 1"),
        ({**GOOD, "__class__": "os.system"}, "unknown field '__class__'"),
        ({**GOOD, "case": {"__reduce__": ["os.system", "id"]}}, "case: unknown field '__reduce__'"),
        ({**GOOD, "case": "!!python/object/apply:os.system"}, "case: expected an object, found str"),
        ({**GOOD, "before": {}}, "before: expected list, found dict"),
        ({**GOOD, "before": [None]}, "before[0]: case: expected an object"),
        ({**GOOD, "case": {"seq_lens": []}}, "case field seq_lens: 0 sequences"),
        ({**GOOD, "case": {"seq_lens": [-1]}}, "case field seq_lens: -1 is not between"),
        ({**GOOD, "case": {"seq_lens": [True]}}, "case.seq_lens: expected int, found true"),
        ({**GOOD, "case": {"seq_lens": [2**31]}}, "case field seq_lens: 2147483648 is not between"),
        ({**GOOD, "case": {"block_size": 0}}, "case field block_size: 0 is not between"),
        ({**GOOD, "case": {"head_dim": 2**20}}, "case field head_dim: 1048576 is not between"),
        ({**GOOD, "case": {"seed": -1}}, "case field seed: -1 is not between"),
        ({**GOOD, "case": {"table": {"first_block": 2**40}}}, "case field table.first_block: 1099511627776 is not between"),
        ({**GOOD, "case": {"k": {"family": "../../etc"}}}, "case.k: unknown field 'family'"),
        (
            {**GOOD, "case": {"k": {"order": ["block", "block", "slot", "dim"]}}},
            "case field k.order: block block slot dim is not",
        ),
        ({**GOOD, "versions": [["a", "b"]]}, "versions: expected dict, found list"),
    ],
    ids=itertools.count(),
)
def test_a_file_that_is_no_case_is_refused(data: Any, words: str, tmp_path: Path) -> None:
    assert tried(write(tmp_path, data)).startswith(words)


@pytest.mark.parametrize("name", ["diagnosis", "note"])
def test_a_text_may_say_anything_and_steers_nothing(name: str, tmp_path: Path) -> None:
    assert tried(write(tmp_path, {**GOOD, name: STEERING})) == ""
    assert tried(write(tmp_path, {**GOOD, "needed": {STEERING: STEERING}, "versions": {STEERING: STEERING}})) == ""
    finding = {**FINDING, **dict.fromkeys(("message", "tensor", "reads", "got", "oracle"), STEERING)}
    assert tried(write(tmp_path, {**GOOD, "finding": finding})) == ""


def test_a_byte_order_mark_and_other_encodings_are_no_harm(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert tried(write(tmp_path, json.dumps(GOOD).encode(encoding))) == ""


def test_the_largest_case_loads_in_no_time(tmp_path: Path) -> None:
    data = {**GOOD, "case": {"seq_lens": [1] * 2**17}, "raw_case": {}, "before": []}
    started = time.monotonic()

    assert tried(write(tmp_path, data)) == ""
    assert time.monotonic() - started < 20


def device(folder: Path) -> Path:
    (folder / "x.json").symlink_to("/dev/zero")
    return folder / "x.json"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.json")
    return folder / "x.json"


def loop(folder: Path) -> Path:
    (folder / "x.json").symlink_to(folder / "x.json")
    return folder / "x.json"


def nowhere(folder: Path) -> Path:
    (folder / "x.json").symlink_to(folder / "none")
    return folder / "x.json"


def directory(folder: Path) -> Path:
    (folder / "x.json").mkdir()
    return folder / "x.json"


def lying(folder: Path) -> Path:
    (folder / "x.json").symlink_to("/proc/self/maps")  # its size is said to be 0
    return folder / "x.json"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (device, "is no regular file"),
        (pipe, "is no regular file"),
        (directory, "is no regular file"),
        (loop, "cannot be read: Too many levels of symbolic links"),
        (nowhere, "cannot be read: No such file or directory"),
        (lying, "is not a whole JSON file"),
    ],
)
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], Path], words: str, tmp_path: Path) -> None:
    assert tried(make(tmp_path)).startswith(words)


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (tmp_path / "y.json").symlink_to(path)

    assert load(tmp_path / "y.json") == ENTRY


def test_a_link_where_a_case_is_to_be_stored_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / f"{ENTRY.digest}.json").symlink_to(tmp_path / "precious")

    assert load(save(tmp_path, ENTRY)) == ENTRY
    assert (tmp_path / "precious").read_text() == "as it was"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(ANY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(sorted(GOOD)), inner, max_size=4),
    max_leaves=12,
)
QUICK = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@given(JSON)
@QUICK
def test_any_json_is_an_entry_or_a_line(tmp_path: Path, data: Any) -> None:
    tried(write(tmp_path, data))
    tried(write(tmp_path, {"schema": 1, "case": {}, "target": "t", "signature": "s", "finding": data, "note": data}))


@given(st.sampled_from(PLACES), JSON, st.sampled_from(("set", "delete", "add")))
@QUICK
def test_any_change_of_a_good_file_is_an_entry_or_a_line(tmp_path: Path, place: tuple[Any, ...], value: Any, how: str) -> None:
    def change(around: Any, key: Any) -> None:
        if how == "set":
            around[key] = value
        elif how == "delete":
            del around[key]
        elif isinstance(around, dict):
            around[str(value)] = value
        else:
            around.append(value)

    tried(write(tmp_path, altered(place, change)))


@given(st.integers(0, len(json.dumps(GOOD)) - 1), st.binary(max_size=3), st.integers(0, 3))
@QUICK
def test_any_change_of_some_bytes_is_an_entry_or_a_line(tmp_path: Path, start: int, new: bytes, length: int) -> None:
    data = json.dumps(GOOD).encode()
    tried(write(tmp_path, data[:start] + new + data[start + length :]))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[known]]\nwhen" + ".a" * 5000 + " = 1\n", "entry 1: target: is missing"),
        (
            '[[known]]\ntarget = "t"\nsignature = "a:b"\nissue = "https://x"\nreason = "r"\nexpect = "fail"\n'
            "when.head_dim" + ".a" * 5000 + " = 1\n",
            "entry 1: when.head_dim: must be a number",
        ),
        ("[[known]]\ntarget" + ".a" * 5000 + " = 1\n", "entry 1: target: must be text"),
        ("known = [" + "[" * 5000, "is not a TOML file"),
        ("x = " + "9" * 5000, "is not a TOML file"),
        ("# " + "x" * 2**20, "is larger than"),
        ('"\\u001b[2J\\n" = 1', r"field '\x1b[2J\n'"),
    ],
    ids=itertools.count(),
)
def test_a_ledger_that_somebody_else_made_gives_a_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").write_text(text)
    with pytest.raises(FileError) as caught:
        load_ledger(tmp_path, "t")

    assert str(caught.value).removeprefix(f"{tmp_path / 'ledger.toml'}: ").startswith(words)
    assert str(caught.value).isprintable()


@pytest.mark.timeout(20)
def test_a_ledger_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger.toml")
    with pytest.raises(FileError, match="is no regular file"):
        load_ledger(tmp_path, "t")


BUILT_IN = ("bundled", BUG, "mutant:nothing", "mutant:os:system", "mutant:x.py:f", "vllm-unified", "nothing", "", "../x.py")
CODE = ("os:system", "x.py:decode", "../x.py:decode", "/tmp/x.py:decode", "a:", ":b", "a:b:c", "Mutant:x:y", " mutant:x:y")


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_name_taken_from_a_file_imports_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same names go on to `resolve`: it must not take one for code."""
    resolving = __import__("fuzz_decode.targets.resolve", fromlist=["resolve"])
    for loading in ("_import", "_load_file"):
        monkeypatch.setattr(resolving, loading, lambda name: pytest.fail(f"{name} would have been imported"))

    assert target_of(replace(ENTRY, target=name), None) == name
    with contextlib.suppress(TargetError):
        resolve(name)


@pytest.mark.parametrize("name", CODE)
def test_code_that_a_file_names_must_be_confirmed(name: str) -> None:
    with pytest.raises(UsageError, match=r"no code is imported because a file names it; .* --target "):
        target_of(replace(ENTRY, target=name), None)
    assert target_of(replace(ENTRY, target=name), "bundled") == "bundled"
    assert target_of(replace(ENTRY, target=name), name) == name
    assert target_of(replace(ENTRY, target=name), "") == ""


def test_minimize_of_a_file_from_elsewhere_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {**GOOD, "target": "evil.py:decode"})

    assert main(["minimize", str(path), "--device", "cpu"]) == USAGE
    assert capsys.readouterr().err.endswith("say --target evil.py:decode\n")
    assert not (tmp_path / "ran").exists()


def test_a_name_that_no_file_can_have_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file, folder or digest"):
        find_files(["x" * 5000], tmp_path)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, str, Path]:
    """Exit code, output, errors and JUnit file of a replay of a folder in which everything is meant to harm."""
    folder = tmp_path_factory.mktemp("hostile")
    corpus = folder / "["
    texts = {"diagnosis": STEERING, "note": STEERING, "needed": {STEERING: STEERING}, "before": (), "versions": {STEERING: ""}}
    path = save(corpus, replace(ENTRY, target="evil.py:decode", case=FAILS, **texts))
    path.rename(corpus / f"red]{NAME}.json")
    os.mkfifo(corpus / "pipe.json")
    (corpus / "folder.json").mkdir()
    (corpus / "zero.json").symlink_to("/dev/zero")
    (corpus / f"bad{NAME}.json").write_text(json.dumps({STEERING: 1, "schema": 1}))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["replay", str(corpus), "--target", BUG, "--junit", str(folder / "junit.xml"), "--device", "cpu"])
    return code, out.getvalue(), err.getvalue(), folder / "junit.xml"


def test_a_replay_of_such_files_fails_as_it_should_and_waits_for_nothing(replayed: tuple[int, str, str, Path]) -> None:
    code, shown, complaints, junit = replayed
    kinds = [[child.tag for child in case] for case in ElementTree.parse(junit).iter("testcase")]

    assert code == FINDINGS
    assert "with the default: ?[2J" in shown
    assert len(complaints.splitlines()) == 4
    assert sorted(kinds) == [["error"]] * 4 + [["failure"]]


def test_what_a_replay_prints_of_such_files_steers_nothing(replayed: tuple[int, str, str, Path]) -> None:
    for text in replayed[1:3]:
        assert text.replace("\n", "").isprintable()
        assert not re.search(r"^\s*::", text, re.MULTILINE)
    assert "##[" not in replayed[2]
