"""A stored case as the text of a script, or of a regression test."""

from __future__ import annotations

from fuzz_decode.cases.simplicity import in_plain_layout
from fuzz_decode.corpus.entry import Entry
from fuzz_decode.errors import UsageError
from fuzz_decode.execute.prepare import prepare
from fuzz_decode.export.docstring import claim, docstring
from fuzz_decode.export.literals import LINE_WIDTH, Constants, assigned
from fuzz_decode.export.loading import Loading, loading
from fuzz_decode.export.script_bound import limits
from fuzz_decode.export.tensors import helpers, is_huge, tensors
from fuzz_decode.export.verdict import call, compared, no_verdict, reference, watch
from fuzz_decode.outcome import Symptom
from fuzz_decode.problems.build import build_problem
from fuzz_decode.problems.problem import Problem
from fuzz_decode.report.facts import changes
from fuzz_decode.targets.adapters import ADAPTERS
from fuzz_decode.targets.names import is_bundled
from fuzz_decode.targets.target import Target

MAX_CHARACTERS = 2**20
MODULES = ("base64", "inspect", "itertools", "os", "pkgutil", "runpy", "sys", "zlib")

SET_DEVICE = [
    'DEVICE = "cuda" if torch.cuda.is_available() else "cpu"',
    'if DEVICE == "cpu":',
    '    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported',
]
PATCH_INTERPRETER = [
    "    from fuzz_decode.triton_interpreter import patch_triton_interpreter",
    "",
    "    patch_triton_interpreter()",
]
DEFINITION = "# attention by its definition, in float64, and the error bound of a kernel with the declared roundings"
USE = [
    "    python repro.py                    exit code 1 if the kernel is wrong, 0 if it is right",
    "    python repro.py module:function    the same for another function, such as a fix",
]
WHERE = "It needs torch and Triton. Without a GPU it runs in Triton's interpreter (Triton 3.7 or later)."
NARROW = "The interpreter computes bfloat16 and float8 wrongly: a failure in it is no verdict (exit code 125, or a skipped test)."


def script(entry: Entry, target: Target, *, as_test: bool = False) -> str:
    """The text of a script that makes the entry's calls to the target and judges the last one; `as_test`: of a test file.

    Raises UsageError if the target cannot take a call, or the text would be larger than 1 MiB.
    """
    for case in entry.calls:
        if reason := target.unsupported_reason(case):
            raise UsageError(f"target {target.name} cannot take this case ({reason}); name another one with --target")
    constants: Constants = {}
    load, width = loading(target.name), LINE_WIDTH - 4 * as_test
    guard = _no_verdict(entry, target, as_test=as_test)
    body = _calls(entry, target, constants, width, guarded=bool(guard))
    code = _as_test(entry, load, body, width) if as_test else _as_script(load, body, width)
    device = [*SET_DEVICE, *(PATCH_INTERPRETER if target.name in ADAPTERS else [])]
    packed = [line for name, literal in constants.items() for line in assigned(name, literal)]
    rest = "\n".join([*device, *packed, "", "", *guard, *helpers("\n".join(code)), *code])
    use = [*([] if as_test else [*USE, ""]), WHERE, *([NARROW] if guard and not _is_bundled(target) else [])]
    imports = _imports(rest, load, with_pytest=as_test and bool(guard))
    text = "\n".join([*docstring(entry, target.name, use), "", *imports, "", rest, ""])
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"the script would have {len(text)} characters; shrink the case with fuzz-decode minimize first")
    return text


def _calls(entry: Entry, target: Target, constants: Constants, width: int, *, guarded: bool) -> list[str]:
    """The lines that make the calls and judge the last one."""
    lines: list[str] = []
    for number, case in enumerate(entry.before, 1):
        lines += [f"# call {number}; the last one differs: {changes(case, entry.case)}"]
        lines += [*tensors(prepare(case, target, "cpu"), constants, width), *call(case, guarded=guarded), ""]
    problem, case, symptom = prepare(entry.case, target, "cpu"), entry.case, entry.signature.symptom
    relaid: list[str] = []
    if symptom is Symptom.LAYOUT_DEPENDENT:
        plain = build_problem(target.strides.nearest(in_plain_layout(case)), "cpu", problem.values)
        relaid = [*tensors(plain, constants, width), *call(case, guarded=guarded)]
    return [
        *lines,
        *tensors(problem, constants, width),
        "",
        DEFINITION,
        *reference(case, limits(problem, target), constants),
        "",
        *watch(problem, symptom),
        *call(case, guarded=guarded),
        "",
        *compared(problem, symptom, relaid, again=_may_need_another_call(entry, problem, target)),
        *(["if wrong:", '    no_verdict("\\n".join(wrong))'] if guarded else []),
    ]


def _may_need_another_call(entry: Entry, problem: Problem, target: Target) -> bool:
    """Whether the finding may be one of the second call that `repeatability` makes, if bits must not depend on the layout. A
    fault that a diagnosis names shows in the first call."""
    case = problem.case
    relaid = target.arithmetic_of(case).same_bits_anywhere and case != in_plain_layout(case) and not is_huge(problem)
    return relaid and entry.signature.symptom is Symptom.WRONG_VALUE and not entry.fault


def _no_verdict(entry: Entry, target: Target, *, as_test: bool) -> list[str]:
    """A function to call where a correct kernel may fail because of the interpreter. The bundled kernel and its mutants widen
    before they compute, and for adapters of fuzz-decode the interpreter is patched."""
    narrow = any(case.dtype == "bfloat16" or case.cache_dtype for case in entry.calls)
    if not narrow or target.name in ADAPTERS or (_is_bundled(target) and as_test):
        return []
    return no_verdict(bundled=_is_bundled(target), as_test=as_test)


def _is_bundled(target: Target) -> bool:
    return is_bundled(target.name)


def _as_test(entry: Entry, load: Loading, body: list[str], width: int) -> list[str]:
    lines = [*load.lines(width, by_argument=False), *body, 'assert not wrong, "\\n".join(wrong)']
    return [f"def {claim(entry)}():", *(f"    {line}" if line else "" for line in lines)]


def _as_script(load: Loading, body: list[str], width: int) -> list[str]:
    return [*load.lines(width, by_argument=True), *body, 'print("\\n".join(wrong) or "right")', "sys.exit(bool(wrong))"]


def _imports(code: str, load: Loading, *, with_pytest: bool) -> list[str]:
    standard = [f"import {name}" for name in MODULES if f"{name}." in code]
    return [*standard, "", *(["import pytest"] if with_pytest else []), "import torch", *filter(None, [load.imports])]
