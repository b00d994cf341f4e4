"""Generic mutants of the kernel: every operator of `operators` at every node of paged_decode.py where it applies.

They measure how many faults the harness detects, since none was chosen because it is detected; `mutants` are examples that
occurred. Each is an edit of the text, so that a diff shows it. A name is operator:function:statement:old -> new:digest, where the
digest is that of the source line and of the position in it: an edit of another line renames nothing, and an edit of the line
itself makes every statement about its mutants stale.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fuzz_decode_kernels.mutants.load import SOURCE, load_source
from fuzz_decode_kernels.mutation.equivalents import EQUIVALENTS, LISTS, OUT_OF_REACH
from fuzz_decode_kernels.mutation.operators import OPERATORS
from fuzz_decode_kernels.mutation.source_edits import Code, Edit, functions, nodes, statements

NAMED_LENGTH = 40  # characters of old and new in a name


@dataclass(frozen=True, slots=True)
class GenericMutant:
    """One edit of the kernel's source."""

    name: str
    operator: str
    """A key of OPERATORS."""
    function: str
    """The function of the kernel that is edited."""
    line: int
    """From 1."""
    column: int
    """From 0, in characters."""
    edit: Edit

    @property
    def old(self) -> str:
        return self.edit.old

    @property
    def new(self) -> str:
        return self.edit.new


def generic_mutants() -> dict[str, GenericMutant]:
    """All mutants by name, in the order of the text. Edits that result in the same source count once."""
    return dict(_mutants_of(SOURCE.read_text()))


def generic_source(name: str) -> str:
    """The kernel's source with the mutant's edit. Raises ValueError if there is no such mutant."""
    text = SOURCE.read_text()
    found = _mutants_of(text)
    if name not in found:
        raise ValueError(f"there is no generic mutant {name!r}; its name changes with the source line that it edits")
    return found[name].edit.applied(text)


def generic_diff(name: str) -> str:
    """The lines that the mutant changes, as a unified diff."""
    before, after = (source.splitlines(keepends=True) for source in (SOURCE.read_text(), generic_source(name)))
    return "".join(difflib.unified_diff(before, after, SOURCE.name, name, n=0))


def load_generic(name: str) -> Callable[..., Any]:
    """The faulty `paged_decode`. Imports Triton, so settle TRITON_INTERPRET first."""
    return load_source(generic_source(name), "generic_mutant")


def equivalents() -> dict[str, str]:
    """Mutants that no case can tell from the kernel, each with the reason. Raises ValueError if a listed one does not exist."""
    return _existing(EQUIVALENTS)


def out_of_reach() -> dict[str, str]:
    """Mutants that only a GPU, or a case larger than any that is built, tells from the kernel. Raises ValueError likewise."""
    return _existing(OUT_OF_REACH)


def _existing(listed: dict[str, str]) -> dict[str, str]:
    """The listed mutants in the order of the text, once both lists are known to be up to date."""
    existing = _mutants_of(SOURCE.read_text())
    stale = sorted((EQUIVALENTS.keys() | OUT_OF_REACH.keys()) - existing.keys())
    if stale:
        raise ValueError(f"{LISTS.name} lists mutants that do not exist (any more): {'; '.join(stale)}")
    return {name: listed[name] for name in existing if name in listed}


@functools.lru_cache(2)
def _mutants_of(text: str) -> dict[str, GenericMutant]:
    found: dict[str, GenericMutant] = {}
    sources = {text}
    for mutant in _proposed(text):
        source = mutant.edit.applied(text)
        if source not in sources:
            sources.add(source)
            unique = _unique(mutant.name, found)
            found[unique] = dataclasses.replace(mutant, name=unique)
    return found


def _proposed(text: str) -> Iterator[GenericMutant]:
    for code in functions(text):
        for statement, node in _nodes(code):
            for operator, propose in OPERATORS.items():
                for edit in propose(node, code):
                    yield _named(code, operator, statement, edit)


def _nodes(code: Code) -> Iterator[tuple[ast.stmt, ast.AST]]:
    """Every node with its statement; first the function itself, for its signature."""
    yield code.function, code.function
    for statement in statements(code):
        yield from ((statement, node) for node in nodes(statement))


def _named(code: Code, operator: str, statement: ast.stmt, edit: Edit) -> GenericMutant:
    begin = code.text.rfind("\n", 0, edit.start) + 1
    line, column = code.text[begin:].split("\n", 1)[0], edit.start - begin
    # without the indentation, so that moving a line into another block renames nothing
    position = f"{column - len(line) + len(line.lstrip())} {line.strip()}"
    digest = hashlib.sha256(f"{position} {edit.old} {edit.new}".encode()).hexdigest()[:4]
    function = code.function.name
    change = f"{_short(edit.old)} -> {_short(edit.new)}" if edit.new else _short(edit.old)
    name = f"{operator}:{function}:{_anchor(statement, code)}:{change}:{digest}"
    return GenericMutant(name, operator, function, code.text.count("\n", 0, begin) + 1, column, edit)


def _anchor(statement: ast.stmt, code: Code) -> str:
    """A short name of the statement: the variable that it binds, or the function that it calls."""
    if isinstance(statement, ast.Assign):
        return _short(code.of(statement.targets[0]))
    if isinstance(statement, ast.AugAssign | ast.For):
        return _short(code.of(statement.target))
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return code.of(statement.value.func).split("[")[0]
    return "signature" if isinstance(statement, ast.FunctionDef) else type(statement).__name__.lower()


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= NAMED_LENGTH else f"{text[: NAMED_LENGTH // 2]}...{text[-NAMED_LENGTH // 2 :]}"


def _unique(name: str, taken: dict[str, GenericMutant]) -> str:
    """The name, with a number if it is taken: #2, #3, ..."""
    numbered = (f"{name}#{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)
