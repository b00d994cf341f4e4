"""Functions of scalars that are applied to whole blocks: both sides of a branch are computed, and each lane selects its own."""

from __future__ import annotations

from dataclasses import replace

from fuzz_decode.triton_native import elementwise
from fuzz_decode.triton_native.assemble import ENDS, Scope, Translation, forward
from fuzz_decode.triton_native.operations import Block, Operation
from fuzz_decode.triton_native.program import Program, Value, whole
from fuzz_decode.triton_native.unsupported import Unsupported

PURE = ("arith", "math", "tt.extern_elementwise", "tt.bitcast", "tt.fp_to_fp", "tt.clampf", "tt.mulhiui", "tt.precise")
ENDINGS = ("scf.if", "cf.br", "cf.cond_br", *ENDS)


def applied(scope: Scope, operation: Operation, arguments: list[Value]) -> list[Value]:
    """The region of a reduction, a scan or a map, applied to dense blocks of one length; its results are such blocks."""
    lanes = scope.with_translations({"scf.if": _selection})
    region = forward(operation.regions[0])
    masks = dict[str, Value]()
    lanes.values.update(zip(region[0].arguments, arguments, strict=True))
    for number, block in enumerate(region):
        _check(block)
        results = lanes.straight(block)
        last = block.operations[-1]
        later = {each.label: each for each in region[number + 1 :]}
        if not last.targets and later:
            raise Unsupported(f"several returns in a function of {operation.name}", last.line)
        for (label, names), edge in zip(last.targets, _edges(lanes, last, masks.get(block.label)), strict=True):
            if label not in later:
                raise Unsupported(f"a loop in a function of {operation.name}", last.line)
            _enter(lanes, later[label], [lanes.values[name] for name in names], edge, masks)
    return [_whole(lanes, value, arguments[0].count) for value in results]


def map_elements(scope: Scope, operation: Operation) -> list[Value]:
    """tl.map_elementwise: the function takes `pack` neighbours at once."""
    pack, program = operation.integer("pack"), scope.program
    blocks = [program.densely(value) for value in scope.operands(operation)]
    parts = [part for block in blocks for part in _parts(program, block, pack)]
    results = applied(scope, operation, parts)
    return [_woven(program, results[first : first + pack]) for first in range(0, len(results), pack)]


def _parts(program: Program, block: Value, pack: int) -> list[Value]:
    """Each `pack`-th element, from the first one on, from the second one on, ..."""
    return [block] if pack == 1 else [program.strided(block, [block.count // pack], [pack], first) for first in range(pack)]


def _woven(program: Program, parts: list[Value]) -> Value:
    if len(parts) == 1:
        return parts[0]
    a, b = (_woven(program, parts[half::2]) for half in (0, 1))
    result = program.new(a.dtype, a.count + b.count)
    program.emit("interleave", result, whole(a), whole(b))
    return result


def _edges(lanes: Scope, branch: Operation, mask: Value | None) -> list[Value | None]:
    """Which lanes take each way of the branch; None: all."""
    if len(branch.targets) < 2:
        return [mask] * len(branch.targets)
    taken = lanes.values[branch.operands[0]]
    ways = [taken, elementwise.arithmetic(lanes.program, "xori", taken, elementwise.number(lanes.program, "i1", 1))]
    return [way if mask is None else elementwise.arithmetic(lanes.program, "andi", mask, way) for way in ways]


def _enter(lanes: Scope, block: Block, values: list[Value], edge: Value | None, masks: dict[str, Value]) -> None:
    """The block's arguments in the lanes that come this way, beside those that came before."""
    for name, value in zip(block.arguments, values, strict=True):
        before = lanes.values.get(name) if block.label in masks else None
        lanes.values[name] = value if before is None or edge is None else elementwise.select(lanes.program, edge, value, before)
    if edge is not None:
        before = masks.get(block.label)
        masks[block.label] = edge if before is None else elementwise.arithmetic(lanes.program, "ori", before, edge)


def _selection(scope: Scope, operation: Operation) -> list[Value]:
    """scf.if"""
    condition = scope.operands(operation)[0]
    sides = []
    for region in operation.regions:
        _check(region[0])
        sides.append(scope.straight(region[0]))
    return [elementwise.select(scope.program, condition, a, b) for a, b in zip(*sides, strict=True)]


def _check(block: Block) -> None:
    for operation in block.operations:
        if not operation.name.startswith((*PURE, *ENDINGS)):
            raise Unsupported(f"{operation.name} in a function that combines or maps elements", operation.line)


def _whole(scope: Scope, value: Value, count: int) -> Value:
    return scope.program.densely(value if value.count == count else replace(value, count=count, uniform=True))


TRANSLATIONS: dict[str, Translation] = {"tt.map_elementwise": map_elements}
