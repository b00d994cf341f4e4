"""Variables that a loop carries from one round to the next keep their type, as Triton's compiler demands (code_generator.py).

A name is carried if the compiler knows it before the loop and the loop's body assigns it. After a loop, and after an `if`, the
compiler forgets what was first assigned inside (of an `if`: in one branch only), while Python does not: two loops may use one
name for blocks of different types. Where it depends on constants what the compiler knows, the name is taken as unknown, so that a
kernel that compiles is never refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

LOOP, CARRIED = "_fuzz_decode_loop", "_fuzz_decode_carried"


def check_carried(function: ast.FunctionDef) -> None:
    """Insert into each loop a call of CARRIED with the carried variables at the begin and at the end of a round."""
    parameters = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    _check(function.body, {parameter.arg for parameter in parameters})
    ast.fix_missing_locations(function)


def refuse_changed_types(tl: Any, names: tuple[str, ...], before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    for name, old, new in zip(names, before, after, strict=True):
        if old.__class__ is new.__class__ is tl.tensor and old.type is not new.type and _differ(old.type, new.type):
            raise TypeError(
                f"a round of the loop turns `{name}` from {old.type} into {new.type}; Triton's compiler keeps its type"
            )


def _differ(old: Any, new: Any) -> bool:
    """Not of integers, whose width may be due to an argument of 1, which is a constant for the compiler and takes no part."""
    both_integers = old.scalar.is_int() and new.scalar.is_int()
    return bool(old != new and not (both_integers and getattr(old, "shape", ()) == getattr(new, "shape", ())))


def _check(body: list[ast.stmt], known: set[str]) -> set[str]:
    """The names known after these statements."""
    for statement in body:
        if isinstance(statement, (ast.For, ast.While)):
            _check(statement.body, known | set(_targets(statement)))
            if _is_compiled(statement):
                _insert(statement, sorted(known & _carried(statement)))
        elif isinstance(statement, ast.If):
            known |= _check(statement.body, set(known)) & _check(statement.orelse, set(known))
        elif isinstance(statement, ast.With):
            _check(statement.body, set(known))
        else:
            known |= set(_targets(statement))
    return known


def _is_compiled(loop: ast.For | ast.While) -> bool:
    """As a loop; `static_range` is unrolled, so that a name may change its type there."""
    called = loop.iter if isinstance(loop, ast.For) else None
    return called is None or (isinstance(called, ast.Call) and isinstance(called.func, ast.Name) and called.func.id == LOOP)


def _carried(loop: ast.For | ast.While) -> set[str]:
    """The names that a round assigns, except for variables of loops."""
    inside = [statement for statement in ast.walk(loop) if isinstance(statement, ast.stmt)]
    variables = {name for statement in inside if isinstance(statement, ast.For) for name in _targets(statement)}
    return {name for statement in inside for name in _targets(statement)} - variables


def _targets(statement: ast.stmt) -> Iterator[str]:
    """The names that the statement itself assigns."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    found = (node for target in targets if target for node in ast.walk(target))
    return (node.id for node in found if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _insert(loop: ast.For | ast.While, names: list[str]) -> None:
    if not names:
        return
    kept = f"{CARRIED}_{loop.lineno}_{loop.col_offset}"
    now: ast.expr = ast.Tuple([ast.Name(name, ast.Load()) for name in names], ast.Load())
    constants: ast.expr = ast.Tuple([ast.Constant(name) for name in names], ast.Load())
    call = ast.Call(ast.Name(CARRIED, ast.Load()), [constants, ast.Name(kept, ast.Load()), now], [])
    first, last = ast.Assign([ast.Name(kept, ast.Store())], now), ast.Expr(call)
    loop.body = [ast.copy_location(first, loop.body[0]), *loop.body, ast.copy_location(last, loop.body[-1])]
