"""An exported script builds the very tensors, fails on what failed and passes on what is right, without fuzz-decode."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_targets
import torch
from factories import HONEST, entry

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.domain import FINITE_PLACES
from fuzz_decode.cases.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.corpus.read import load
from fuzz_decode.corpus.store import save
from fuzz_decode.errors import UsageError
from fuzz_decode.export.literals import listed, quoted, rounded_up
from fuzz_decode.export.loading import loading
from fuzz_decode.export.script import script
from fuzz_decode.oracles.expected import expect
from fuzz_decode.outcome import Signature
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.poison import FILL_LIMIT
from fuzz_decode.targets import resolve
from fuzz_decode_kernels.paged_decode import paged_decode

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
    pytest.mark.no_gpu,  # scripts would take it, and what is compared lies on the CPU
]

CORPUS = sorted((Path(__file__).parents[4] / "corpus").glob("*.json"))
FIXED = "fuzz_decode_kernels.paged_decode:paged_decode"
INTERLEAVED = Layout(FAMILIES["interleaved"], (3, 0, 1, 0, 0), 5)

FEATURES = {
    "several sequences, heads and blocks": Case(seq_lens=(5, 0, 9), num_kv_heads=2, group=3, block_size=4),
    "float16, interleaved, an offset": Case(seq_lens=(3,), dtype="float16", k=INTERLEAVED, v=None, block_size=2),
    "bfloat16, several layers": Case(
        seq_lens=(3,), dtype="bfloat16", k=Layout(FAMILIES["cross-layer"]), v=None, layers=3, layer=1, value_head_dim=24
    ),
    "all weights equal": Case(seq_lens=(4, 2), data="uniform", block_size=2),
    "large scores": Case(seq_lens=(7,), data="large", num_kv_heads=2, group=2),
    "V spells addresses": Case(seq_lens=(40, 3), data="tagged", dtype="float16", block_size=4, window=9),
    "float8 caches with scales": Case(seq_lens=(6,), cache_dtype="float8_e4m3fn", k_scale=0.3, v_scale=1.7, dtype="float16"),
    "other float8, tagged": Case(seq_lens=(6,), cache_dtype="float8_e5m2", k_scale=0.5, v_scale=2.0, data="tagged"),
    "slopes, sinks and an empty sequence": Case(seq_lens=(0, 5), alibi=True, sinks=True, group=4),
    "sinks alone": Case(seq_lens=(2,), sinks=True),
    "query tokens in a window, capped": Case(seq_lens=(9, 4), q_len=3, window=4, softcap=2.0, block_size=2, scale=0.7),
    "query tokens with slopes": Case(seq_lens=(5, 0), q_len=2, alibi=True),
    "V is a prefix of K": Case(seq_lens=(5,), v=None, head_dim=24, block_size=2),
    "V with strides of its own": Case(seq_lens=(4,), v=Layout(("head", "block", "dim", "slot"), (0, 7, 0, 0)), block_size=2),
    "shared, permuted pages in a wide table": Case(
        seq_lens=(9, 30, 22),
        block_size=4,
        table=BlockTable(Layout(TABLE_AXES[::-1], (5, 0), 3), "permuted", 2, 3, 2, 4, "stale"),
        q=Layout(("head", "seq", "dim"), (0, 9, 1)),
        out=Layout(QUERY_AXES, (8, 2, 1), 7),
    ),
    "everything that weighs nothing is finite": Case(seq_lens=(5, 9), window=4, block_size=4, finite=tuple(FINITE_PLACES)),
    "finite tails in a pool of other blocks": Case(
        seq_lens=(5, 9), block_size=4, table=BlockTable(first_block=2), finite=("tail",), dtype="float16"
    ),
    "finite blocks in one buffer, and padding": Case(
        seq_lens=(5, 9),
        block_size=4,
        k=INTERLEAVED,
        v=None,
        table=BlockTable(spare_blocks=2),
        finite=("unreferenced",),
        sinks=True,
    ),
    "finite padding, float8": Case(
        seq_lens=(6,), block_size=4, cache_dtype="float8_e4m3fn", k_scale=0.3, v_scale=1.7, finite=("padding",), alibi=True
    ),
    "a large cache, finite around its rows": Case(
        seq_lens=(5,), block_size=4, k=Layout(CACHE_AXES, (2**23, 0, 0, 0)), finite=("tail", "padding")
    ),
    "valid integers beyond the ends": Case(
        seq_lens=(5, 5), table=BlockTable(Layout(TABLE_AXES, (3, 0)), "permuted"), beyond="valid"
    ),
    "strides of more than 2**31 elements": Case(
        seq_lens=(3,), k=Layout(CACHE_AXES, (2**30, 0, 0, 0)), table=BlockTable(first_block=3), dtype="float16", head_dim=40
    ),
}


def ran(text: str, argument: str = "") -> tuple[int, str, dict[str, Any]]:
    """Exit code, output and globals of a script, run here."""
    found: dict[str, Any] = {"__name__": "__main__"}
    printed, argv, path = io.StringIO(), sys.argv, list(sys.path)
    sys.argv = ["repro.py", *filter(None, [argument])]
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(text, "repro.py", "exec"), found)
    except SystemExit as exit_:
        return int(exit_.code or 0), printed.getvalue(), found
    except Exception:
        return 1, printed.getvalue() + traceback.format_exc(), found
    finally:
        sys.argv, sys.path[:] = argv, path
        torch.use_deterministic_algorithms(False)
    raise AssertionError("a script ends with sys.exit")


def bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage)


@pytest.fixture(scope="module", params=FEATURES)
def exported(request: pytest.FixtureRequest) -> tuple[Case, str, int, str, dict[str, Any]]:
    """A case, its script for a correct target, and what came of it."""
    case = FEATURES[request.param]
    text = script(entry(case), resolve(HONEST))
    return case, text, *ran(text)


Exported = tuple[Case, str, int, str, dict[str, Any]]


def test_exported_script_passes_on_a_correct_kernel(exported: Exported) -> None:
    assert exported[2:4] == (0, "right\n")


def test_its_tensors_are_the_harness_s_to_the_bit(exported: Exported) -> None:
    problem, found = build_problem(exported[0], "cpu"), exported[4]
    for name in ("q", "k_cache", "v_cache", "block_table", "seq_lens", "alibi_slopes", "sinks"):
        ours, theirs = getattr(problem, name), found.get(name)
        if ours is None:
            assert theirs is None
            continue
        assert (theirs.shape, theirs.stride(), theirs.dtype) == (ours.shape, ours.stride(), ours.dtype), name
        assert theirs.storage_offset() == ours.storage_offset(), name
        memory, other = bytes_of(ours.untyped_storage()), bytes_of(theirs.untyped_storage())
        assert len(memory) == len(other), name
        if len(memory) <= FILL_LIMIT:
            assert torch.equal(memory, other), name
        else:
            start = ours.storage_offset() * ours.element_size() + 3 * ours.stride(0) * ours.element_size()
            for first in (0, len(memory) - 2**16, start - 2**10):
                assert torch.equal(memory[first : first + 2**14], other[first : first + 2**14]), name
    assert found["scale"] == problem.scale


def test_what_it_expects_and_allows_is_the_harness_s(exported: Exported) -> None:
    case, found = exported[0], exported[4]
    wanted = expect(build_problem(case, "cpu"), resolve(HONEST))
    (_, _, _, out, allowed), (_, _, _, lse, allowed_lse) = found["answers"]

    assert torch.allclose(out, wanted.out, rtol=1e-12, atol=1e-12)
    assert torch.allclose(lse, wanted.lse, rtol=1e-12, atol=1e-12)
    assert bool((allowed >= wanted.bound.out * (1 - 1e-6)).all())
    assert bool((allowed_lse >= wanted.bound.lse * (1 - 1e-6)).all())
    largest = wanted.bound.out.amax(dim=-1, keepdim=True)
    assert bool((allowed <= 1.7 * wanted.bound.out + 0.01 * largest).all())
    assert bool((allowed_lse <= 1.2 * wanted.bound.lse + 1e-30).all())


def test_it_is_short_enough_to_be_read(exported: Exported) -> None:
    assert len(exported[1].splitlines()) <= 130


def test_a_wrong_one_is_wrong(exported: Exported) -> None:
    case, text = exported[:2]
    code, printed, _ = ran(text, "sample_targets:one_number_off")

    assert "out[" in printed
    assert "1 of " in printed
    narrow = case.dtype == "bfloat16" or case.cache_dtype
    assert (code, "no verdict" in printed) == ((125, True) if narrow else (1, False))


SYMPTOMS = {
    "wrong-value:lse": ("lse_of_the_empty_is_zero", Case(seq_lens=(0, 2)), "lse[0, 0]: expected -inf, got 0"),
    "unwritten:out": ("leaves_the_last_row", Case(seq_lens=(2, 2)), "out[1, 0, 0]: expected "),
    "stray-write:out": ("writes_one_past_out", Case(), "1 elements outside out were overwritten, the first 16 elements"),
    "input-modified:block_table": (
        "clears_the_block_table",
        Case(seq_lens=(2,)),
        "bytes of block_table, or of the memory",
    ),
    "input-modified:k": ("writes_into_a_gap_of_k", Case(k=Layout(CACHE_AXES, (4, 0, 0, 0))), "4 bytes of k_cache, or of the"),
    "nondeterministic:out": ("flickers", Case(), "out differs in its bits from that of the first run"),
    "order-dependent:out": ("flickers", Case(), "out differs in its bits from that of the first run"),
    "layout-dependent:out": (
        "minds_the_block_stride",
        Case(k=Layout(CACHE_AXES, (4, 0, 0, 0))),
        "out differs in its bits from that of the layout above",
    ),
    "wrong-dtype:out": ("returns_double", Case(), "AssertionError: out is [1, 1, 16] torch.float64"),
    "exception-KeyError:call": ("raises_key_error", Case(), "KeyError"),
}


@pytest.mark.parametrize("signature", SYMPTOMS)
def test_every_symptom_is_shown_and_a_correct_kernel_has_none(signature: str) -> None:
    name, case, words = SYMPTOMS[signature]
    target = f"sample_targets:{name}"
    text = script(entry(case, target, signature), resolve(target))
    code, printed, _ = ran(text)

    assert code == 1
    assert words in printed
    assert ran(text, "sample_targets:honest")[:2] == (0, "right\n")


def test_a_changed_row_of_a_huge_cache_is_seen() -> None:
    case = FEATURES["strides of more than 2**31 elements"]
    target = "sample_targets:writes_a_live_v"
    code, printed, _ = ran(script(entry(case, target, "input-modified:v"), resolve(target)))

    assert code == 1
    assert "bytes of v_cache" in printed


def test_what_is_remembered_between_calls_takes_the_calls_before(monkeypatch: pytest.MonkeyPatch) -> None:
    target = "sample_targets:remembers_the_first_scale"
    text = script(entry(Case(seq_lens=(2,), scale=1.0), target, before=(Case(seq_lens=(2,)),)), resolve(target))
    monkeypatch.setattr(sample_targets, "_plans", {})

    assert "# call 1; the last one differs: scale default -> 1.0" in text
    assert ran(text)[0] == 1
    assert ran(text, "sample_targets:honest")[0] == 0


def test_what_a_second_call_of_another_layout_showed_is_shown() -> None:
    name = "mutant:q-strides-cached"
    text = script(entry(Case(group=2, q=Layout(QUERY_AXES, (0, 1, 0))), name), resolve(name))
    code, printed, _ = ran(text)

    assert code == 1
    assert printed.startswith("out of the second call[")
    assert ran(text, FIXED)[0] == 0


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("as_test", [False, True], ids=["script", "test"])
def test_every_case_of_the_corpus_fails_on_its_mutant_and_passes_on_the_kernel(path: Path, as_test: bool) -> None:
    stored = load(path)
    if as_test:
        failing = claims(script(stored, resolve(stored.target), as_test=True))
        with pytest.raises(AssertionError):
            failing()
        claims(script(stored, resolve("bundled"), as_test=True))()
    else:
        text = script(stored, resolve(stored.target))
        assert ran(text)[0] == 1
        assert ran(text, FIXED)[:2] == (0, "right\n")


def claims(text: str) -> Callable[[], None]:
    """The only test function of a test file."""
    found: dict[str, Any] = {}
    exec(compile(text, "test_repro.py", "exec"), found)
    (test,) = (value for name, value in found.items() if name.startswith("test_"))
    function: Callable[[], None] = test
    return function


RUN_TWICE = """
import runpy, sys
_, repro, fixed = sys.argv
for more in ([], [fixed]):
    sys.argv[1:] = more
    try:
        runpy.run_path(repro, run_name="__main__")
    except SystemExit as exit:
        print(f"exit code {int(exit.code)}")
"""


@pytest.mark.slow
def test_it_runs_where_there_is_no_fuzz_decode(tmp_path: Path) -> None:
    """In a process that dies when it imports it."""
    stored = load(CORPUS[0])
    for package in ("fuzz_decode", "fuzz_decode_reference"):
        (tmp_path / f"{package}.py").write_text("import os; os._exit(7)")
    (tmp_path / "repro.py").write_text(script(stored, resolve(stored.target)))
    kernels = str(Path(paged_decode.__code__.co_filename).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), kernels])}
    command = [sys.executable, "-W", "ignore", "-c", RUN_TWICE, str(tmp_path / "repro.py"), FIXED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert [line for line in done.stdout.splitlines() if "exit code" in line or line == "right"] == [
        *("exit code 1", "right", "exit code 0")
    ]


HOSTILE = 'x:y"""\nimport os\nos._exit(3)\n"""\x1b[31m\\" \u202e{1/0}\'\\'


def skeleton(text: str) -> str:
    """A script's syntax tree without its strings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def test_text_of_a_file_stays_text() -> None:
    """Nothing that a file says becomes code, whatever it holds; nor does it steer a terminal."""
    finding = dict.fromkeys(("message", "reads", "expected", "got", "allowed"), HOSTILE)
    good = entry(Case(), "mine:decode", "wrong-value:out", finding={"tensor": "out", "where": [0, 0, 1]})
    bad = replace(
        good,
        target=HOSTILE,
        signature=Signature(f"wrong-value:{HOSTILE}"),
        device=HOSTILE,
        diagnosis=HOSTILE,
        note=HOSTILE,
        versions={HOSTILE: HOSTILE},
        needed={"k": HOSTILE},
        finding={**finding, "tensor": "out", "where": [0, 0, 1]},
    )
    honest = resolve(HONEST)
    for as_test in (False, True):
        text = script(bad, replace(honest, name=HOSTILE), as_test=as_test)
        plain = script(good, replace(honest, name=f"mine:{'x' * len(HOSTILE)}"), as_test=as_test)
        assert text.isprintable() or all(char.isprintable() or char == "\n" for char in text)
        if not as_test:
            assert skeleton(text) == skeleton(plain)
        assert [type(node) for node in ast.parse(text).body] == [type(node) for node in ast.parse(plain).body]
    assert ran(script(bad, honest))[:2] == (0, "right\n")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("bundled", f'resolve_name("{FIXED}")'),
        ("mutant:head-stride-dense", 'load_mutant("head-stride-dense")'),
        ("mutant:drop-mask:x", 'load_generic("drop-mask:x")'),
        ("my.kernels:decode", 'resolve_name("my.kernels:decode")'),
        ("some/folder/mine.py:decode", 'run_path("some/folder/mine.py")["decode"]'),
        ("torch-sdpa", 'resolve_name("fuzz_decode.targets.adapters.torch_attention:sdpa")'),
        (f"{'long_' * 40}:decode", f'    "{"long_" * 40}:decode"'),
    ],
)
def test_a_target_is_loaded_by_what_its_name_means(name: str, line: str) -> None:
    target = replace(resolve(HONEST), name=name)
    for as_test in (False, True):
        assert line in script(entry(Case()), target, as_test=as_test)


@pytest.mark.parametrize("name", ["mutant:head-stride-dense", "mutant:drop-mask:x"])
def test_the_loader_of_a_mutant_can_be_imported(name: str) -> None:
    exec(loading(name).imports, {})


def test_a_file_s_function_is_found_beside_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("from sample_targets import honest as decode")
    (tmp_path / "mine.py").write_text("from beside import decode")
    text = script(entry(Case()), replace(resolve(HONEST), name=f"{tmp_path}/mine.py:decode"))
    assert ran(text)[:2] == (0, "right\n")


def test_an_adapter_s_script_is_run_by_the_patched_interpreter() -> None:
    text = script(entry(Case(dtype="bfloat16", seq_lens=(3,)), "torch-sdpa"), resolve("torch-sdpa"))
    assert "    patch_triton_interpreter()\n" in text
    assert "no_verdict" not in text
    assert ran(text)[:2] == (0, "right\n")


def test_a_test_is_named_after_what_it_claims() -> None:
    case = Case(k=Layout(FAMILIES["interleaved"]), v=None, table=BlockTable(first_block=1))
    for signature, name in {
        "wrong-value:lse": "test_lse_is_right_with_k_interleaved_and_first_block_1",
        "stray-write:out": "test_nothing_is_written_beside_out_with_k_interleaved_and_first_block_1",
        "crash-SIGSEGV:call": "test_decode_returns_with_k_interleaved_and_first_block_1",
    }.items():
        assert f"\ndef {name}():\n" in script(entry(case, signature=signature), resolve(HONEST), as_test=True)
    for sizes, name in ((Case(), "test_out_is_right"), (Case(seq_lens=(0, 2)), "test_out_is_right_with_seq_lens_0_2")):
        assert f"\ndef {name}():\n" in script(entry(sizes), resolve(HONEST), as_test=True)


def test_a_test_in_bfloat16_is_skipped_where_its_failure_would_say_nothing() -> None:
    target = replace(resolve("sample_targets:one_number_off"), name="sample_targets:one_number_off")
    test = claims(script(entry(Case(dtype="bfloat16")), target, as_test=True))
    with pytest.raises(pytest.skip.Exception, match="no verdict without a GPU"):
        test()


def test_a_gpu_is_allowed_what_tf32_takes() -> None:
    text = script(entry(Case(seq_lens=(2, 3))), resolve(HONEST))
    assert text.count("  # where float32 may be multiplied as tf32\n") == 2
    assert "tf32" not in script(entry(Case(seq_lens=(2, 3)), "bundled"), resolve("bundled"))


def test_the_failure_stands_at_the_top() -> None:
    text = script(load(CORPUS[9]), resolve("bundled"))

    assert CORPUS[9].stem == "ae2674ae70f9"
    assert (
        ast.get_docstring(ast.parse(text))
        == """\
block stride of K read as 16 (block_size * slot stride) instead of 32 (stride(0))

wrong-value:out of mutant:k-block-stride-dense: 16 of 16 elements of out are NaN or infinite, or should be
out[sequence 0, q head 0, dim 0]  expected -0.613583  got nan  allowed ±7.29116e-06
This runs bundled.

k = interleaved: strides (32, 16, 16, 1) of block, slot, head, dim; passes with the default
table.first_block = 1; passes with the default

    python repro.py                    exit code 1 if the kernel is wrong, 0 if it is right
    python repro.py module:function    the same for another function, such as a fix

It needs torch and Triton. Without a GPU it runs in Triton's interpreter (Triton 3.7 or later).
Found on cpu, python 3.11.7, torch 2.13.0+cpu, triton 3.9.0; case ae2674ae70f9, exported by fuzz-decode 0.1.0."""
    )


def test_scripts_are_formatted(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for number, case in enumerate(FEATURES.values()):
        for signature in (
            "wrong-value:out",
            "input-modified:k",
            "nondeterministic:out",
            "layout-dependent:out",
            "stray-write:out",
        ):
            text = script(entry(case, signature=signature), resolve(HONEST), as_test=number % 2 == 0)
            (tmp_path / f"{number}_{signature[:4]}.py").write_text(text)
    command = [sys.executable, "-m", "ruff", "format", "--diff", "--isolated", "--line-length", "130", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_script_says_what_it_may_not_show() -> None:
    text = script(entry(Case(), signature="out-of-bounds-k_cache:call"), resolve(HONEST))

    assert "The native engine of fuzz-decode noticed it: this script compares results, which may be right, and may crash." in text


def test_a_case_that_the_target_cannot_take_is_refused() -> None:
    with pytest.raises(UsageError, match=r"target sample_targets:honest cannot take this case \(no sinks\); name another"):
        script(entry(Case(sinks=True)), resolve("sample_targets:honest"))


def test_a_case_that_does_not_fit_into_a_script_is_refused() -> None:
    case = Case(seq_lens=(900,), data="large", head_dim=16, value_head_dim=256)
    with pytest.raises(UsageError, match="characters; shrink the case with fuzz-decode minimize first"):
        script(entry(case), resolve(HONEST))


TALKATIVE = "from sample_targets import one_number_off as decode\nprint('hello')\n"


def test_the_command_prints_or_writes_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(TALKATIVE)
    mine = f"{tmp_path}/mine.py:decode"
    path = save(tmp_path / "corpus", entry(Case(seq_lens=(2,)), mine))

    assert main(["export", str(path), "--target", mine]) == CLEAN
    printed = capsys.readouterr()
    assert printed.err == "hello\n"
    assert ran(printed.out)[0] == 1
    again = ["export", path.stem, "--corpus", str(path.parent), "--target", mine, "-o", str(tmp_path / "repro.py")]
    assert main(again) == CLEAN
    assert (tmp_path / "repro.py").read_text() == printed.out
    assert main(["export", str(path), "--pytest", "--target", "sample_targets:honest"]) == CLEAN
    claims(capsys.readouterr().out)()


def test_bad_input_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(2):
        save(tmp_path, entry(Case(seed=place)))
    path = str(sorted(tmp_path.glob("*.json"))[0])
    for arguments, words in {
        (path, "-o", str(tmp_path / "no" / "repro.py")): "must be a file in a folder that exists",
        ("nothing", "--corpus", str(tmp_path)): "nothing is no file, folder or digest",
        (str(tmp_path),): "holds 2 case files; name one of them",
        (path, "--target", "no.such:module"): "does not import",
        (str(save(tmp_path / "other", entry(Case(), "os:system"))),): "no code is imported because a file names it",
    }.items():
        assert main(["export", *arguments]) == USAGE
        assert words in capsys.readouterr().err


def test_numbers_are_written_as_briefly_as_they_can_be_read() -> None:
    numbers = [[3, 4, 5, 6, 1, 1, 1, 1, 0, 2], [7, 8, 9, 9, -1, 5, 5, 5, 0, 0]]
    assert listed(numbers[0]) == "[*range(3, 7), *[1] * 4, 0, 2]"
    assert ast.literal_eval(listed(numbers[1])) == numbers[1]
    assert eval(listed(numbers)) == numbers


STRINGS = ("", "plain", "it's", 'a "word"', "both ' and \"", "back\\slash", "new\nline", "\x00\u202e\U0001f600")


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_comes_back_from_its_literal(text: str) -> None:
    assert ast.literal_eval(quoted(text)) == text
    assert quoted(text).isprintable()


LIMITS = [(0.0, 0.0), (7.29e-6, 7.3e-6), (7.3e-6, 7.3e-6), (7.31e-6, 7.4e-6), (9.94, 10.0), (2.91e-38, 3e-38), (1e30, 1e30)]


@pytest.mark.parametrize(("number", "two_digits"), LIMITS)
def test_a_limit_is_rounded_up_to_two_digits(number: float, two_digits: float) -> None:
    assert rounded_up(number) == two_digits
