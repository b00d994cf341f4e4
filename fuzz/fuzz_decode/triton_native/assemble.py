"""Triton IR to a program of the machine: values and control flow. Loops, branches and calls become jumps."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from fuzz_decode.triton_native import elementwise
from fuzz_decode.triton_native.operations import Block, Function, Operation, Region, Type
from fuzz_decode.triton_native.program import Label, Program, Value
from fuzz_decode.triton_native.unsupported import Unsupported

ENDS = ("scf.yield", "scf.condition", "tt.reduce.return", "tt.scan.return", "tt.map_elementwise.return")
Translation = Callable[["Scope", Operation], "list[Value] | None"]


class Scope:
    """A function that is being translated: the values of its names."""

    def __init__(self, program: Program, functions: dict[str, Function], translations: dict[str, Translation]) -> None:
        self.program, self.functions, self.translations = program, functions, translations
        self.values: dict[str, Value] = {}
        self.users: dict[str, set[str]] = {}
        """The names of the operations that use each value."""
        self.leave: Callable[[list[Value]], None] = lambda values: program.emit("finish", None)
        """Emits what a return of these values means."""

    def inner(self) -> Scope:
        return Scope(self.program, self.functions, self.translations)

    def with_translations(self, others: dict[str, Translation]) -> Scope:
        """The same values, with some operations translated in another way."""
        scope = Scope(self.program, self.functions, {**self.translations, **others})
        scope.values, scope.users, scope.leave = self.values, self.users, self.leave
        return scope

    def operands(self, operation: Operation) -> list[Value]:
        return [self.values[name] for name in operation.operands]

    def body(self, function: Function, arguments: list[Value]) -> None:
        self.values.update(zip(function.parameters, arguments, strict=True))
        self.users = _users(function.blocks)
        self.blocks(function.blocks)

    def blocks(self, region: Region) -> None:
        """A function's blocks, each after all that branch to it."""
        region = forward(region)
        labels: dict[str, Label] = {}
        for block in region:
            labels[block.label] = self.program.label()
            self.values.update(zip(block.arguments, map(self.variable, block.types), strict=True))
        for number, block in enumerate(region):
            self.program.place(labels[block.label])
            ahead = {later.label: later for later in region[number + 1 :]}
            for operation in block.operations:
                self.program.line = operation.line
                if operation.targets:
                    self.branch(operation, labels, ahead)
                else:
                    self.operation(operation)

    def branch(self, operation: Operation, labels: dict[str, Label], ahead: dict[str, Block]) -> None:
        for number, (label, names) in enumerate(operation.targets):
            if label not in ahead:
                raise Unsupported("a branch backwards", operation.line)
            other = self.program.label()
            if number + 1 < len(operation.targets):
                self.program.jump(other, unless=self.values[operation.operands[0]])
            self.carry([self.values[name] for name in ahead[label].arguments], [self.values[name] for name in names])
            self.program.jump(labels[label])
            self.program.place(other)

    def operation(self, operation: Operation) -> None:
        translation = self.translations.get(operation.name) or self.translations.get(operation.name.partition(".")[0])
        if translation is None:
            raise Unsupported(operation.name, operation.line)
        self.program.line = operation.line
        results = translation(self, operation) or []
        self.values.update(zip(operation.results, results, strict=True))

    def straight(self, block: Block) -> list[Value]:
        """A block; the operands of the operation that ends it, if that is printed."""
        for operation in block.operations:
            if operation.name in ENDS or operation.targets:
                return self.operands(operation)
            self.operation(operation)
        return []

    def variable(self, type: Type) -> Value:
        return self.program.new(type.dtype, type.count)

    def carry(self, targets: list[Value], sources: list[Value]) -> None:
        """Assign all at once: a source that is another target is saved before."""
        taken = {target.buffer for target in targets}
        for number, (target, source) in enumerate(zip(targets, sources, strict=True)):
            if source.buffer in taken and source != target:
                saved = self.program.new(source.dtype, source.count)
                self.program.move(saved, source)
                sources[number] = saved
        for target, source in zip(targets, sources, strict=True):
            if source != target:
                self.program.move(target, source)


def _users(region: Region) -> dict[str, set[str]]:
    users = defaultdict[str, set[str]](set)
    for operation in _operations(region):
        for name in operation.operands:
            users[name].add(operation.name)
    return users


def _operations(region: Region) -> Iterator[Operation]:
    for block in region:
        for operation in block.operations:
            yield operation
            for inner in operation.regions:
                yield from _operations(inner)


def forward(region: Region) -> Region:
    """The blocks that can be reached, such that branches go forward where there is no circle."""
    by_label = {block.label: block for block in region}
    ordered: dict[str, Block] = {}
    seen: set[str] = set()

    def visit(block: Block) -> None:
        seen.add(block.label)
        for operation in block.operations:
            for label, _ in operation.targets:
                if label not in seen:
                    visit(by_label[label])
        ordered[block.label] = block

    visit(region[0])
    return list(reversed(ordered.values()))


def single(operation: Operation, region: Region) -> Block:
    if len(region) != 1:
        raise Unsupported(f"{operation.name} with branches inside", operation.line)
    return region[0]


def for_loop(scope: Scope, operation: Operation) -> list[Value]:
    program = scope.program
    low, high, step, *initial = scope.operands(operation)
    counter = program.new(low.dtype, 1)
    carried = [scope.variable(type) for type in operation.types]
    scope.carry([counter, *carried], [low, *initial])
    with _loop(program) as end:
        relation = "ult" if "unsigned" in operation.text else "slt"
        program.jump(end, unless=elementwise.compare(program, f"cmpi.{relation}", counter, high))
        scope.values.update(zip(operation.variables, [counter, *carried], strict=True))
        results = scope.straight(single(operation, operation.regions[0]))
        scope.carry(carried, results)
        program.move(counter, elementwise.arithmetic(program, "addi", counter, step))
    return carried


@contextlib.contextmanager
def _loop(program: Program) -> Iterator[Label]:
    """What is emitted within it is repeated until it jumps to the label."""
    head, end = program.label(), program.label()
    program.place(head)
    start = len(program.instructions)
    yield end
    program.jump(head)
    program.loops.append((start, len(program.instructions) - 1))
    program.place(end)


def while_loop(scope: Scope, operation: Operation) -> list[Value]:
    program = scope.program
    before, after = (single(operation, region) for region in operation.regions)
    initial = scope.operands(operation)
    carried = [program.new(value.dtype, value.count) for value in initial]
    results = [scope.variable(type) for type in operation.types]
    scope.carry(carried, initial)
    with _loop(program) as end:
        scope.values.update(zip(operation.variables, carried, strict=True))
        condition, *passed = scope.straight(before)
        scope.carry(results, passed)
        program.jump(end, unless=condition)
        scope.values.update(zip(after.arguments, results, strict=True))
        scope.carry(carried, scope.straight(after))
    return results


def branches(scope: Scope, operation: Operation) -> list[Value]:
    program = scope.program
    results = [scope.variable(type) for type in operation.types]
    otherwise, end = program.label(), program.label()
    program.jump(otherwise, unless=scope.operands(operation)[0])
    for number, region in enumerate(operation.regions):
        block = single(operation, region)
        scope.carry(results, scope.straight(block))
        if number == 0:
            if len(operation.regions) > 1:
                program.jump(end)
            program.place(otherwise)
    program.place(end)
    return results


def call(scope: Scope, operation: Operation) -> list[Value]:
    """The called function's body, in place."""
    program, name = scope.program, re.search(r"@\"?([\w.$<>,-]+)\"?\(", operation.text)
    if name is None or name[1] not in scope.functions:
        raise Unsupported("a call of an unknown function", operation.line)
    results = [scope.variable(type) for type in operation.types]
    end, inner = program.label(), scope.inner()

    def leave(values: list[Value]) -> None:
        scope.carry(results, values)
        program.jump(end)

    inner.leave = leave
    inner.body(scope.functions[name[1]], scope.operands(operation))
    program.place(end)
    return results


def leave(scope: Scope, operation: Operation) -> None:
    scope.leave(scope.operands(operation))


CONTROL: dict[str, Translation] = {
    "scf.for": for_loop,
    "scf.while": while_loop,
    "scf.if": branches,
    "tt.call": call,
    "tt.return": leave,
}
