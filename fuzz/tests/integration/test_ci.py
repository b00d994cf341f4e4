"""What continuous integration gets: JUnit XML anywhere; annotations and a summary within GitHub Actions, and no text from
elsewhere that its runner would obey."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sample_targets

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import Event
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cli import CLEAN, FINDINGS, INTERRUPTED, USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.store import save
from fuzz_decode.outcome import Signature, Stage
from fuzz_decode.report.ci.check import BROKEN, FAILED, Check
from fuzz_decode.report.ci.github import MAX_ROWS, RESUME, annotation, summary
from fuzz_decode.report.ci.junit import junit
from fuzz_decode.report.ci.summary import CiReport

MINDS_STRIDES = f"{Path(sample_targets.__file__)}:minds_the_block_stride"
SIGNATURE = "layout-dependent:out"
RAISES = "exception-ValueError:call"
ISSUE = "https://github.com/ROCm/aiter/pull/3498"
STRIDED = Case(k=Layout(FAMILIES["interleaved"]), v=None)
STORED = {
    "fails": STRIDED,
    "known": replace(STRIDED, dtype="float16"),
    "out-of-date": Case(head_dim=32),
    "quarantined": Case(seq_lens=(1, 1)),
    "rejected": Case(window=1),
    "passes": Case(),
}
KNOWN = (("fail", 'dtype = "float16"'), ("fail", "head_dim = 32"), ("crash", "num_seqs = 2"))
HOSTILE = "\x1b[2J\x00\ufffe\r\n::set-output name=x::y\n ##[add-mask]z\n| `a` | </td><script>x</script> [l](http://x) %0A @all"
LIES = f"""
LIES = {HOSTILE!r}

def decode(q, k_cache, v_cache, block_table, seq_lens, scale):
    if q.shape[1] > 1:
        raise NotImplementedError(LIES)
    raise ValueError(LIES)
"""
ON_CPU = ["--device", "cpu"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command within GitHub Actions left behind."""

    code: int
    printed: str
    junit: Path
    summary: str
    files: dict[str, Path]

    @property
    def obeyed(self) -> list[str]:
        """What GitHub's runner would take for commands: it trims lines, and looks for ##[ within them."""
        found, stopped = [], False
        for line in self.printed.splitlines():
            stopped = stopped and line != f"::{RESUME}::"
            if not stopped and RESUME not in line and (line.lstrip().startswith("::") or "##[" in line):
                found.append(line)
            stopped = stopped or line == f"::stop-commands::{RESUME}"
        assert not stopped
        return found


def within_github(folder: Path, *arguments: str, **files: Path) -> Ran:
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("GITHUB_ACTIONS", "true")
        patch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
        code = main([*arguments, "--junit", str(folder / "junit.xml"), "--device", "cpu"])
    return Ran(code, printed.getvalue(), folder / "junit.xml", (folder / "summary.md").read_text(), files)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A campaign on a target whose errors are all lies."""
    folder = tmp_path_factory.mktemp("campaign")
    (folder / "lies.py").write_text(LIES)
    options = ["--iters", "12", "--jobs", "1", "--corpus", str(folder / "corpus"), "--target", f"{folder / 'lies.py'}:decode"]
    return within_github(folder, "run", *options)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A replay in which everything happens that can happen to a file."""
    folder = tmp_path_factory.mktemp("replay")
    corpus = folder / "corpus"
    files = {}
    for name, case in STORED.items():
        entry = Entry(case, case, MINDS_STRIDES, Signature(SIGNATURE), Stage.COMPARE, "cpu", diagnosis=f"it {name}", note=HOSTILE)
        files[name] = save(corpus, entry).rename(corpus / f"{name}.json")
    files["broken"] = corpus / "broken\n::set-output name=x::y ##[add-mask]z.json"
    files["broken"].write_text("{")
    known = [
        f'[[known]]\ntarget = "{MINDS_STRIDES}"\nsignature = "{SIGNATURE}"\nissue = "{ISSUE}"\nreason = "the last bit"\n'
        f'expect = "{expect}"\nwhen = {{ {when} }}\n'
        for expect, when in KNOWN
    ]
    (corpus / "ledger.toml").write_text("\n".join(known))
    return within_github(folder, "replay", str(corpus), "--target", MINDS_STRIDES, **files)


def cases(path: Path) -> dict[str, ElementTree.Element]:
    """The test cases of a JUnit file by name. The counts are right, in the file as in the suite."""
    root = ElementTree.parse(path).getroot()
    (suite,) = root
    found = {case.attrib["name"]: case for case in suite.iter("testcase")}
    for element in (root, suite):
        assert int(element.attrib["tests"]) == len(found)
        for name, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
            assert int(element.attrib[name]) == len(list(suite.iter(tag)))
        assert float(element.attrib["time"]) >= 0
    assert root.tag == "testsuites"
    assert {case.attrib["classname"] for case in found.values()} == {suite.attrib["name"]}
    return found


def verdict(case: ElementTree.Element) -> str:
    return ",".join(child.tag for child in case) or "passed"


def test_each_finding_of_a_campaign_is_a_failed_test_with_its_story(campaign: Ran) -> None:
    (case,) = cases(campaign.junit).values()
    (failure,) = case
    repro = f"fuzz-decode replay {case.attrib['file']} --target "

    assert campaign.code == FINDINGS
    assert (verdict(case), case.attrib["name"], failure.attrib["type"]) == ("failure", RAISES, RAISES)
    assert failure.attrib["message"].startswith("ValueError: ")
    assert failure.text is not None
    assert all(words in failure.text for words in ("k_cache", "strides", repro))
    assert Path(case.attrib["file"]).is_file()


def test_the_suite_says_what_was_run(campaign: Ran) -> None:
    properties = {one.attrib["name"]: one.attrib["value"] for one in ElementTree.parse(campaign.junit).iter("property")}

    assert {"target", "device", "seed", "torch", "triton"} <= properties.keys()
    assert (properties["seed"], properties["device"]) == ("0", "cpu")


def test_each_file_of_a_replay_is_a_test(replayed: Ran) -> None:
    found = cases(replayed.junit)

    assert replayed.code == FINDINGS
    assert {name: verdict(found[str(path)]) for name, path in replayed.files.items()} == {
        "fails": "failure",
        "known": "skipped",
        "out-of-date": "failure",
        "quarantined": "skipped",
        "rejected": "skipped",
        "passes": "passed",
        "broken": "error",
    }
    messages = {name: found[str(path)][0].attrib["message"] for name, path in replayed.files.items() if name != "passes"}
    assert messages["fails"] == "it fails"
    assert messages["rejected"] == "rejected: no window"
    assert messages["known"] == f"known: {SIGNATURE}, {ISSUE}"
    assert messages["quarantined"].startswith("quarantined: ")
    assert "remove the entry" in messages["out-of-date"]
    assert "is not a whole JSON file" in messages["broken"]


def test_a_clean_campaign_is_one_passed_test_and_known_failures_are_skipped_ones(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    (tmp_path / "ledger.toml").write_text(
        f'[[known]]\ntarget = "{MINDS_STRIDES}"\nsignature = "x:out"\nissue = "{ISSUE}"\nreason = "all of it"\nexpect = "crash"\n'
        "when = { head_dim = { min = 1 } }"
    )
    options = ["--iters", "2", "--jobs", "1", "--target", MINDS_STRIDES, "--corpus", str(tmp_path), "--junit", str(report)]

    assert main([*options, *ON_CPU]) == CLEAN
    found = cases(report)
    assert {name: verdict(case) for name, case in found.items()} == {"no findings": "passed", f"x:out ({ISSUE})": "skipped"}
    assert found[f"x:out ({ISSUE})"][0].attrib["message"] == f"quarantined: all of it, 2 cases ({ISSUE})"


def test_an_interrupted_campaign_is_an_error_and_no_passed_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Campaign) -> Iterator[Event]:
        self.state.versions = {"torch": "2"}
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "events", interrupted)
    report = tmp_path / "junit.xml"

    assert main(["--junit", str(report), "--corpus", str(tmp_path), *ON_CPU]) == INTERRUPTED
    ((name, case),) = cases(report).items()
    assert (name, verdict(case), case[0].attrib["message"]) == ("ended early", "error", "interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_a_target_that_does_not_import_is_an_error_in_the_file_too(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    save(tmp_path, Entry(Case(), Case(), "bundled", Signature(SIGNATURE), Stage.COMPARE, "cpu"))

    assert main(["replay", str(tmp_path), "--target", "nowhere:decode", "--junit", str(report), *ON_CPU]) == USAGE
    (case,) = cases(report).values()
    assert "nowhere does not import" in case[0].attrib["message"]


@pytest.mark.parametrize("command", ["run", "replay"])
def test_where_no_report_can_go_nothing_is_run(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--junit", "/no/such/folder/junit.xml"]) == USAGE
    shown = capsys.readouterr()
    assert "--junit /no/such/folder/junit.xml: must be a file in a folder that exists" in shown.err
    assert shown.out == ""


def test_any_text_makes_a_file_that_parses() -> None:
    everything = "".join(map(chr, (*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFFF0, 0x10010))))
    root = ElementTree.fromstring(junit(everything, [Check(everything, FAILED, everything, everything, everything)], 1.0, {}))

    (failure,) = root.iter("failure")
    assert failure.text is not None
    assert failure.text.startswith("?" * 9 + "\t\n")
    assert {"<", "&", "\u2028", "\U0001000f"} <= set(failure.attrib["message"])


def test_a_report_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text("of an earlier run")
    with CiReport("title", report) as told:
        told.checks.append(Check("x"))
        assert report.read_text() == "of an earlier run"
    assert cases(report).keys() == {"x"}
    assert list(tmp_path.iterdir()) == [report]


def test_a_link_or_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "junit.xml")
    for path in (tmp_path / "link", Path("/dev/null")):
        with CiReport("title", path) as told:
            told.checks.append(Check("x"))
    assert (tmp_path / "link").is_symlink()
    assert cases(tmp_path / "junit.xml").keys() == {"x"}
    assert not Path("/dev/null").is_file()


def test_within_github_findings_are_annotations(campaign: Ran, replayed: Ran) -> None:
    (line,) = campaign.obeyed
    assert line.startswith("::error title=fuzz-decode%3A exception-ValueError%3Acall::ValueError: ")
    assert line.count("%0Afuzz-decode replay ") == 1
    titles = [line.split("::")[1] for line in replayed.obeyed]
    assert titles[1:] == ["error title=fuzz-decode%3A layout-dependent%3Aout"] * 2
    assert titles[0].startswith("error title=fuzz-decode%3A ")
    assert replayed.obeyed[1].split("::", 2)[2].startswith("it fails%0Afuzz-decode replay ")


def test_nothing_else_is_obeyed_by_githubs_runner(campaign: Ran, replayed: Ran) -> None:
    """Although it is printed: a target's words, texts of files, and their names."""
    for ran in (campaign, replayed):
        assert "::set-output" in ran.printed
        assert all(line.startswith("::error title=") for line in ran.obeyed)
        assert not re.search(r"[^\S\n ]|[\x00-\x09\x0b-\x1f]", ran.printed)


def test_the_summary_has_the_verdict_a_table_and_what_to_type(campaign: Ran, replayed: Ran) -> None:
    (file,) = (case.attrib["file"] for case in cases(campaign.junit).values())
    lines = campaign.summary.splitlines()

    assert lines[0].startswith("### fuzz&#45;decode run on ")
    assert lines[2].startswith("1 finding in 12 cases")
    assert "layout families" in lines[4]
    assert [line.count(" | ") for line in lines[6:9]] == [3, 0, 3]
    assert re.match(r"\| exception&#45;ValueError&#58;call \| \d+ \| ValueError&#58; ", lines[8])
    assert lines[10:13] == ["```console", *lines[11:12], "```"]
    assert lines[11].startswith(f"fuzz-decode replay {file} --target ")
    assert "\n1 of 6 cases fails on " in replayed.summary
    assert replayed.summary.count("\n| ") == 4


def test_no_text_breaks_out_of_the_summary() -> None:
    def lines_with(text: str) -> list[str]:
        return summary(text, [text], [Check(text, FAILED, text, text, text, f"fuzz-decode replay {text}", text)]).splitlines()

    hostile, harmless = lines_with(HOSTILE), lines_with("ab cd")
    assert len(hostile) == len(harmless) == 12
    assert [line.count("|") for line in hostile[:8]] == [line.count("|") for line in harmless[:8]]
    assert not set("<>`[]@$\x1b\x00") & set("".join(hostile[:8]))
    assert hostile[8:11] == ["```console", hostile[9], "```"]
    assert hostile[9].startswith("fuzz-decode replay ?[2J")


def test_an_annotation_is_one_command() -> None:
    line = annotation(Check(HOSTILE, BROKEN, HOSTILE, "a:b,c%", repro="fuzz-decode replay x"))

    assert line.startswith("::error title=fuzz-decode%3A a%3Ab%2Cc%25::")
    assert line.endswith("%250A @all%0Afuzz-decode replay x")
    assert line.isprintable()


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    checks = [Check(str(number), FAILED, "x" * 5000, "s" * 5000, repro="fuzz-decode") for number in range(MAX_ROWS + 7)]
    text = summary("title", [], checks)

    assert "\nand 7 more\n" in text
    assert text.count("\n| s") == MAX_ROWS
    assert len(text) < 2**20


def test_a_summary_is_appended_and_one_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    for title in ("one", "two"):
        with CiReport(title, None):
            pass
    assert (tmp_path / "summary.md").read_text() == "### one\n\n### two\n\n"

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with CiReport("three", None):
        pass
    assert "cannot be written: Is a directory" in capsys.readouterr().err


def test_outside_of_github_nothing_is_said_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    with CiReport("title", None) as told:
        told.checks.append(Check("x", FAILED, "x"))
    assert main(["merge", str(tmp_path), "--corpus", str(tmp_path)]) == CLEAN
    assert "::" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
