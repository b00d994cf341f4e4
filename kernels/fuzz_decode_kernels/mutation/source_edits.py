"""A function's source text with its syntax tree: the span of each node in the text, and edits of it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """`old`, which begins at offset `start` of a text, becomes `new`."""

    start: int
    old: str
    new: str

    def to(self, new: str) -> Edit:
        return Edit(self.start, self.old, new)

    def applied(self, text: str) -> str:
        assert text.startswith(self.old, self.start)
        return text[: self.start] + self.new + text[self.start + len(self.old) :]


@dataclass(frozen=True, slots=True)
class Code:
    """One function of a source text."""

    text: str
    """The whole source text."""
    lines: tuple[int, ...]
    """Offset in the text at which each line begins."""
    function: ast.FunctionDef
    bound: dict[str, int]
    """The line in which a name is first assigned, from 1."""

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Offsets of a node in the text, without the parentheses around it."""
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def operand(self, node: ast.AST) -> str:
        """The text of a node, in parentheses if it needs them as an operand."""
        text = self.of(node)
        return text if isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Call | ast.Subscript) else f"({text})"

    def replace(self, node: ast.AST, new: str) -> Edit:
        return self._edit(*self.span(node), new)

    def operator(self, left: ast.AST, right: ast.AST) -> Edit:
        """The operator between two nodes, as an edit that changes nothing yet."""
        start, end = self.span(left)[1], self.span(right)[0]
        sign = self.text[start:end].strip(") (\n")
        return Edit(self.text.index(sign, start), sign, sign)

    def keep_left(self, node: ast.BinOp) -> Edit:
        """An operation without its right side."""
        sign = self.operator(node.left, node.right).start
        begin = sign - (self.text[sign - 1] == " ")
        return self._edit(begin, self.span(node)[1], "")

    def keep_right(self, node: ast.BinOp) -> Edit:
        """An operation without its left side."""
        sign = self.operator(node.left, node.right)
        end = sign.start + len(sign.old)
        return self._edit(self.span(node)[0], end + (self.text[end] == " "), "")

    def swap(self, left: ast.AST, right: ast.AST) -> Edit:
        """Two nodes in each other's place."""
        (start, middle), (end, _) = self.span(left), self.span(right)
        return self._edit(start, self.span(right)[1], self.of(right) + self.text[middle:end] + self.of(left))

    def drop_keywords(self, call: ast.Call, first: ast.keyword, last: ast.keyword) -> Edit:
        """A call without its keyword arguments from `first` to `last` and the comma before them."""
        begin = self.span(first)[0]
        before = max(end for _, end in map(self.span, [call.func, *call.args, *call.keywords]) if end < begin)
        return self._edit(before, self.span(last)[1], "")

    def _edit(self, start: int, end: int, new: str) -> Edit:
        return Edit(start, self.text[start:end], new)

    def siblings(self, name: ast.Name) -> list[str]:
        """Names that are assigned before this one is read, itself included, in the order of their first assignment."""
        return [other for other, line in self.bound.items() if line < name.lineno or other == name.id]

    def _offset(self, line: int, column: int) -> int:
        """Of a line and a column in bytes, as the syntax tree counts."""
        start = self.lines[line - 1]
        ahead = self.text[start : start + column]  # at least as many characters as `column` bytes hold
        return start + len(ahead.encode()[:column].decode())


def functions(text: str) -> Iterator[Code]:
    """The top-level functions of a module."""
    lines = tuple(itertools.accumulate(map(len, text.splitlines(keepends=True)), initial=0))
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            yield Code(text, lines, node, _first_lines(node))


def statements(code: Code) -> list[ast.stmt]:
    """The statements of the function, at any depth, in the order of the text, without its docstring."""
    body = code.function.body[ast.get_docstring(code.function) is not None :]
    found = [node for outer in body for node in ast.walk(outer) if isinstance(node, ast.stmt)]
    return sorted(found, key=lambda statement: statement.lineno)


def nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """A statement and its expressions, outermost first, without annotations, pieces of f-strings and inner statements."""
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, ast.JoinedStr):
            hidden = node.annotation if isinstance(node, ast.AnnAssign) else None
            inner = [child for child in ast.iter_child_nodes(node) if child is not hidden and not isinstance(child, ast.stmt)]
            stack.extend(reversed(inner))


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    """The parameters that may be passed by position."""
    return [*function.args.posonlyargs, *function.args.args]


def _first_lines(function: ast.FunctionDef) -> dict[str, int]:
    """The line of each parameter, and of the first assignment to each other name."""
    first = {argument.arg: function.lineno for argument in [*parameters(function), *function.args.kwonlyargs]}
    stored = [node for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    for node in sorted(stored, key=lambda node: (node.lineno, node.col_offset)):
        first.setdefault(node.id, node.lineno)
    return first
