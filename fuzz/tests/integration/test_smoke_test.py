"""`fuzz-decode targets --check`: what was understood of a function, and five small questions to it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample_targets
from torch import Tensor

from fuzz_decode.campaign.smoke_test import probes
from fuzz_decode.cases.domain import DTYPES
from fuzz_decode.cases.optional_arguments import generated_parameters
from fuzz_decode.cases.simplicity import features_of
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.cases.validity import validate
from fuzz_decode.cli import CLEAN, FINDINGS, USAGE, main
from fuzz_decode.targets import Arithmetic, target
from fuzz_decode.targets.description import describe, limits
from fuzz_decode.targets.target import POSITIONAL, target_from_function

SAMPLES = Path(sample_targets.__file__)
QUESTIONS = ["plain", "blocks and heads", "strides", "lengths", "options"]


def six(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any) -> None: ...
def mine(query: Any, keys: Any, values: Any, *rest: Any, window: Any, workspace: Any = None, verbose: bool = False) -> None: ...


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """Check a target where nothing is stored: (exit code, what is printed, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> tuple[int, str, str]:
        before = sorted(tmp_path.iterdir())
        code = main(["targets", "--check", name, "--device", "cpu"])
        assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before
        return code, *capsys.readouterr()

    return run


def verdicts(printed: str) -> list[str]:
    """Each probe's verdict, in order."""
    words = ("passes", "is rejected", "FAILS")
    return [word for line in printed.splitlines() for word in words if line.startswith(f"{word} ")]


def quickstart_kernel(repo: Path) -> str:
    """The first Python file of the quick start."""
    return (repo / "docs" / "quickstart.md").read_text().partition("```python\n")[2].partition("```\n")[0]


def test_the_kernel_of_the_quick_start_is_short_and_passes(repo: Path, tmp_path: Path, checked: Callable[[str], Any]) -> None:
    source = quickstart_kernel(repo)
    (tmp_path / "mine.py").write_text(source)

    code, printed, _ = checked("mine.py:decode")
    assert len(source.splitlines()) <= 25
    assert "@triton.jit" in source
    assert verdicts(printed) == ["passes"] * 4  # it takes no options
    assert code == CLEAN


@pytest.mark.slow
def test_the_kernel_of_the_quick_start_passes_a_campaign_in_every_dtype(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(quickstart_kernel(repo))
    assert main(["--iters", "12", "--target", "mine.py:decode", "--device", "cpu"]) == CLEAN
    printed = capsys.readouterr().out
    assert f"{len(DTYPES)} dtypes" in printed
    assert "0 findings in 12 cases" in printed


def test_a_wrong_stride_fails_the_question_about_strides_only(checked: Callable[[str], Any]) -> None:
    code, printed, _ = checked("mutant:k-block-stride-dense")
    assert code == FINDINGS
    assert verdicts(printed) == ["passes", "passes", "FAILS", "passes", "passes"]
    assert "strides: interleaved HND cache, permuted blocks - wrong-value:out" in printed
    assert "k_cache" in printed.partition("╭")[2]
    next_command = "fuzz-decode --iters 300 --target mutant:k-block-stride-dense --device cpu --stop-after 1"
    assert printed.endswith(f"1 of 5 fail; find and minimize the failure with\n  {next_command}\n")


def test_only_the_first_failure_is_shown_whole(checked: Callable[[str], Any]) -> None:
    code, printed, _ = checked(f"{SAMPLES}:raises_key_error")
    assert (code, verdicts(printed), printed.count("╭")) == (FINDINGS, ["FAILS"] * 4, 1)


def test_a_crash_is_an_answer_too(tmp_path: Path, checked: Callable[[str], Any]) -> None:
    (tmp_path / "crash.py").write_text("import os\ndef decode(q, k, v, t, n, s): os._exit(3)\n")
    code, printed, _ = checked("crash.py:decode")
    assert (code, verdicts(printed)) == (FINDINGS, ["FAILS"] * 4)
    assert "crash-exit-3:call" in printed


def test_what_is_rejected_is_no_failure_but_no_success_either(checked: Callable[[str], Any]) -> None:
    code, printed, _ = checked(f"{SAMPLES}:cannot")
    assert (code, verdicts(printed)) == (CLEAN, ["is rejected"] * 4)
    assert "NotImplementedError: head_dim of 16" in printed
    assert "nothing ran" in printed


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def decode(q): ...", "takes 1 positional arguments; a target takes (q, k_cache,"),
        (
            "def decode(q, k, v, t, n, s, w): ...",
            f"parameter 'w' has no default, and only {', '.join(sorted(generated_parameters()))} are passed",
        ),
        ("import no_such_thing", "does not import: ModuleNotFoundError"),
        (
            "import fuzz_decode\n@fuzz_decode.target(devices=('cuda',))\ndef decode(q, k, v, t, n, s): ...",
            "runs on cuda only, not on cpu",
        ),
    ],
)
def test_what_cannot_be_a_target_is_bad_input(source: str, words: str, tmp_path: Path, checked: Callable[[str], Any]) -> None:
    (tmp_path / "bad.py").write_text(source)
    code, _, errors = checked("bad.py:decode")
    assert code == USAGE
    assert words in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"dtypes": ("bfloat16",), "head_dims": (96, 128), "value_head_dims": (64,), "groups": (1,)},
        {"block_sizes": (1,), "min_seq_len": 1, "groups": (8, 1)},
        {"block_sizes": (256, 64), "min_seq_len": 70, "value_head_dims": "head_dim"},
        {"strides": StrideRules(contiguous=("q", "k", "v", "out", "table"), one_slot_stride=True)},
        {"strides": StrideRules(v_like_k=True), "head_dims": (576,), "value_head_dims": (512,)},
    ],
)
@pytest.mark.parametrize("fn", [six, sample_targets.honest])
def test_the_questions_keep_to_what_is_declared(declared: dict[str, Any], fn: Callable[..., Any]) -> None:
    found = target_from_function("t", fn, **declared)
    asked = probes(found.case_space())

    assert [probe.question for probe in asked] == (QUESTIONS if found.options else QUESTIONS[:-1])
    assert [found.unsupported_reason(validate(probe.case)) for probe in asked] == [None] * len(asked)


def test_each_question_is_about_what_it_says() -> None:
    plain, several, strides, lengths, options = (
        probe.case for probe in probes(target_from_function("t", sample_targets.honest).case_space())
    )

    assert features_of(plain) == {}
    assert (features_of(several), several.num_pages, several.group) == ({}, 3, 2)
    assert strides.blocks() != sorted(strides.blocks())
    assert strides.k.strides(strides.cache_sizes(strides.k_row))["block"] != strides.block_size * strides.head_dim * 2
    assert 0 in lengths.seq_lens
    assert lengths.seq_lens[0] % lengths.block_size
    assert (options.window, options.softcap, options.out.padded) == (18, 1.0, True)


def test_a_description_uses_the_names_of_the_function() -> None:
    found = describe(target_from_function("t", target(min_seq_len=1, strides=StrideRules(contiguous=("k",)))(mine)))

    assert [name for name, _ in found.arguments] == [
        *("query", "keys", "values"),
        *("block_table in *rest", "seq_lens in *rest", "scale in *rest"),
    ]
    assert found.arguments[1][1].endswith("dtype of q\nlogical order, contiguous last axis, else arbitrary strides")
    assert [name for name, _ in found.options] == ["window"]
    assert found.never_passed == ("workspace", "verbose")
    assert found.limits == (
        ("seq_len 1 or more", "empty sequences"),
        ("contiguous last axis of k_cache", "other strides there"),
        ("no parameter alibi_slopes", "ALiBi"),
        ("no parameter k_scale", "float8 caches"),
        ("no parameter out", "a tensor to write into"),
        ("no parameter q_len", "several query tokens of a sequence"),
        ("no parameter sinks", "attention sinks"),
        ("no parameter softcap", "logit softcaps"),
        ("no parameter v_scale", "float8 caches"),
    )


def test_a_description_names_the_dtypes_of_float8_caches() -> None:
    plain = describe(target_from_function("t", mine))
    found = describe(target_from_function("t", sample_targets.honest_in_everything, cache_dtypes=("float8_e5m2",)))

    assert plain.arguments[1][1].splitlines()[0].endswith("head_dim], dtype of q")
    assert found.arguments[1][1].splitlines()[0].endswith("head_dim], dtype of q or float8_e5m2")
    assert found.arguments[2][1].splitlines()[0].endswith("value_head_dim], dtype of q or float8_e5m2")
    assert found.arguments[0][1].splitlines()[0].endswith("head_dim], float32 or float16 or bfloat16")
    assert found.limits == (("cache_dtype float8_e5m2", "float8_e4m3fn"),)
    assert dict(found.options)["k_scale"].startswith("float, or None: caches are float8_e5m2, K is ")
    assert "K * k_scale and V * v_scale may be rounded to the dtype of q" in found.arithmetic
    assert not any("k_scale" in phrase for phrase in plain.arithmetic)


def test_the_last_question_uses_every_option() -> None:
    case = validate(probes(target_from_function("t", sample_targets.honest_in_everything).case_space())[-1].case)

    assert case.options() | {"out"} == generated_parameters()
    assert case.out.padded
    half = probes(dataclasses.replace(target_from_function("t", mine).case_space(), options=frozenset({"k_scale"})))
    assert [probe.question for probe in half] == QUESTIONS[:-1]


@pytest.mark.parametrize(("name", "code"), [("honest_in_everything", CLEAN), ("ignores_the_sinks", FINDINGS)])
def test_a_target_with_every_option_is_checked(name: str, code: int, checked: Callable[..., tuple[int, str, str]]) -> None:
    found, printed, _ = checked(f"{SAMPLES}:{name}")

    assert found == code
    assert "sinks, float8_e4m3fn caches, q_len 2" in " ".join(printed.split())
    assert verdicts(printed) == [*["passes"] * 4, "FAILS" if code else "passes"]


LIMITS: dict[str, Any] = {
    "head_dims": (64,),
    "value_head_dims": (64,),
    "block_sizes": (16,),
    "groups": (1,),
    "num_kv_heads": (1,),
    "min_seq_len": 1,
    "supports": lambda case: None,
    "needs_finite": ("tail",),
}
STRIDES: dict[str, Any] = {"contiguous": ("k",), "one_slot_stride": True, "v_like_k": True, "multiple_of": 8}


@pytest.mark.parametrize(
    "declared",
    [*({name: value} for name, value in LIMITS.items()), *({"strides": StrideRules(**{n: v})} for n, v in STRIDES.items())],
)
def test_every_limit_that_can_be_declared_is_told(declared: dict[str, Any]) -> None:
    assert len(limits(target_from_function("t", six, **declared))) == 1


def test_no_limit_is_forgotten() -> None:
    told_otherwise = {"dtypes", "cache_dtypes", "strides", "arithmetic", "devices", "compiles_for"}
    assert set(inspect.signature(target).parameters) - told_otherwise == set(LIMITS)
    assert {field.name for field in dataclasses.fields(StrideRules)} == set(STRIDES)


@pytest.mark.parametrize(
    ("arithmetic", "phrase"),
    [
        (Arithmetic(), "q.k is summed and scaled in float32"),
        (Arithmetic(probabilities="float32"), "P may be rounded to float32 before it meets V"),
        (Arithmetic(scores="input"), "q * scale, or each q_i * k_i, may be rounded to the dtype of q"),
        (Arithmetic(score_sums="input"), "q.k may be summed in the dtype of q"),
        (Arithmetic(tanh="approx"), "softcap may be tanh.approx"),
        (Arithmetic(deterministic=False), "two runs may differ within the bound"),
        (lambda case: Arithmetic(), "a function of the case decides"),
    ],
)
def test_arithmetic_is_told_in_words(arithmetic: Any, phrase: str) -> None:
    assert phrase in describe(target_from_function("t", six, arithmetic=arithmetic)).arithmetic


@pytest.mark.parametrize(
    ("compiles_for", "words"),
    [
        (None, "dtype, cache_dtype, head_dim, value_head_dim, block_size, group, which options are used"),
        (("dtype", "group"), "dtype, group"),
        ((), "nothing: it is never compiled"),
        (lambda case: case.group, "a function of the case decides"),
    ],
)
def test_what_a_kernel_is_compiled_for_is_told(compiles_for: Any, words: str) -> None:
    assert describe(target_from_function("t", six, compiles_for=compiles_for)).compiled_for == words


def test_each_argument_of_a_function_of_several_is_named() -> None:
    def wrapped(q: Tensor, *arguments: Any) -> Tensor:
        return sample_targets.honest(q, *arguments)[0]

    names = [name for name, _ in describe(target_from_function("t", wrapped)).arguments]
    assert names == ["q", *(f"{name} in *arguments" for name in POSITIONAL[1:])]
