"""Known failures: what is excused, what is not launched, what is out of date, and what is no ledger at all."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sample_targets

from fuzz_decode.campaign.campaign import Campaign
from fuzz_decode.campaign.events import CaseDone
from fuzz_decode.campaign.settings import CampaignSettings
from fuzz_decode.cases.call_sequence import CallSequence
from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cli import CLEAN, FINDINGS, USAGE, main
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.corpus.ledger import KnownFailure, Ledger, conditions, load_ledger
from fuzz_decode.corpus.read import load_folder
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import UsageError
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.outcome import Outcome, Signature, Stage, Status, Symptom, Violation, failure
from fuzz_decode.targets import resolve

pytestmark = pytest.mark.slow  # nearly every test is a campaign

SAMPLES = Path(sample_targets.__file__)
BUG = "mutant:k-block-stride-dense"
SEGFAULTS = f"{SAMPLES}:segfaults_on_two"
ISSUE = "https://github.com/ROCm/aiter/pull/3498"
INTERLEAVED = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))  # the aiter bug, minimized
FAILS = {
    "target": BUG,
    "signature": "wrong-value:out",
    "issue": ISSUE,
    "reason": "block stride rebuilt as block_size * slot stride",
    "expect": "fail",
}
CRASHES = {**FAILS, "target": SEGFAULTS, "signature": "crash-SIGSEGV:call", "expect": "crash", "when": {"num_seqs": 2}}
ON_CPU = ["--device", "cpu"]
PLUGIN = ("-p", "no:cacheprovider", "-rxs", "--decode-device", "cpu")


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    """A ledger of these entries in the folder."""
    folder.mkdir(exist_ok=True)
    tables = [["[[known]]", *(f"{name} = {toml(value)}" for name, value in entry.items())] for entry in entries]
    (folder / "ledger.toml").write_text("\n".join(line for table in tables for line in table))
    return folder


def toml(value: Any) -> str:
    """What JSON writes TOML reads, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


def store(folder: Path, target: str, case: Case, signature: str = "wrong-value:out") -> Path:
    return save(folder, Entry(case, case, target, Signature(signature), Stage.COMPARE, "cpu"))


def known(**when: Any) -> KnownFailure:
    return KnownFailure(**{**FAILS, "when": when})


def run(target: str, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of a campaign of 25 cases."""
    report = folder.parent / "report.json"
    code = main(["--iters", "25", "--target", target, "--corpus", str(folder), "--json", str(report), *ON_CPU, *more])
    return code, json.loads(report.read_text())


def test_a_known_failure_is_counted_and_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{SAMPLES}:five_percent_off"  # whatever is drawn, it does not crash
    code, report = run(target, write(tmp_path / "corpus", {**FAILS, "target": target}), "--stop-after", "1")
    (counted,) = report["known"]

    assert (code, report["cases"], report["findings"], report["quarantined"]) == (CLEAN, 25, [], [])
    assert (counted["signature"], counted["issue"]) == ("wrong-value:out", ISSUE)
    assert counted["count"] > 10
    assert f"known: wrong-value:out {counted['count']} cases ({ISSUE})" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "corpus").iterdir()] == ["ledger.toml"]


@pytest.mark.parametrize("change", [{"signature": "wrong-value:lse"}, {"target": "bundled"}, {"when": {"head_dim": 1}}])
def test_an_entry_for_something_else_excuses_nothing(change: dict[str, Any], tmp_path: Path) -> None:
    code, report = run(BUG, write(tmp_path / "corpus", {**FAILS, **change}), "--stop-after", "1")

    assert (code, [finding["signature"] for finding in report["findings"]]) == (FINDINGS, ["wrong-value:out"])
    assert report["known"] == []


def test_what_is_new_is_neither_shrunk_into_what_is_known_nor_replaced_by_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus", {**FAILS, "when": {"dtype": "float32"}})
    stored = store(folder, BUG, INTERLEAVED)
    code, report = run(BUG, folder, "--stop-after", "1")
    entries, _ = load_folder(folder)

    assert (code, report["unexpected_passes"]) == (FINDINGS, [])
    assert stored in entries
    (new,) = [entry for path, entry in entries.items() if path != stored]
    assert new.case == dataclasses.replace(INTERLEAVED, dtype=new.case.dtype)
    assert new.needed["dtype"] == f"is known: wrong-value:out, {ISSUE}"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_minimizing_keeps_what_is_known_and_what_is_new_apart(dtype: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus", {**FAILS, "when": {"dtype": "float32"}})
    cases = [dataclasses.replace(INTERLEAVED, dtype=name, seq_lens=(3,)) for name in ("float32", "float16")]
    stored = {case.dtype: store(folder, BUG, case) for case in cases}

    assert main(["minimize", str(stored.pop(dtype)), *ON_CPU]) == FINDINGS
    entries, _ = load_folder(folder)
    assert [path.exists() for path in stored.values()] == [True]
    assert {entry.case.dtype: entry.case.seq_lens for entry in entries.values()} == {
        "float32": (3,),
        "float16": (3,),
        dtype: (1,),
    }


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_known_crash_is_counted_and_not_launched(jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run(SEGFAULTS, write(tmp_path / "corpus", CRASHES), "--jobs", jobs, "--seed", "1")

    assert (code, report["cases"], report["findings"], report["known"]) == (CLEAN, 25, [], [])
    pairs = sum(case.num_seqs == 2 for case in islice(case_stream(1, resolve(SEGFAULTS).case_space()), 25))
    assert pairs > 5
    assert report["quarantined"] == [{"signature": "crash-SIGSEGV:call", "issue": ISSUE, "count": pairs}]
    assert f"quarantined: crash-SIGSEGV:call {pairs} cases ({ISSUE})" in capsys.readouterr().out


def test_quarantined_cases_keep_their_place_in_the_stream(tmp_path: Path) -> None:
    target = f"{SAMPLES}:honest"
    folder = write(tmp_path / "corpus", {**CRASHES, "target": target})
    options: dict[str, Any] = {"target": target, "device": "cpu", "timeout": 20.0, "iters": 25, "jobs": 2}
    campaign = Campaign(CampaignSettings(corpus=folder, **options))
    watched = [(event.case, event.outcome.status) for event in campaign.events() if isinstance(event, CaseDone)]
    plain = Campaign(CampaignSettings(corpus=tmp_path / "none", **options))

    assert [case for case, _ in watched] == [event.case for event in plain.events() if isinstance(event, CaseDone)]
    assert all((status == Status.QUARANTINED) == (case.num_seqs == 2) for case, status in watched)


def test_when_every_case_is_quarantined_the_campaign_ends(tmp_path: Path) -> None:
    everything = {**CRASHES, "when": {"num_seqs": {"min": 1}}}

    code, report = run(SEGFAULTS, write(tmp_path / "corpus", everything))
    assert (code, report["quarantined"][0]["count"]) == (CLEAN, 25)


def test_the_shrinker_launches_no_known_crash_and_sees_no_known_failure() -> None:
    launched: list[Case] = []

    def fails(calls: CallSequence) -> Outcome:
        launched.extend(calls)
        return failure(Stage.COMPARE, Violation("bound", Symptom.WRONG_VALUE, "out", ""))

    ledger = Ledger(BUG, (dataclasses.replace(known(num_seqs=2), expect="crash"), known(num_seqs=1)))
    outcomes = [ledger.apply_ledger(fails)((Case(seq_lens=(1,) * count),)) for count in (1, 2, 3)]

    assert [(outcome.status, outcome.signature) for outcome in outcomes] == [
        *((Status.KNOWN, ""), (Status.QUARANTINED, ""), (Status.FAILED, "wrong-value:out")),
    ]
    assert [case.num_seqs for case in launched] == [1, 3]


def test_an_unexpected_pass_fails_a_campaign_that_found_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "corpus", {**FAILS, "target": "bundled"})
    stored = [store(folder, "bundled", Case(seq_lens=(length,))) for length in (1, 2)]
    code, report = run("bundled", folder)
    shown = capsys.readouterr().out

    assert (code, report["findings"]) == (FINDINGS, [])
    assert [(passed["signature"], passed["issue"]) for passed in report["unexpected_passes"]] == [("wrong-value:out", ISSUE)]
    assert shown.count("no longer fails") == 1
    case = report["unexpected_passes"][0]["case_file"]
    assert f"ledger: wrong-value:out on bundled no longer fails (case {case} passes): " in shown
    assert f"passes): remove the entry, {ISSUE} seems fixed\n" in shown
    assert Path(case) in stored


def test_a_case_of_another_target_or_signature_that_passes_says_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus", {**FAILS, "target": "bundled"})
    store(folder, BUG, INTERLEAVED)
    store(folder, "bundled", Case(), "wrong-value:lse")

    assert run("bundled", folder)[0] == CLEAN
    assert main(["replay", str(folder), *ON_CPU]) == CLEAN


def test_replay_knows_quarantines_and_tells_of_a_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    honest = f"{SAMPLES}:honest"
    fixed, crash = {**FAILS, "target": honest}, {**CRASHES, "target": honest}
    folder = write(tmp_path / "corpus", FAILS, fixed, crash)
    path, two = store(folder, BUG, INTERLEAVED), store(folder, honest, Case(seq_lens=(1, 1)), "crash-SIGSEGV:call")

    assert main(["replay", str(folder), "--target", BUG, *ON_CPU]) == CLEAN
    shown = capsys.readouterr().out
    assert f"{path}: known: wrong-value:out, {ISSUE}\n" in shown
    assert "0 of 2 cases fail on mutant:k-block-stride-dense, and 1 as the ledger says" in shown

    assert main(["replay", two.stem, "--corpus", str(folder), "--target", honest, *ON_CPU]) == CLEAN
    assert f"{two}: quarantined: crash-SIGSEGV:call, {ISSUE}\n" in capsys.readouterr().out

    path = store(folder, honest, INTERLEAVED)
    assert main(["replay", str(path), "--target", honest, *ON_CPU]) == FINDINGS
    assert f"ledger: wrong-value:out on {honest} no longer fails (case {path} passes): remove" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("when", "matches", "differs"),
    [
        ({}, Case(), None),
        ({"dtype": "float16"}, Case(dtype="float16"), Case()),
        ({"dtype": ["float16", "bfloat16"]}, Case(dtype="bfloat16"), Case()),
        ({"data": "tagged"}, Case(data="tagged"), Case()),
        ({"family": "interleaved"}, INTERLEAVED, Case()),
        ({"family": ["MLA prefix", "NHD"]}, Case(v=None), INTERLEAVED),
        ({"block_size": 16, "group": 1}, Case(block_size=16), Case(block_size=16, group=2)),
        ({"head_dim": {"min": 128}}, Case(head_dim=128), Case(head_dim=127)),
        ({"value_head_dim": {"max": 128}}, Case(value_head_dim=128), Case(value_head_dim=129)),
        ({"num_kv_heads": {"min": 2, "max": 2}}, Case(num_kv_heads=2), Case(num_kv_heads=3)),
        ({"num_seqs": [1, 3]}, Case(seq_lens=(1, 1, 1)), Case(seq_lens=(1, 1))),
        ({"min_seq_len": 0}, Case(seq_lens=(0, 5)), Case(seq_lens=(1, 5))),
        ({"max_seq_len": {"min": 5}}, Case(seq_lens=(0, 5)), Case(seq_lens=(4, 4))),
        ({"layers": {"min": 2}}, Case(layers=2), Case()),
        ({"span": {"min": 2**31}}, Case(table=BlockTable(spare_blocks=2**27)), Case()),
        ({"window": True}, Case(window=1), Case()),
        ({"window": False}, Case(), Case(window=1)),
        ({"window": {"max": 16}}, Case(window=16), Case()),
        ({"softcap": [30, 50.0]}, Case(softcap=30.0), Case()),
        ({"scale": 0.3}, Case(scale=0.3), Case()),
    ],
)
def test_conditions(when: dict[str, Any], matches: Case, differs: Case | None) -> None:
    assert known(**when).matches(matches)
    assert differs is None or not known(**when).matches(differs)


def test_each_condition_has_a_value_in_every_case() -> None:
    for name in conditions():
        known(**{name: 0}).matches(Case())


def test_no_ledger_knows_nothing(tmp_path: Path) -> None:
    assert load_ledger(tmp_path, BUG).entries == load_ledger(tmp_path / "no folder", BUG).entries == ()


def test_a_ledger_tells_each_target_its_own(tmp_path: Path) -> None:
    write(tmp_path, FAILS, CRASHES)

    assert [entry.expect for entry in load_ledger(tmp_path, BUG).entries] == ["fail"]
    assert [entry.when for entry in load_ledger(tmp_path, SEGFAULTS).entries] == [{"num_seqs": 2}]


def without(name: str) -> dict[str, Any]:
    return {field: value for field, value in FAILS.items() if field != name}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (without("target"), "target: is missing"),
        (without("signature"), "signature: is missing"),
        (without("issue"), "issue: is missing"),
        (without("reason"), "reason: is missing"),
        (without("expect"), "expect: is missing"),
        ({**FAILS, "reason": " "}, "reason: must be text, not ' '"),
        ({**FAILS, "target": 3}, "target: must be text, not 3"),
        ({**FAILS, "isue": ISSUE}, "unknown field 'isue'; known are target, signature, issue, reason, expect, when"),
        ({**FAILS, "issue": "ROCm/aiter#3498"}, "issue: must be an http(s) link, not 'ROCm/aiter#3498'"),
        ({**FAILS, "issue": "https://x/\u001b[2J"}, r"issue: must be an http(s) link, not 'https://x/\x1b[2J'"),
        ({**FAILS, "signature": "wrong-value"}, "signature: must be symptom:tensor as a campaign prints it"),
        ({**FAILS, "expect": "pass"}, "expect: must be fail or crash, not 'pass'"),
        ({**FAILS, "expect": "crash"}, "when: is missing; without it no case would be launched at all"),
        ({**CRASHES, "when": {}}, "when: must be a table of one condition or more, not {}"),
        ({**FAILS, "when": "always"}, "when: must be a table of one condition or more, not 'always'"),
        (
            {**FAILS, "when": {"headdim": 1}},
            "when: unknown condition 'headdim'; known are dtype, cache_dtype, data, family, window, softcap, scale, alibi, ",
        ),
        ({**FAILS, "when": {"dtype": "bf16"}}, "when.dtype: must be one or a list of float32, float16, bfloat16, not 'bf16'"),
        ({**FAILS, "when": {"dtype": []}}, "when.dtype: must be one or a list of"),
        ({**FAILS, "when": {"dtype": [["float32"]]}}, "when.dtype: must be one or a list of"),
        ({**FAILS, "when": {"dtype": {"min": 1}}}, "when.dtype: must be one or a list of"),
        ({**FAILS, "when": {"family": "nhd"}}, "when.family: must be one or a list of NHD, HND"),
        ({**FAILS, "when": {"head_dim": "128"}}, "when.head_dim: must be a number, a list of numbers or { min, max }, not '128'"),
        ({**FAILS, "when": {"head_dim": True}}, "when.head_dim: must be a number"),
        ({**FAILS, "when": {"head_dim": [16, True]}}, "when.head_dim: must be a number"),
        ({**FAILS, "when": {"head_dim": {}}}, "when.head_dim: must be a number"),
        ({**FAILS, "when": {"head_dim": {"low": 1}}}, "when.head_dim: must be a number"),
        ({**FAILS, "when": {"head_dim": {"min": 2, "max": 1}}}, "when.head_dim: must be a number"),
        ({**FAILS, "when": {"head_dim": {"min": "1"}}}, "when.head_dim: must be a number"),
        (
            {**FAILS, "when": {"window": "yes"}},
            "when.window: must be a number, a list of numbers or { min, max }, or true",
        ),
        (
            {**FAILS, "expect": "crash", "when": {"group": 1}},
            "signature: target, signature and when are those of entry 1; keep one",
        ),
    ],
)
def test_a_bad_entry_gets_one_clear_line(entry: dict[str, Any], words: str, tmp_path: Path) -> None:
    write(tmp_path, {**FAILS, "when": {"group": 1}}, entry)

    with pytest.raises(UsageError) as error:
        load_ledger(tmp_path, BUG)
    assert str(error.value).startswith(f"{tmp_path / 'ledger.toml'}: entry 2: {words}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"known", "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        (b"x = " + b"[" * 100_000, "is not a TOML file"),
        (b"[[unknown]]", "field 'unknown': a ledger has entries only, each under a line [[known]]"),
        (b"[known]", "field 'known': a ledger has entries only"),
        (b"known = [2020-01-01]", "entry 1: is no table but datetime.date(2020, 1, 1)"),
        (b"[[known]]\ntarget = 2020-01-01", "entry 1: target: must be text, not datetime.date(2020, 1, 1)"),
        (b"[[known]]", "entry 1: target: is missing"),
    ],
)
@pytest.mark.parametrize("command", ["run", "replay"])
def test_a_bad_file_ends_everything_before_it_begins(
    command: str, text: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, "bundled", Case())
    (tmp_path / "ledger.toml").write_bytes(text)

    assert main([command, "--corpus", str(tmp_path), "--target", "no.such:target"]) == USAGE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"fuzz-decode: error: {tmp_path / 'ledger.toml'}: {words}")
    assert (shown.err.count("\n"), shown.out.strip()) == (1, "")


def test_a_ledger_that_is_a_folder_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.toml").mkdir()

    with pytest.raises(UsageError, match=r"ledger.toml: is no regular file"):
        load_ledger(tmp_path, BUG)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A repository whose corpus holds the aiter bug, without a ledger yet."""
    folder = pytester.mkdir("corpus")
    store(folder, BUG, INTERLEAVED)
    return folder


def test_pytest_expects_what_is_known_to_fail(pytester: pytest.Pytester, project: Path) -> None:
    write(project, FAILS)
    result = pytester.runpytest_subprocess(*PLUGIN, "--decode-target", BUG)

    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines([f"XFAIL*wrong-value:out: block stride rebuilt*({ISSUE})"])
    pytester.runpytest_subprocess(*PLUGIN, "--decode-target", BUG, "--runxfail").assert_outcomes(failed=1)


def test_pytest_looks_up_the_target_that_it_replays(pytester: pytest.Pytester, project: Path) -> None:
    """The bundled kernel passes, and it is not what the entry is about; the mutant fails, as both it and the entry must."""
    write(project, FAILS)

    pytester.runpytest_subprocess(*PLUGIN).assert_outcomes(passed=1, xfailed=1)


def test_pytest_fails_a_known_failure_that_is_gone(pytester: pytest.Pytester, project: Path) -> None:
    store(project, "bundled", Case())
    write(project, {**FAILS, "target": "bundled"})
    result = pytester.runpytest_subprocess(*PLUGIN)

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([f"ledger: wrong-value:out on bundled no longer fails*remove the entry, {ISSUE} seems fixed"])
    assert "Traceback" not in result.stdout.str()


def test_pytest_skips_a_known_crash(pytester: pytest.Pytester, project: Path) -> None:
    store(project, SEGFAULTS, Case(seq_lens=(1, 1)), "crash-SIGSEGV:call")
    write(project, CRASHES)
    result = pytester.runpytest_subprocess(*PLUGIN, "--decode-target", SEGFAULTS)

    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED*quarantined: *({ISSUE})"])


def test_pytest_fails_in_one_line_where_the_ledger_is_wrong(pytester: pytest.Pytester, project: Path) -> None:
    write(project, without("issue"))
    result = pytester.runpytest_subprocess(*PLUGIN, "--decode-target", BUG)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ledger.toml: entry 1: issue: is missing"])
    assert "Traceback" not in result.stdout.str()


def test_of_a_sequence_only_the_last_call_fails_but_every_call_may_crash() -> None:
    ledger = Ledger(BUG, (dataclasses.replace(known(num_seqs=2), expect="crash"), known(num_seqs=1)))
    one, two, three = (Case(seq_lens=(1,) * count) for count in (1, 2, 3))
    assert ledger.entry("wrong-value:out", (three, one)) == ledger.entries[1]
    assert ledger.entry("wrong-value:out", (one, three)) is None
    assert ledger.entry("anything:out", (two, three)) == ledger.entries[0]
