"""Triton IR in its printed form, read into operations.

The printed form differs between operations; what is read here is what all have: results, operands, types, attributes as text,
regions, and the line of the kernel. Whatever does not look like that raises Unsupported.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from fuzz_decode.triton_native.locations import Locations
from fuzz_decode.triton_native.operations import POINTER, Block, Function, Operation, Region, Type
from fuzz_decode.triton_native.unsupported import Unsupported


def parse(text: str) -> list[Function]:
    """The functions of a module, the kernel first."""
    locations = Locations(text)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#loc", "module", "}", "#"))]
    reader = _Reader(iter(lines), locations)
    functions = []
    for line in reader.lines:
        if line.strip().startswith("tt.func"):
            functions.append(reader.function(line.strip()))
    if not functions:
        raise Unsupported("a module without a function")
    return sorted(functions, key=lambda function: not function.public)


PRINT_SOURCES = ("tt.broadcast", "tt.trans", "tt.gather")
VALUE = re.compile(r"%[\w.$-]+(?:#\d+)?")


class _Reader:
    def __init__(self, lines: Iterator[str], locations: Locations) -> None:
        self.lines, self.locations = lines, locations

    def function(self, header: str) -> Function:
        name = re.search(r"@\"?([\w.$<>,-]+)\"?\(", header)
        if name is None:
            raise Unsupported(f"the function header {header[:80]!r}")
        inside = _balanced(header, header.index("(", name.end() - 1))
        parameters, types = _arguments(inside)
        region, _ = self.region("")
        return Function(name[1], parameters, types, region, "tt.func public" in header)

    def region(self, label: str) -> tuple[Region, str]:
        """Blocks up to the line that closes them, and that line."""
        blocks = [Block(label, [], [])]
        for line in self.lines:
            text = line.strip()
            if text.startswith("}"):
                return blocks, text
            if text.startswith("^"):
                block = self.block(text)
                if len(blocks) == 1 and not blocks[0].operations:
                    blocks = [block]
                else:
                    blocks.append(block)
            else:
                blocks[-1].operations.append(self.operation(text))
        raise Unsupported("a region that does not end")

    def block(self, text: str) -> Block:
        label = re.match(r"\^\w+", text)
        assert label is not None
        inside = _balanced(text, label.end()) if text[label.end() :].startswith("(") else ""
        return Block(label[0], *_arguments(inside))

    def operation(self, text: str) -> Operation:
        body, place = self.locations.split(text)
        results, body = _results(body)
        name, rest = _name(body)
        operation = Operation(name, results, [], [], rest, place)
        if name == "scf.for":
            self.loop(operation, rest)
        elif name == "scf.while":
            self.while_loop(operation, rest)
        elif name == "scf.if":
            self.branches(operation, rest)
        elif rest.endswith("({"):
            operation.operands = VALUE.findall(rest)
            self.with_regions(operation)
        elif name in ("cf.br", "cf.cond_br"):
            _read_targets(operation, rest)
        else:
            _read_types(operation, rest)
        if len(operation.types) != len(results):
            raise Unsupported(f"{name} with {len(results)} results", place)
        return operation

    def close(self, operation: Operation, end: str) -> str:
        """What follows the closing brace; the operation's line is there."""
        body, operation.line = self.locations.split(end)
        return body

    def loop(self, operation: Operation, rest: str) -> None:
        header, types = _split_arrow(rest)
        bounds, _, carried = header.partition("iter_args(")
        names = VALUE.findall(bounds)
        pairs = re.findall(r"(%[\w.$-]+) = (%[\w.$-]+(?:#\d+)?)", carried)
        operation.variables = [names[0], *(name for name, _ in pairs)]
        operation.operands = [*names[1:], *(value for _, value in pairs)]
        operation.types = _types(types.partition(") ")[0] + ")") if carried else []
        region, end = self.region("")
        operation.regions, operation.text = [region], bounds
        self.close(operation, end)

    def while_loop(self, operation: Operation, rest: str) -> None:
        header, types = _split_arrow(rest)
        pairs = re.findall(r"(%[\w.$-]+) = (%[\w.$-]+(?:#\d+)?)", header)
        operation.variables, operation.operands = [name for name, _ in pairs], [value for _, value in pairs]
        operation.types = _types(types.removesuffix("{"))
        before, _ = self.region("")
        after, end = self.region("")
        operation.regions = [before, after]
        self.close(operation, end)

    def branches(self, operation: Operation, rest: str) -> None:
        header, types = _split_arrow(rest)
        operation.operands = VALUE.findall(header)[:1]
        operation.types = _types(types.removesuffix("{"))
        region, end = self.region("")
        operation.regions = [region]
        if end.startswith("} else"):
            region, end = self.region("")
            operation.regions.append(region)
        self.close(operation, end)

    def with_regions(self, operation: Operation) -> None:
        region, end = self.region("")
        operation.regions = [region]
        body = self.close(operation, end)
        if not body.startswith("})"):
            raise Unsupported(f"{operation.name} with several regions", operation.line)
        operation.sources, operation.types = map(_types, _split_arrow(body.removeprefix("}) : ")))


def _results(body: str) -> tuple[list[str], str]:
    """The names before ` = `; `%x:2` are `%x#0` and `%x#1`."""
    found = re.match(r"(%[\w.$-]+(?::\d+)?(?:, %[\w.$-]+(?::\d+)?)*) = ", body)
    if found is None:
        return [], body
    names: list[str] = []
    for part in found[1].split(", "):
        name, _, count = part.partition(":")
        names += [f"{name}#{number}" for number in range(int(count))] if count else [name]
    return names, body[found.end() :]


def _name(body: str) -> tuple[str, str]:
    found = re.match(r'"?([\w.]+)"? ?', body)
    if found is None:
        raise Unsupported(f"the text {body[:80]!r}")
    return found[1], body[found.end() :]


def _read_targets(operation: Operation, rest: str) -> None:
    head, *_ = rest.split("^", 1)
    operation.operands = VALUE.findall(head)
    operation.targets = [(label, VALUE.findall(arguments or "")) for label, arguments in re.findall(r"(\^\w+)(\([^)]*\))?", rest)]


def _read_types(operation: Operation, rest: str) -> None:
    """Operands, and the types of the results from those that are printed."""
    values, _, types = rest.rpartition(" : ")
    if not values and " : " not in rest:
        values, types = (rest, "") if not rest.startswith(": ") else ("", rest[2:])
    operation.operands = VALUE.findall(
        values if operation.name not in ("tt.print", "tt.assert") else re.sub(r'"[^"]*"', "", rest)
    )
    operation.text = values
    if not operation.results:
        return
    if operation.name == "arith.constant" and rest in ("true", "false"):
        operation.types, operation.text = [Type("i1")], rest
        return
    if "->" in types:
        sources, results = _split_arrow(types)
        operation.types = _types(results)
        operation.sources = _types(sources) if operation.name in PRINT_SOURCES else []
        if operation.name == "tt.split":
            operation.types *= 2
    elif " to " in types:
        operation.types = _types(types.rpartition(" to ")[2])
    else:
        printed = _types(types)
        operation.types = [_derived(operation.name, printed)] if printed else []


def _derived(name: str, printed: list[Type]) -> Type:
    if name in ("arith.cmpi", "arith.cmpf"):
        return Type("i1", printed[0].shape)
    if name == "tt.load":
        return Type(printed[0].pointee, printed[0].shape)
    return printed[-1] if name == "arith.select" else printed[0]


def _split_arrow(text: str) -> tuple[str, str]:
    head, arrow, tail = text.rpartition("->")
    return (head, tail.strip()) if arrow else (text, "")


def _balanced(text: str, start: int) -> str:
    """What stands in the parentheses that open at `start`."""
    depth, quoted = 0, False
    for position in range(start, len(text)):
        character = text[position]
        quoted ^= character == '"'
        depth += (not quoted) * ((character == "(") - (character == ")"))
        if depth == 0:
            return text[start + 1 : position]
    raise Unsupported(f"the text {text[:80]!r}")


def _arguments(text: str) -> tuple[list[str], list[Type]]:
    """Names and types of `%q: !tt.ptr<f16> loc("q"(#loc)), ...`."""
    parts = re.split(r"(?:^|, )(?=%[\w.$-]+: )", text)
    pairs = [part.split(": ", 1) for part in parts if part]
    return [name for name, _ in pairs], [_type(re.split(r" loc\(| \{", type)[0].strip()) for _, type in pairs]


def _types(text: str) -> list[Type]:
    text = text.strip()
    if text.startswith("("):
        text = _balanced(text, 0)
    if "," not in text:
        return [_type(text)] if text else []
    parts, depth = [""], 0
    for character in text.replace("->", "  "):
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [_type(part.strip()) for part in parts if part.strip()]


@functools.lru_cache(4096)
def _type(text: str) -> Type:
    text = text.strip().removesuffix("{").strip()
    if block := re.fullmatch(r"tensor<((?:\d+x)*)(.+)>", text):
        inner = _type(block[2].split(", ")[0] if not block[2].startswith("!") else block[2])
        return Type(inner.dtype, tuple(int(length) for length in block[1].split("x")[:-1]), inner.pointee)
    if pointer := re.fullmatch(r"!tt\.ptr<(.+)>", text):
        pointee = re.sub(r", \d+$", "", pointer[1])
        return Type(POINTER, None, POINTER if pointee.startswith("!") else pointee)
    if re.fullmatch(r"i\d+|f\d\w*|bf16", text):
        return Type(text)
    if text == "index":
        return Type("i64")
    raise Unsupported(f"the type {text}")
