"""Each mutant has its killing case, as a person would explain the bug; the kernel itself passes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_decode.case import BlockTable, Case
from fuzz_decode.layout import FAMILIES, Layout
from fuzz_decode.outcome import FAILED, PASSED
from fuzz_decode.plan import pick_device
from fuzz_decode.run import run_case
from fuzz_decode.targets import resolve
from fuzz_decode_kernels import mutants
from fuzz_decode_kernels.mutants import MUTANTS, SOURCE, Mutant, load_source, mutant_source

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")  # log(0) in the interpreter is meant

DEVICE = pick_device("auto")
INTERLEAVED = Layout(FAMILIES["interleaved"])
HND = Layout(FAMILIES["HND"])
MOSTLY_EMPTY = Case(seq_lens=(1,), block_size=64, table=BlockTable(extra_columns=1))  # two splits or more, one with tokens

# mutant: (its killing case, the signature it fails with)
KILLED_BY = {
    "k-block-stride-dense": (Case(seq_lens=(3,), block_size=2, k=INTERLEAVED, v=None), "wrong-value:out"),
    "v-block-stride-dense": (Case(seq_lens=(3,), block_size=2, k=INTERLEAVED, v=None), "wrong-value:out"),
    "v-uses-k-strides": (Case(seq_lens=(2,), num_kv_heads=2, block_size=2, v=HND), "wrong-value:out"),
    "head-stride-dense": (Case(seq_lens=(2,), num_kv_heads=2, block_size=2, k=HND), "wrong-value:out"),
    "gqa-modulo": (Case(seq_lens=(1,), num_kv_heads=2, group=2), "wrong-value:out"),
    "table-row-stride-needed-width": (Case(seq_lens=(1, 1), table=BlockTable(extra_columns=1)), "wrong-value:out"),
    "tail-v-unmasked": (Case(seq_lens=(1,), block_size=2), "wrong-value:out"),
    "tail-off-by-one": (Case(seq_lens=(1,), block_size=2), "wrong-value:out"),
    "empty-split-not-neutral": (MOSTLY_EMPTY, "wrong-value:out"),
    "last-split-dropped": (Case(seq_lens=(65,), block_size=65), "wrong-value:out"),
    "empty-split-unwritten": (MOSTLY_EMPTY, "wrong-value:out"),
    "out-store-too-wide": (Case(), "stray-write:out"),
    "lse-base-2": (Case(), "wrong-value:lse"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_every_edit_applies_exactly_once_and_changes_the_kernel(name: str) -> None:
    source = mutant_source(name)
    assert source != SOURCE.read_text()
    compile(source, name, "exec")
    for old, new in MUTANTS[name].edits:
        assert SOURCE.read_text().count(old) == 1
        assert new in source


def test_no_two_mutants_are_the_same() -> None:
    assert len({mutant_source(name) for name in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_says_what_it_does_and_where_it_was_seen(name: str) -> None:
    assert MUTANTS[name].fault
    assert MUTANTS[name].seen.startswith("https://github.com/")


@pytest.mark.parametrize("old", ["no such text", "tl.load"])
def test_an_edit_that_does_not_apply_once_is_refused(monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    count = SOURCE.read_text().count(old)
    monkeypatch.setitem(MUTANTS, "stale", Mutant("", "", ((old, ""),)))
    with pytest.raises(ValueError, match=f"mutant stale: .* occurs {count} times in paged_decode.py, not once"):
        mutant_source("stale")


def test_a_second_edit_sees_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("a = 1\n")
    monkeypatch.setattr(mutants, "SOURCE", kernel)
    monkeypatch.setitem(MUTANTS, "chain", Mutant("", "", (("a = 1", "b = 2"), ("b = 2", "c = 3"))))
    assert mutant_source("chain") == "c = 3\n"


def test_every_mutant_has_a_killing_case() -> None:
    assert set(KILLED_BY) == set(MUTANTS)


@pytest.mark.parametrize("name", KILLED_BY)
def test_a_mutant_fails_on_its_case_and_the_kernel_does_not(name: str) -> None:
    case, signature = KILLED_BY[name]
    outcome = run_case(case.validate(), resolve(f"mutant:{name}"), DEVICE)
    assert (outcome.status, outcome.signature) == (FAILED, signature)
    assert run_case(case, resolve("bundled"), DEVICE).status == PASSED


@pytest.mark.parametrize("name", ["k-block-stride-dense", "v-block-stride-dense", "v-uses-k-strides", "head-stride-dense"])
def test_a_stride_fault_passes_on_contiguous_caches(name: str) -> None:
    """Which is why it was released."""
    contiguous = Case(seq_lens=(3, 5), num_kv_heads=2, group=2, block_size=2)
    assert run_case(contiguous, resolve(f"mutant:{name}"), DEVICE).status == PASSED


def test_mutants_do_not_share_state_with_the_kernel() -> None:
    kernel = load_source(SOURCE.read_text(), "copy")
    other = load_source(SOURCE.read_text(), "copy")
    assert kernel is not other
    assert kernel.__globals__["_attend_split"] is not other.__globals__["_attend_split"]
