"""Generic mutants: the same ones on every machine, real edits, and named so that what is said of one goes stale with its line."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import DEVICE

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.layout import FAMILIES, Layout
from fuzz_decode.cases.validity import validate
from fuzz_decode.errors import TargetError
from fuzz_decode.evaluate import mutant_inventory as inventory
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.outcome import Status
from fuzz_decode.targets import resolve
from fuzz_decode_kernels.mutants.load import SOURCE
from fuzz_decode_kernels.mutation import generic
from fuzz_decode_kernels.mutation.equivalents import EQUIVALENTS, LISTS, OUT_OF_REACH
from fuzz_decode_kernels.mutation.generic import equivalents, generic_diff, generic_mutants, generic_source, out_of_reach
from fuzz_decode_kernels.mutation.operators import OPERATORS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # log(0) in the interpreter is meant
]
HND = Layout(FAMILIES["HND"])
TWO_HEADS = Case(seq_lens=(2,), num_kv_heads=2, block_size=2, v=HND)

# (operator, function, how the source line begins, old, new) of a mutant: a case that a person would kill it with
OBVIOUS = {
    ("swap-stride", "_attend_share", "o_k = (i_block", "s_kb", "s_ks"): Case(seq_lens=(3,), block_size=2),
    ("swap-stride", "_attend_share", "o_v = (i_block", "s_vs", "s_ks"): TWO_HEADS,
    ("drop-condition", "_places_of", "o_t = tl.minimum(", "tl.minimum(o_t, last - 1)", "o_t"): Case(seq_lens=(1,), block_size=2),
    ("change-constant", "_merge_shares", "b_out = b_out / tl.where(", "1.0", "0.0"): Case(seq_lens=(0,)),
    ("drop-operand", "_attend_share", "b_scale = tl.full(", " * scale", ""): Case(seq_lens=(2,)),
    ("change-operator", "_places_of", "return i_block", "%", "//"): Case(seq_lens=(3,), block_size=2),
    ("drop-operand", "_merge_shares", "b_sum = b_sum * b_rescale + tl.sum(b_weight", " + tl.sum(b_weight, axis=1)", ""): Case(),
    ("replace-name", "paged_decode", "*v_cache.stride()", "v_cache", "k_cache"): TWO_HEADS,
    ("drop-operand", "paged_decode", "_attend_share[(num_shares", " * num_kv_heads", ""): Case(num_kv_heads=2),
}
LISTING = """
from fuzz_decode_kernels.mutation import generic
print([(name, mutant, generic.generic_source(name)) for name, mutant in generic.generic_mutants().items()])
"""


def find(operator: str, function: str, line: str, old: str, new: str) -> str:
    """The one mutant that is described so."""
    lines = SOURCE.read_text().splitlines()
    alike = [
        mutant.name
        for mutant in generic_mutants().values()
        if (mutant.operator, mutant.function, mutant.old, mutant.new) == (operator, function, old, new)
        and lines[mutant.line - 1].strip().startswith(line)
    ]
    assert len(alike) == 1
    return alike[0]


def test_there_are_many_and_every_operator_makes_some() -> None:
    made = [mutant.operator for mutant in generic_mutants().values()]
    assert len(made) >= 200
    assert set(made) == set(OPERATORS)


def test_every_function_of_the_kernel_has_some() -> None:
    functions = {node.name for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert {mutant.function for mutant in generic_mutants().values()} == functions


def test_they_are_the_same_whatever_the_hash_seed_is() -> None:
    def listed(seed: str) -> str:
        command = [sys.executable, "-W", "ignore", "-c", LISTING]
        return subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout

    assert listed("1") == listed("2") != ""


@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # 1.0[:, None] fails where it should: in the call
def test_each_compiles_and_no_two_are_the_same() -> None:
    sources = {name: generic_source(name) for name in generic_mutants()}
    for name, source in sources.items():
        compile(source, name, "exec")
    assert len({SOURCE.read_text(), *sources.values()}) == len(sources) + 1


def test_each_says_where_it_stands_and_what_it_changes() -> None:
    lines = SOURCE.read_text().splitlines(keepends=True)
    for name, mutant in generic_mutants().items():
        assert name == mutant.name
        assert name.startswith(f"{mutant.operator}:{mutant.function}:")
        assert "".join(lines[mutant.line - 1 :])[mutant.column :].startswith(mutant.old)


def test_docstrings_decorators_and_annotations_are_left_alone() -> None:
    edited: dict[int, set[str]] = {}
    for mutant in generic_mutants().values():
        edited.setdefault(mutant.line, set()).add(mutant.operator)
    for function in [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.FunctionDef)]:
        documented = function.body[: ast.get_docstring(function) is not None]
        for node in (*function.decorator_list, *documented):
            assert not edited.keys() & set(range(node.lineno, (node.end_lineno or 0) + 1))
        for line in range(function.lineno, function.body[0].lineno):
            assert edited.get(line, set()) <= {"swap-parameters"}  # each with its annotation


def test_comments_are_left_alone() -> None:
    def comments(source: str) -> list[str]:
        return [line.partition("#")[2] for line in source.splitlines() if "#" in line]

    whole = [mutant.name for mutant in generic_mutants().values() if "#" not in mutant.old]
    assert len(whole) > len(generic_mutants()) - 5  # two launches are deleted with theirs
    assert all(comments(generic_source(name)) == comments(SOURCE.read_text()) for name in whole)


def test_a_diff_shows_the_line() -> None:
    name = find("off-by-one", "_places_of", "o_t = tl.minimum(", "last - 1", "((last - 1) + 1)")
    changed = ["-    o_t = tl.minimum(o_t, last - 1)", "+    o_t = tl.minimum(o_t, ((last - 1) + 1))"]
    assert generic_diff(name).splitlines()[-2:] == changed


def names_of(source: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    path.write_text(source)
    monkeypatch.setattr(generic, "SOURCE", path)
    return list(generic_mutants())


def test_an_edit_elsewhere_renames_nothing_and_an_edit_of_the_line_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def names(source: str) -> list[str]:
        return names_of(source, tmp_path / "kernel.py", monkeypatch)

    source = "def f(a, b):\n    x = a + b\n    return x\n"
    before = names(source)
    assert [name.rsplit(":", 1)[0] for name in before] == ["drop-operand:f:x:+ b", "drop-operand:f:x:a +"]
    assert names(f"c = 0\n\n\n{source}") == before
    assert names(source.replace("return x", "if x:\n        x = a + b\n    return x"))[:2] == before
    assert not set(names(source.replace("a + b", "(a + b)"))) & set(before)


def test_equal_lines_of_a_function_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of("def f(a, b):\n    c = a % b\n    d = c\n    c = a % b\n", tmp_path / "kernel.py", monkeypatch)
    first = [name for name in names if "#" not in name and "delete" not in name]
    assert [name for name in names if "#" in name] == [f"{name}#2" for name in first]


def test_a_text_that_is_not_ascii_is_edited_in_the_right_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = 'def f(a, b):\n    x = ("é→", a + b)\n    return x\n'
    left, right = names_of(source, tmp_path / "kernel.py", monkeypatch)
    assert generic_source(left) == source.replace("a + b", "a")
    assert generic_source(right) == source.replace("a + b", "b")


@pytest.mark.parametrize("described", OBVIOUS)
def test_a_mutant_fails_on_an_obvious_case_and_the_kernel_does_not(described: tuple[str, str, str, str, str]) -> None:
    case = OBVIOUS[described]
    assert run_case(validate(case), resolve(f"mutant:{find(*described)}"), DEVICE).status == Status.FAILED
    assert run_case(case, resolve("bundled"), DEVICE).status == Status.PASSED


def test_a_generic_mutant_is_a_target_like_the_kernel() -> None:
    name = next(iter(generic_mutants()))
    found, kernel = resolve(f"mutant:{name}"), resolve("bundled")
    assert (found.name, found.options, found.arithmetic) == (f"mutant:{name}", kernel.options, kernel.arithmetic)


def test_an_unknown_generic_mutant_says_why_it_may_be_gone() -> None:
    message = "there is no generic mutant 'swap-stride:gone:0000'; its name changes with the source line that it edits"
    with pytest.raises(TargetError, match=message):
        resolve("mutant:swap-stride:gone:0000")
    with pytest.raises(ValueError, match=message):
        generic_source("swap-stride:gone:0000")


def test_each_that_is_listed_exists_and_has_a_reason() -> None:
    assert equivalents() == EQUIVALENTS
    assert out_of_reach() == OUT_OF_REACH
    assert all(len(reason.split()) >= 4 for reason in (EQUIVALENTS | OUT_OF_REACH).values())


def test_each_is_listed_once() -> None:
    assert not EQUIVALENTS.keys() & OUT_OF_REACH.keys()
    listed = [line for line in LISTS.read_text().splitlines() if re.search(r":[0-9a-f]{4}(#\d+)?[\"']", line)]
    assert len(listed) == len(EQUIVALENTS) + len(OUT_OF_REACH)


def test_what_is_out_of_reach_says_where_it_would_show() -> None:
    assert all(reason.startswith(("GPU only: ", "beyond reach: ")) for reason in OUT_OF_REACH.values())
    assert not any(reason.startswith(("GPU only", "beyond reach")) for reason in EQUIVALENTS.values())


def test_the_score_knows_what_is_out_of_reach_and_counts_it() -> None:
    known = inventory.generic()
    assert {name: subject.beyond for name, subject in known.items() if subject.beyond} == OUT_OF_REACH
    assert {name: subject.equivalent for name, subject in known.items() if subject.equivalent} == EQUIVALENTS


@pytest.mark.parametrize("listed", [EQUIVALENTS, OUT_OF_REACH])
@pytest.mark.parametrize("asked", [equivalents, out_of_reach])
def test_one_that_no_longer_exists_is_refused(
    listed: dict[str, str], asked: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(listed, "drop-cast:gone:0000", "was equivalent once upon a time")
    with pytest.raises(ValueError, match=r"lists mutants that do not exist \(any more\): drop-cast:gone:0000"):
        asked()
