"""Each mutant has its killing case, as a person would explain the bug; the kernel itself passes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing_cases import KILLED_BY, killing_case
from machine import DEVICE

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.validity import validate
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.outcome import Status
from fuzz_decode.targets import resolve
from fuzz_decode.workers.protocol import WorkerConfig
from fuzz_decode.workers.resilient_worker import ResilientWorker
from fuzz_decode_kernels.mutants import load as mutants
from fuzz_decode_kernels.mutants.load import MUTANTS, SOURCE, load_source, mutant_source
from fuzz_decode_kernels.mutants.mutant import KINDS, Mutant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # log(0) in the interpreter is meant
]
# what is remembered under too small a key takes two calls
NEEDS_A_CALL_BEFORE = {"scale-cached": (Case(seq_lens=(2,)), Case(seq_lens=(2,), scale=1.0))}
DEADLY = [name for name, killed in KILLED_BY.items() if killed["signature"].startswith("crash")]


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
def test_every_mutant_says_what_it_does_when_and_where_it_was_seen(name: str) -> None:
    mutant = MUTANTS[name]
    assert mutant.fault
    assert mutant.trigger
    assert mutant.kind in KINDS
    assert all(link.count("/") == 6 or "/commit/" in link for link in mutant.links)


def test_every_kind_has_a_mutant() -> None:
    assert {mutant.kind for mutant in MUTANTS.values()} == set(KINDS)


@pytest.mark.parametrize("old", ["no such text", "tl.load"])
def test_an_edit_that_does_not_apply_once_is_refused(monkeypatch: pytest.MonkeyPatch, old: str) -> None:
    count = SOURCE.read_text().count(old)
    monkeypatch.setitem(MUTANTS, "stale", Mutant("S1", "", "", (), ((old, ""),)))
    with pytest.raises(ValueError, match=f"mutant stale: .* occurs {count} times in paged_decode.py, not once"):
        mutant_source("stale")


def test_a_second_edit_sees_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernel = tmp_path / "kernel.py"
    kernel.write_text("a = 1\n")
    monkeypatch.setattr(mutants, "SOURCE", kernel)
    monkeypatch.setitem(MUTANTS, "chain", Mutant("S1", "", "", (), (("a = 1", "b = 2"), ("b = 2", "c = 3"))))
    assert mutant_source("chain") == "c = 3\n"


def test_every_mutant_has_a_killing_case() -> None:
    within_reach = {name for name, mutant in MUTANTS.items() if not mutant.beyond}
    assert {*KILLED_BY, *NEEDS_A_CALL_BEFORE} == within_reach


@pytest.mark.parametrize("name", [name for name in KILLED_BY if name not in DEADLY])
def test_a_mutant_fails_on_its_case_and_the_kernel_does_not(name: str) -> None:
    case = killing_case(name)
    outcome = run_case(case, resolve(f"mutant:{name}"), DEVICE)
    assert (outcome.status, outcome.signature) == (Status.FAILED, KILLED_BY[name]["signature"])
    assert run_case(case, resolve("bundled"), DEVICE).status == Status.PASSED


@pytest.mark.parametrize("name", DEADLY)
def test_a_mutant_dies_of_its_case_and_the_kernel_does_not(name: str) -> None:
    case = killing_case(name)
    with ResilientWorker(WorkerConfig(f"mutant:{name}", DEVICE, 60.0)) as worker:
        assert worker.run(case).signature.startswith("crash-")
    assert run_case(case, resolve("bundled"), DEVICE).status == Status.PASSED


@pytest.mark.parametrize("name", NEEDS_A_CALL_BEFORE)
def test_a_mutant_that_remembers_fails_on_the_second_call(name: str) -> None:
    first, second = NEEDS_A_CALL_BEFORE[name]
    mutant = resolve(f"mutant:{name}")
    assert run_case(validate(first), mutant, DEVICE).status == Status.PASSED
    assert run_case(validate(second), mutant, DEVICE).status == Status.FAILED
    assert run_case(second, resolve(f"mutant:{name}"), DEVICE).status == Status.PASSED
    assert run_case(second, resolve("bundled"), DEVICE).status == Status.PASSED


@pytest.mark.parametrize("name", ["k-block-stride-dense", "v-block-stride-dense", "v-uses-k-strides", "head-stride-dense"])
def test_a_stride_fault_passes_on_contiguous_caches(name: str) -> None:
    """Which is why it was released."""
    contiguous = Case(seq_lens=(3, 5), num_kv_heads=2, group=2, block_size=2)
    assert run_case(contiguous, resolve(f"mutant:{name}"), DEVICE).status == Status.PASSED


def test_mutants_do_not_share_state_with_the_kernel() -> None:
    kernel = load_source(SOURCE.read_text(), "copy")
    other = load_source(SOURCE.read_text(), "copy")
    assert kernel is not other
    assert kernel.__globals__["_attend_share"] is not other.__globals__["_attend_share"]
