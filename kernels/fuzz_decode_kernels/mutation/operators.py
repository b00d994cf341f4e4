"""Mutation operators: each takes one node of a function's syntax tree and proposes small edits of the text.

They imitate faults of decode kernels: strides, masks, bounds, casts, indices, neutral elements. Parts that only tune are not
edited: integers above 2 (tiles, warps, thresholds) and decorators. An edit need not run, but it must parse: an expression
replaces an expression, in parentheses where it needs them.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

from fuzz_decode_kernels.mutation.source_edits import Code, Edit, parameters

Operator = Callable[[ast.AST, Code], Iterator[Edit]]

STRIDE = re.compile(r"s_(\w)(\w)")  # tensor, axis
INDEX = re.compile(r"[io]_\w+|s_\w\w")
POINTER = re.compile(r"q|\w+_cache|block_table|seq_lens|alibi_slopes|sinks|partial_\w+|out|lse|p_\w+")
DEVICE_VALUE = re.compile(r"[bmp]_\w+")  # blocks of values, masks and pointers
# names of one role: each could be written for another one by mistake
ROLES = (
    r"i_\w+", r"o_\w+", r"num_\w+|group", r"(value_)?head_dim|block_size", r"(\w+_)?(first|last)(_\w+)?|seq_len|split_len",
    r"block_dv?", r"[kv]_cache", r"(\w_)?scale", r"b_[kv]", r"p_[kv]_head", r"b_(max|new|lse)", r"partial_\w+",
)  # fmt: skip
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
INVERSE = {"//": "%", "%": "//", "-": "+", "/": "*", "&": "|"}
CONSTANTS = {"0.0": "1.0", "1.0": "0.0", "2.0": "1.0", "0": "1", "1": "0", "2": "1"}
FUNCTIONS = {
    "tl.maximum": "tl.minimum", "tl.minimum": "tl.maximum", "max": "min", "min": "max", "tl.max": "tl.min", "tl.sum": "tl.max",
    "tl.exp": "tl.exp2", "tl.log": "tl.log2", "tl.exp2": "tl.exp", "tl.log2": "tl.log",
}  # fmt: skip
BOUNDS = {"range", "max", "min", "tl.maximum", "tl.minimum", "triton.cdiv", "tl.cdiv"}
NARROWER = {"tl.float32": "tl.float16", "torch.float32": "torch.float16"}


def swap_stride(node: ast.AST, code: Code) -> Iterator[Edit]:
    """A stride by each other stride of the tensor, and by that of the same axis of the next tensor that has one."""
    if _is_read(node) and (this := STRIDE.fullmatch(node.id)):
        strides = list(filter(None, map(STRIDE.fullmatch, code.bound)))
        same_tensor = [stride[0] for stride in strides if stride[1] == this[1]]
        same_axis = [stride[0] for stride in strides if stride[2] == this[2]]
        others = {*same_tensor, _next(node.id, same_axis)} - {node.id}
        yield from (code.replace(node, name) for name in sorted(others))


def swap_parameters(node: ast.AST, code: Code) -> Iterator[Edit]:
    """Two adjacent parameters of one type in a kernel's signature, as if the launch passed them in the wrong order."""
    if node is code.function and code.function.decorator_list:
        known = [arg for arg in parameters(code.function) if not arg.arg.isupper()]
        for left, right in itertools.pairwise(known):
            if left.annotation and right.annotation and ast.unparse(left.annotation) == ast.unparse(right.annotation):
                yield code.swap(left, right)


def swap_arguments(node: ast.AST, code: Code) -> Iterator[Edit]:
    """Two adjacent arguments of a call of a helper, the two choices of `where`, two values of a returned or unpacked tuple."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    if isinstance(node, ast.Call) and _called(node) == "tl.where":
        pairs = [(node.args[1], node.args[2])]
    if isinstance(node, ast.Call) and _called(node).startswith("_") and "[" not in _called(node):
        pairs = list(itertools.pairwise(node.args))
    if isinstance(node, ast.Return | ast.Assign):
        values = node.value if isinstance(node, ast.Return) else node.targets[0]
        pairs = list(itertools.pairwise(values.elts)) if isinstance(values, ast.Tuple) else []
    yield from (code.swap(left, right) for left, right in pairs)


def swap_names(node: ast.AST, code: Code) -> Iterator[Edit]:
    """Exchange two indices, two offsets or two strides of an expression."""
    if not isinstance(node, ast.BinOp):
        return
    names = dict.fromkeys(name.id for name in ast.walk(node) if _is_read(name) and INDEX.fullmatch(name.id))
    for left, right in itertools.combinations(names, 2):
        if left[:2] == right[:2]:
            exchanged = {left: right, right: left}
            words = re.split(r"\b", code.of(node))
            yield code.replace(node, "".join(exchanged.get(word, word) for word in words))


def replace_name(node: ast.AST, code: Code) -> Iterator[Edit]:
    """A name by the next one of its role that is assigned before."""
    if not _is_read(node):
        return
    for role in ROLES:
        alike = [name for name in code.siblings(node) if re.fullmatch(role, name)]
        if node.id in alike and len(alike) > 1:
            yield code.replace(node, _next(node.id, alike))


def drop_operand(node: ast.AST, code: Code) -> Iterator[Edit]:
    """A factor, a divisor, a subtrahend; either term of a sum, except for a pointer to which an offset is added."""
    if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield code.keep_left(node)
        if isinstance(node.op, ast.Add) and not _goes_on(node) and not POINTER.fullmatch(code.of(node.left)):
            yield code.keep_right(node)


def drop_condition(node: ast.AST, code: Code) -> Iterator[Edit]:
    """One term of a mask or of a condition; one side of a minimum or maximum; a choice that is always the same."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        yield code.keep_left(node)
        if not _goes_on(node):
            yield code.keep_right(node)
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for dropped in node.values:
            yield code.replace(node, word.join(code.operand(value) for value in node.values if value is not dropped))
    if isinstance(node, ast.Call) and _called(node) in {"tl.maximum", "tl.minimum", "max", "min"}:
        yield from (code.replace(node, code.operand(kept)) for kept in node.args)
    if isinstance(node, ast.Call) and _called(node) == "tl.where":
        yield from (code.replace(node, code.operand(kept)) for kept in node.args[1:])
    if isinstance(node, ast.IfExp):
        yield from (code.replace(node, code.operand(kept)) for kept in (node.body, node.orelse))
    if isinstance(node, ast.If):
        yield from (code.replace(node.test, constant) for constant in ("True", "False"))


def drop_mask(node: ast.AST, code: Code) -> Iterator[Edit]:
    """The mask of a load or store; the value that a load gives for masked elements."""
    if isinstance(node, ast.Call):
        masks = [keyword for keyword in node.keywords if keyword.arg in {"mask", "other"}]
        if masks and masks[0].arg == "mask":
            yield code.drop_keywords(node, masks[0], masks[-1])
        yield from (code.drop_keywords(node, other, other) for other in masks if other.arg == "other")


def drop_cast(node: ast.AST, code: Code) -> Iterator[Edit]:
    """A conversion to another type."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "to":
        yield code.replace(node, code.operand(node.func.value))
    if isinstance(node, ast.Call) and _called(node) in {"float", "int"} and not isinstance(node.args[0], ast.Constant):
        yield code.replace(node, code.operand(node.args[0]))


def narrow_type(node: ast.AST, code: Code) -> Iterator[Edit]:
    """float16 where a call is given float32. `full` is left: the type of an accumulator follows from the terms that are added."""
    if isinstance(node, ast.Call) and _called(node) != "tl.full":
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        yield from (code.replace(each, NARROWER[code.of(each)]) for each in given if code.of(each) in NARROWER)


def change_comparison(node: ast.AST, code: Code) -> Iterator[Edit]:
    """Its boundary (< to <=) or its sense (== to !=)."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        sign = code.operator(node.left, node.comparators[0])
        if sign.old in COMPARISONS:
            yield sign.to(COMPARISONS[sign.old])


def off_by_one(node: ast.AST, code: Code) -> Iterator[Edit]:
    """Integer bounds, the programs of a launch, and dividends; constants belong to change_constant."""
    changed: list[tuple[ast.expr, str]] = []
    if isinstance(node, ast.Call) and _called(node) in BOUNDS:
        changed = list(itertools.product(node.args, ("+ 1", "- 1")))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript) and isinstance(node.func.slice, ast.Tuple):
        changed = list(itertools.product(node.func.slice.elts, ("+ 1", "- 1")))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod):
        changed = [(node.left, "+ 1")]
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE):
        changed = [(node.comparators[0], "- 1")]  # + 1 is the same as change_comparison
    yield from (code.replace(bound, f"({code.operand(bound)} {step})") for bound, step in changed if _is_integer(bound))


def change_operator(node: ast.AST, code: Code) -> Iterator[Edit]:
    """An operator by its inverse, a minus sign by none, a function by its counterpart."""
    if isinstance(node, ast.BinOp):
        sign = code.operator(node.left, node.right)
        if sign.old in INVERSE:
            yield sign.to(INVERSE[sign.old])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield code.replace(node, code.operand(node.operand))
    if isinstance(node, ast.Call) and _called(node) in FUNCTIONS:
        yield code.replace(node.func, FUNCTIONS[_called(node)])


def change_constant(node: ast.AST, code: Code) -> Iterator[Edit]:
    """0, 1, 2 and -inf. The start of `arange` is left: another one does not compile."""
    if isinstance(node, ast.Call) and code.of(node) == 'float("-inf")':
        yield code.replace(node, "0.0")
    skipped = {node.args[0]} if isinstance(node, ast.Call) and _called(node) == "tl.arange" else set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant) and child not in skipped and code.of(child) in CONSTANTS:
            yield code.replace(child, CONSTANTS[code.of(child)])


def swap_axes(node: ast.AST, code: Code) -> Iterator[Edit]:
    """[:, None] for [None, :] and the reverse."""
    if isinstance(node, ast.Subscript):
        other = {":, None": "None, :", "None, :": ":, None"}.get(code.of(node.slice))
        yield from (code.replace(node.slice, new) for new in filter(None, [other]))


def delete_statement(node: ast.AST, code: Code) -> Iterator[Edit]:
    """A store, or an assignment to a name that has a value already."""
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield code.replace(node, "pass")
    if isinstance(node, ast.Assign) and all(_has_value(target, code) for target in node.targets):
        yield code.replace(node, "pass")


OPERATORS: dict[str, Operator] = {
    function.__name__.replace("_", "-"): function
    for function in (
        swap_stride, swap_parameters, swap_arguments, swap_names, swap_axes, replace_name, drop_operand, drop_condition,
        drop_mask, drop_cast, narrow_type, change_comparison, change_operator, change_constant, off_by_one, delete_statement,
    )
}  # fmt: skip


def _next(name: str, names: list[str]) -> str:
    return names[(names.index(name) + 1) % len(names)]


def _is_read(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _goes_on(node: ast.BinOp) -> bool:
    """Whether the left side is a chain of the same operator: (a + b) + c."""
    return isinstance(node.left, ast.BinOp) and type(node.left.op) is type(node.op)


def _is_integer(node: ast.AST) -> bool:
    """Whether an expression computes an integer, as far as its names tell."""
    parts = list(ast.walk(node))
    values = any(isinstance(part, ast.Name) and DEVICE_VALUE.fullmatch(part.id) for part in parts)
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    return not isinstance(node, ast.Constant) and not values and all(isinstance(value, int) for value in constants)


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def _has_value(target: ast.expr, code: Code) -> bool:
    names: list[Any] = [name for name in ast.walk(target) if isinstance(name, ast.Name)]
    return all(code.bound[name.id] < target.lineno for name in names)
