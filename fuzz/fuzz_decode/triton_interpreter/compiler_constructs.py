"""A kernel's text with calls in place of the Python constructs that Triton's compiler translates in its own way.

What the calls do is in compiler_semantics; each name here is that of one of its functions.
"""

from __future__ import annotations

import ast
from typing import TypeVar

from fuzz_decode.triton_interpreter.loop_carried import LOOP, check_carried

BOOLEAN, NEGATION, EXTREMUM = "_fuzz_decode_boolean", "_fuzz_decode_not", "_fuzz_decode_extremum"
ASSIGNED = "_fuzz_decode_assigned"
CONDITION, TERNARY = "_fuzz_decode_condition", "_fuzz_decode_ternary"
CONVERSION, MEMBERSHIP = "_fuzz_decode_conversion", "_fuzz_decode_membership"
Conditional = TypeVar("Conditional", ast.If, ast.While)


def with_compiler_constructs(present: ast.NodeTransformer) -> ast.NodeTransformer:
    """Triton's own transformer, and calls of these names in place of what Python decides by itself."""

    class CompilerSemantics(type(present)):  # type: ignore[misc]  # Triton has no types
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            self.generic_visit(node)
            check_carried(node)
            return node

        def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
            self.generic_visit(node)
            return _located(_call(BOOLEAN, [ast.Constant(isinstance(node.op, ast.And)), *map(_deferred, node.values)]), node)

        def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
            self.generic_visit(node)
            return _located(_call(NEGATION, [node.operand]), node) if isinstance(node.op, ast.Not) else node

        def visit_Compare(self, node: ast.Compare) -> ast.AST:
            self.generic_visit(node)
            if len(node.ops) == 1:
                return _membership(node) if isinstance(node.ops[0], (ast.In, ast.NotIn)) else node
            pairs = zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)
            single = [_located(ast.Compare(left, [op], [right]), node) for left, op, right in pairs]
            return _located(_call(BOOLEAN, [ast.Constant(True), *map(_deferred, single)]), node)

        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            if isinstance(node.func, ast.Name) and node.func.id in ("max", "min"):
                node.args, node.func = [node.func, *node.args], ast.Name(EXTREMUM, ast.Load())
            elif isinstance(node.func, ast.Name) and node.func.id in ("int", "float", "bool"):
                node.func = _located(_call(CONVERSION, [node.func]), node.func)
            return node

        def visit_Assign(self, node: ast.Assign) -> ast.AST:
            """Not Triton's own, which makes another call of each assignment."""
            if len(node.targets) > 1:
                raise ValueError("Multiple assignments are not supported")
            self.generic_visit(node)
            node.value = _located(_call(ASSIGNED, [node.value]), node.value)
            return node

        def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
            """`x += y` as `x = x + y`, since a number that is known when the kernel is compiled becomes a scalar by that, too."""
            if not isinstance(node.target, ast.Name):
                self.generic_visit(node)
                return node
            value = _located(ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value), node.value)
            return self.visit_Assign(ast.copy_location(ast.Assign([node.target], value), node))

        def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
            if node.value is None or ast.unparse(node.annotation).rpartition(".")[2] == "constexpr":
                self.generic_visit(node)
                return node
            assignment = ast.copy_location(ast.Assign([node.target], node.value), node)
            self.visit_Assign(assignment)
            return assignment

        def visit_If(self, node: Conditional) -> Conditional:
            self.generic_visit(node)
            node.test = _located(_call(CONDITION, [node.test]), node.test)
            return node

        visit_While = visit_If

        def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
            self.generic_visit(node)
            return _located(_call(TERNARY, [node.test, _deferred(node.body), _deferred(node.orelse)]), node)

        def visit_For(self, node: ast.For) -> ast.AST:
            self.generic_visit(node)
            if isinstance(node.iter, ast.Call) and ast.unparse(node.iter.func).rpartition(".")[2] == "range":
                node.iter = _located(_call(LOOP, [node.iter, *node.iter.args]), node.iter)
            return node

    return CompilerSemantics()


def _membership(node: ast.Compare) -> ast.Compare:
    """The comparison, both of whose sides are looked at first."""
    node.left = _located(_call(MEMBERSHIP, [node.left]), node.left)
    node.comparators = [_located(_call(MEMBERSHIP, [each]), each) for each in node.comparators]
    return node


def _call(name: str, arguments: list[ast.expr]) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), arguments, [])


def _deferred(value: ast.expr) -> ast.expr:
    """A function of the value; with `:=` inside, the default of its parameter, which assigns where it stands."""
    if any(isinstance(node, ast.NamedExpr) for node in ast.walk(value)):
        parameter = ast.arguments(posonlyargs=[], args=[ast.arg("value")], kwonlyargs=[], kw_defaults=[], defaults=[value])
        return ast.Lambda(parameter, ast.Name("value", ast.Load()))
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, value)


def _located(new: ast.expr, old: ast.expr) -> ast.expr:
    return ast.fix_missing_locations(ast.copy_location(new, old))
