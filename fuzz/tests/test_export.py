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

from fuzz_decode.build import FILL_LIMIT, build
from fuzz_decode.case import BlockTable, Case
from fuzz_decode.cli import CLEAN, USAGE, main
from fuzz_decode.corpus import Entry, load, save
from fuzz_decode.errors import UsageError
from fuzz_decode.export.literals import listed, quoted, rounded_up
from fuzz_decode.export.script import script
from fuzz_decode.layout import CACHE_AXES, FAMILIES, QUERY_AXES, TABLE_AXES, Layout
from fuzz_decode.plan import pick_device
from fuzz_decode.run import expect
from fuzz_decode.targets import resolve
from fuzz_decode_kernels.paged_decode import paged_decode

pytestmark = [
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
    pytest.mark.skipif(pick_device("auto") != "cpu", reason="scripts take the GPU, and what is compared lies on the CPU"),
]

CORPUS = sorted((Path(__file__).parents[2] / "corpus").glob("*.json"))
FIXED = "fuzz_decode_kernels.paged_decode:paged_decode"
HONEST = "sample_targets:honest_in_everything"
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
    "strides of more than 2**31 elements": Case(
        seq_lens=(3,), k=Layout(CACHE_AXES, (2**30, 0, 0, 0)), table=BlockTable(first_block=3), dtype="float16", head_dim=40
    ),
}


def entry(case: Case, target: str = HONEST, signature: str = "wrong-value:out", **more: Any) -> Entry:
    return Entry(case, case, target, signature, "compare", "cpu", **more)


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


def test_a_correct_kernel_is_right(exported: Exported) -> None:
    assert exported[2:4] == (0, "right\n")


def test_its_tensors_are_the_harness_s_to_the_bit(exported: Exported) -> None:
    problem, found = build(exported[0], "cpu"), exported[4]
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
    wanted = expect(build(case, "cpu"), resolve(HONEST))
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
    "stray-write:out": ("writes_one_past_out", Case(), "1 elements outside out were overwritten, the first 16 elements from"),
    "input-modified:block_table": ("clears_the_block_table", Case(seq_lens=(2,)), "bytes of block_table, or of the memory around"),
    "input-modified:k": ("writes_into_a_gap_of_k", Case(k=Layout(CACHE_AXES, (4, 0, 0, 0))), "4 bytes of k_cache, or of the"),
    "nondeterministic:out": ("flickers", Case(), "out differs in its bits from that of the first run"),
    "layout-dependent:out": (
        "minds_the_block_stride",
        Case(k=Layout(CACHE_AXES, (4, 0, 0, 0))),
        "out differs in its bits from that of the layout above",
    ),
    "wrong-shape:out": ("returns_double", Case(), "AssertionError: out is [1, 1, 16] torch.float64"),
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

    assert "# call 1; what the last one has instead: scale default -> 1.0" in text
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


def test_it_runs_where_there_is_no_fuzz_decode(tmp_path: Path) -> None:
    """In a process that cannot import it: 125 if it could."""
    stored = load(CORPUS[0])
    repro = tmp_path / "repro.py"
    repro.write_text(script(stored, resolve(stored.target)))
    kernels = str(Path(paged_decode.__code__.co_filename).parents[1])
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    for package in ("fuzz_decode", "fuzz_decode_reference"):
        (blocked / f"{package}.py").write_text("raise SystemExit(125)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocked), kernels]), "PYTHONWARNINGS": "ignore"}
    codes = [
        subprocess.run([sys.executable, str(repro), *more], env=environment, capture_output=True, check=False).returncode
        for more in ([], [FIXED])
    ]
    assert codes == [1, 0]
