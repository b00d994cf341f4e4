"""What a function's signature and declaration say of it, and how targets are named."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_targets
import torch

import fuzz_decode
from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.layout import CACHE_AXES, Layout
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.errors import TargetError, UsageError
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.targets import Arithmetic, Target, resolve, target
from fuzz_decode.targets.target import target_from_function
from fuzz_decode_kernels.mutants.load import MUTANTS

HERE = Path(sample_targets.__file__).parent
ALL_OPTIONS = frozenset({"out", "window", "softcap", "alibi_slopes", "sinks", "k_scale", "v_scale", "q_len"})
FLOAT8 = Case(cache_dtype="float8_e4m3fn", k_scale=0.5, v_scale=2.0)
UNALIGNED = Case(seq_lens=(2,), block_size=2, k=Layout(CACHE_AXES, (0, 3, 0, 0)))
ANSWER = "def decode(q, k, v, table, lens, scale): return q\n"


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """resolve() puts folders of target files on the path, and files among the modules."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "sample_targets", sample_targets)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def error_of(name: str) -> str:
    """The one sentence that resolving the name gives."""
    with pytest.raises(TargetError) as caught:
        resolve(name)
    assert isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def six(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any) -> None: ...
def with_options(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, *, softcap: Any, out: Any = None, other: Any = 1) -> None: ...
def with_positional_option(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, window: Any = None) -> None: ...
def with_anything(*args: Any, **kwargs: Any) -> None: ...
def with_some_and_anything(q: Any, *args: Any, window: Any, **kwargs: Any) -> None: ...
def with_position_only(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, /) -> None: ...
def five(q: Any, k: Any, v: Any, t: Any, n: Any) -> None: ...
def five_and_keyword(q: Any, k: Any, v: Any, t: Any, n: Any, *, scale: Any) -> None: ...
def demanding(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, *, workspace: Any) -> None: ...
def demanding_a_seventh(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, workspace: Any) -> None: ...


class Callable6:
    def __call__(self, q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, *, out: Any) -> None: ...


@pytest.mark.parametrize(
    ("fn", "options"),
    [
        (six, set()),
        (with_options, {"softcap", "out"}),
        (with_positional_option, {"window"}),
        (with_anything, set()),
        (with_some_and_anything, {"window"}),
        (with_position_only, set()),
        (Callable6(), {"out"}),
        (functools.partial(demanding, workspace=3), set()),
        (sample_targets.honest, {"out", "window", "softcap"}),
    ],
)
def test_options_are_the_parameters_of_those_names(fn: Callable[..., Any], options: set[str]) -> None:
    assert target_from_function("t", fn).options == options


@pytest.mark.parametrize("fn", [five, five_and_keyword, lambda: None])
def test_a_function_with_too_few_positional_parameters_is_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(TargetError, match=r"^target t: takes [05] positional arguments; a target takes \(q, k_cache, "):
        target_from_function("t", fn)


@pytest.mark.parametrize("fn", [demanding, demanding_a_seventh])
def test_a_parameter_that_nobody_passes_is_refused(fn: Callable[..., Any]) -> None:
    names = "alibi_slopes, k_scale, out, q_len, sinks, softcap, v_scale, window"
    with pytest.raises(TargetError, match=f"parameter 'workspace' has no default, and only {names} are passed"):
        target_from_function("t", fn)


def test_an_undeclared_target_takes_everything() -> None:
    found = target_from_function("t", sample_targets.honest)
    assert found.unsupported_reason(Case(dtype="bfloat16", head_dim=40, window=3, softcap=1.0, seq_lens=(0,))) is None
    assert found.case_space() == CaseSpace(options=frozenset({"out", "window", "softcap"}))
    assert (found.case_space().dtypes, found.case_space().cache_dtypes) == (DTYPES, CACHE_DTYPES)
    assert found.arithmetic == Arithmetic()


@pytest.mark.parametrize(
    ("declared", "case", "reason"),
    [
        ({"dtypes": ("float16",)}, Case(dtype="float32"), "dtype float32"),
        ({"head_dims": (64, 128)}, Case(head_dim=32), "head_dim 32"),
        ({"value_head_dims": (64,)}, Case(value_head_dim=32), "value_head_dim 32"),
        ({"block_sizes": (16,)}, Case(block_size=3), "block_size 3"),
        ({"num_kv_heads": (1,)}, Case(num_kv_heads=2), "num_kv_heads 2"),
        ({"strides": StrideRules(multiple_of=8)}, UNALIGNED, "rows of k do not start at multiples of 8 elements"),
        ({"min_seq_len": 1}, Case(seq_lens=(4, 0)), "sequence shorter than 1"),
        ({"supports": lambda case: "too many heads" if case.group > 8 else None}, Case(group=16), "too many heads"),
        ({}, Case(window=3), "no window"),
        ({}, Case(softcap=3.0), "no softcap"),
        ({}, Case(alibi=True), "no alibi_slopes"),
        ({}, Case(sinks=True), "no sinks"),
        ({}, Case(q_len=2, seq_lens=(2,)), "no q_len"),
        ({}, FLOAT8, "no k_scale"),
        ({"cache_dtypes": ("float8_e5m2",)}, FLOAT8, "cache_dtype float8_e4m3fn"),
    ],
)
def test_a_declaration_narrows_what_is_supported(declared: dict[str, Any], case: Case, reason: str) -> None:
    found = target_from_function("t", target(**declared)(lambda q, k, v, t, n, s: q))
    assert found.unsupported_reason(case) == reason
    fitting = Case(dtype="float16", head_dim=64, value_head_dim=64, block_size=16, seq_lens=(1,))
    assert found.unsupported_reason(fitting) is None


def test_what_is_declared_is_what_is_generated() -> None:
    declare = target(
        dtypes=("float16",),
        cache_dtypes=("float8_e5m2",),
        head_dims=(64,),
        value_head_dims=(64, 32),
        block_sizes=(16,),
        min_seq_len=2,
    )
    assert target_from_function("t", declare(lambda q, k, v, t, n, s, window: q)).case_space() == CaseSpace(
        dtypes=("float16",),
        cache_dtypes=("float8_e5m2",),
        head_dims=(64,),
        value_head_dims=(64, 32),
        block_sizes=(16,),
        min_seq_len=2,
        options=frozenset({"window"}),
        strides=StrideRules(),
    )


def test_unaligned_rows_conform_by_more_padding() -> None:
    conformed = StrideRules(multiple_of=8).nearest(UNALIGNED)
    assert conformed == dataclasses.replace(UNALIGNED, k=Layout(CACHE_AXES, (0, 8, 0, 0)))


def test_a_declaration_leaves_the_function_as_it_was() -> None:
    def decode(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any) -> str:
        return "mine"

    assert target(min_seq_len=1)(decode) is decode
    assert decode(1, 2, 3, 4, 5, 6) == "mine"


def test_what_a_declaration_needs_comes_from_the_package_itself() -> None:
    assert (fuzz_decode.target, fuzz_decode.Arithmetic, fuzz_decode.Strides) == (target, Arithmetic, StrideRules)
    with pytest.raises(AttributeError, match="has no attribute 'Stride'"):
        _ = fuzz_decode.Stride


def test_a_declaration_survives_wrapping() -> None:
    @target(min_seq_len=3)
    def decode(q: Any, k: Any, v: Any, t: Any, n: Any, s: Any, *, window: Any) -> None: ...

    @functools.wraps(decode)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        return decode(*args, **kwargs)

    found = target_from_function("t", wrapper)
    assert (found.min_seq_len, found.options) == (3, frozenset({"window"}))


def test_the_bundled_kernel_takes_everything_and_promises_its_bits() -> None:
    found = resolve("bundled")
    assert (found.name, found.options, found.dtypes) == ("bundled", ALL_OPTIONS, DTYPES)
    arithmetic = found.arithmetic_of(Case())
    assert arithmetic.same_bits_anywhere
    assert arithmetic.deterministic


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_has_a_name(name: str) -> None:
    found = resolve(f"mutant:{name}")
    assert (found.name, found.options) == (f"mutant:{name}", resolve("bundled").options)
    assert found.fn is not resolve("bundled").fn


@pytest.mark.parametrize("name", ["sample_targets:honest", f"{HERE}/sample_targets.py:honest"])
def test_a_function_is_named_by_its_module_or_its_file(name: str) -> None:
    found = resolve(name)
    assert isinstance(found, Target)
    assert (found.name, found.options) == (name, {"out", "window", "softcap"})
    assert run_case(Case(), found, "cpu").status == "passed"


def test_a_file_may_be_named_relative_to_where_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine_relative.py").write_text(ANSWER)
    monkeypatch.chdir(tmp_path)
    assert resolve("sub/mine_relative.py:decode").fn(*"abcdef") == "a"


def test_a_module_may_lie_where_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine_here.py").write_text(ANSWER)
    monkeypatch.chdir(tmp_path)
    assert resolve("mine_here:decode").fn(*"abcdef") == "a"


def test_a_target_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_mine.py").write_text(ANSWER)
    (tmp_path / "mine_with_neighbour.py").write_text("from neighbour_of_mine import decode\n")
    assert resolve(f"{tmp_path}/mine_with_neighbour.py:decode").fn(*"abcdef") == "a"


def test_a_target_file_may_hold_dataclasses_and_its_own_declaration(tmp_path: Path) -> None:
    """Both look their module up in sys.modules."""
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport fuzz_decode.targets as f\n"
        "@dataclass\nclass Plan:\n    n: int = 1\n@f.target(block_sizes=(16,))\n" + ANSWER
    )
    (tmp_path / "mine_declared.py").write_text(source)
    assert resolve(f"{tmp_path}/mine_declared.py:decode").block_sizes == (16,)


@pytest.mark.parametrize("name", ["", "paged", "bundeld", ":", ":decode", "module:", "some/file.py"])
def test_a_name_of_no_known_form_says_which_forms_there_are(name: str) -> None:
    forms = "bundled, mutant:NAME, module:function, path/to/file.py:function, or an adapter that `fuzz-decode targets` lists"
    close = "; did you mean bundled?" if name == "bundeld" else ""
    assert error_of(name) == f"target {name!r} is none of {forms}{close}"


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("flashinfr", "flashinfer"),
        ("gqa-modulo", "mutant:gqa-modulo"),
        ("mutants:gqa-modulo", "mutant:gqa-modulo"),
        ("mutant:gqa-moduol", "gqa-modulo"),
        ("vllm", "vllm-unified or vllm-unified-3d or vllm-decode"),
        ("sample_targets:honst", "honest"),
        (f"{HERE}/sample_targets.py:honst", "honest"),
        (f"{HERE}/sample_target.py:honest", "sample_targets.py"),
        (f"{HERE}/sample_targets:honest", f"{HERE}/sample_targets.py:honest"),
    ],
)
def test_a_name_that_is_close_is_suggested(name: str, close: str) -> None:
    assert error_of(name).endswith(f"; did you mean {close}?")


def test_an_unknown_mutant_says_where_they_are_listed() -> None:
    assert error_of("mutant:nonesuch") == "there is no mutant 'nonesuch'; `fuzz-decode targets --mutants` lists them"


@pytest.mark.parametrize("name", ["./here/mine", "a-b", "a..b", ".a", "a b", "/"])
def test_what_is_neither_a_module_nor_a_file_is_no_target(name: str) -> None:
    assert error_of(f"{name}:f") == f"target '{name}:f': {name!r} is neither a module nor a file that ends in .py"


@pytest.mark.parametrize("path", ["a.b/k.py", "a.b/k.v2.py", "a b/k-1.py", "a/../a.b/k.py"])
def test_a_path_may_have_dots_and_other_characters(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(ANSWER)
    assert resolve(f"{path}:decode").fn(*"abcdef") == resolve(f"./{path}:decode").fn(*"abcdef") == "a"


def test_a_relative_import_in_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(ANSWER)
    (tmp_path / "mine_relative.py").write_text("from .neighbour import decode\n")
    path = f"{tmp_path}/mine_relative.py"
    assert error_of(f"{path}:decode") == (
        f"target {path} does not import: ImportError: attempted relative import with no known parent package; "
        "a target file is loaded without its package: name the target as module:function, or import without the leading dot"
    )


def test_a_missing_module_is_named() -> None:
    message = error_of("no_such_package:decode")
    assert message == "target no_such_package does not import: ModuleNotFoundError: No module named 'no_such_package'"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert error_of(f"{tmp_path}/none.py:decode") == f"target file {tmp_path}/none.py does not exist"


@pytest.mark.parametrize("spelling", ["sample_targets", f"{HERE}/sample_targets.py"])
@pytest.mark.parametrize("function", ["nonesuch", "torch"])
def test_a_missing_function_is_named(spelling: str, function: str) -> None:
    assert not callable(torch)
    assert error_of(f"{spelling}:{function}") == f"target {spelling}:{function}: {spelling} has no function {function!r}"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: "),
    ],
)
def test_a_module_that_raises_while_it_is_imported_says_what(tmp_path: Path, source: str, error: str) -> None:
    file = tmp_path / "broken_target.py"
    file.write_text(source)
    assert error_of(f"{file}:decode").startswith(f"target {file} does not import: {error}")
    sys.path.insert(0, str(tmp_path))
    sys.modules.pop("broken_target", None)
    assert error_of("broken_target:decode").startswith(f"target broken_target does not import: {error}")


def test_a_function_that_is_no_target_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "short_target.py").write_text("def decode(q): return q\n")
    message = error_of(f"{tmp_path}/short_target.py:decode")
    assert message.startswith(f"target {tmp_path}/short_target.py:decode: takes 1 positional arguments; a target takes (q, ")
