"""Operations of Triton IR that compute blocks, each as instructions of the machine."""

from __future__ import annotations

import re
import struct

from fuzz_decode.triton_native import dots, elementwise, lanewise, libdevice, memory, reductions, shapes
from fuzz_decode.triton_native.assemble import CONTROL, Scope, Translation
from fuzz_decode.triton_native.operations import Operation
from fuzz_decode.triton_native.program import PROGRAM_IDS, SIZES, Value, packed, whole
from fuzz_decode.triton_native.unsupported import Unsupported


def constant(scope: Scope, operation: Operation) -> list[Value]:
    type, text = operation.types[0], operation.text.strip()
    if found := re.match(r"dense<(.*)>$", text):
        text = found[1]
    if text.startswith("["):
        numbers = [_element(type.dtype, part) for part in re.findall(r"[^\[\], ]+", text)]
        return [scope.program.constant(type.dtype, b"".join(numbers), type.count)]
    if text.startswith('"'):
        return [scope.program.constant(type.dtype, bytes.fromhex(text.strip('"').removeprefix("0x")), type.count)]
    value = scope.program.constant(type.dtype, _element(type.dtype, text))
    return [Value(value.buffer, type.dtype, type.count, uniform=True) if type.count > 1 else value]


def _element(dtype: str, text: str) -> bytes:
    if text in ("true", "false"):
        return bytes([text == "true"])
    if text.startswith("0x"):
        return int(text, 16).to_bytes(SIZES[dtype], "little")
    try:
        return packed(dtype, float(text) if "." in text or "e" in text else int(text))
    except (ValueError, OverflowError, struct.error):
        raise Unsupported(f"the constant {text} of type {dtype}") from None


def arithmetic(scope: Scope, operation: Operation) -> list[Value]:
    """arith.* and math.*"""
    program, name, type = scope.program, operation.name.split(".")[1], operation.types[0]
    values = scope.operands(operation)
    if name in ("cmpi", "cmpf"):
        return [elementwise.compare(program, f"{name}.{operation.text.split(',')[0].strip()}", *values[:2])]
    if name == "select":
        return [elementwise.select(program, *values[:3])]
    if name in ("extsi", "extui", "trunci"):
        return [elementwise.resize(program, name, values[0], type.dtype)]
    if name == "index_cast":
        wider = SIZES[type.dtype] > values[0].size
        return [elementwise.resize(program, "extsi" if wider else "trunci", values[0], type.dtype)]
    if name in ("extf", "truncf"):
        return [elementwise.convert(program, values[0], type.dtype)]
    if name in ("sitofp", "uitofp"):
        return [elementwise.integer_to_float(program, name, values[0], type.dtype)]
    if name in ("fptosi", "fptoui"):
        return [elementwise.float_to_integer(program, name, values[0], type.dtype)]
    if name == "bitcast":
        return [elementwise.reinterpret(program, values[0], type.dtype)]
    return [elementwise.arithmetic(program, name, *values)]


def bitcast(scope: Scope, operation: Operation) -> list[Value]:
    return [elementwise.reinterpret(scope.program, scope.operands(operation)[0], operation.types[0].dtype)]


def convert(scope: Scope, operation: Operation) -> list[Value]:
    rounding = "truncate" if "rounding = rtz" in operation.text else "convert"
    return [elementwise.convert(scope.program, scope.operands(operation)[0], operation.types[0].dtype, rounding)]


def clamp(scope: Scope, operation: Operation) -> list[Value]:
    name = "clampf_nan" if "propagateNan = all" in operation.text else "clampf"
    return [elementwise.arithmetic(scope.program, name, *scope.operands(operation))]


def _named(name: str) -> Translation:
    return lambda scope, operation: [elementwise.arithmetic(scope.program, name, *scope.operands(operation))]


def add_pointer(scope: Scope, operation: Operation) -> list[Value]:
    pointer, offset = scope.operands(operation)
    size = SIZES.get(operation.types[0].pointee)
    if size is None:
        raise Unsupported(f"pointers to {operation.types[0].pointee}", operation.line)
    return [elementwise.add_pointer(scope.program, pointer, offset, size)]


def program_id(scope: Scope, operation: Operation) -> list[Value]:
    axis = "xyz".index(operation.text.strip()[0])
    place = axis + 3 * (operation.name == "tt.get_num_programs")
    return [Value(PROGRAM_IDS, "i32", 1, offset=4 * place)]


def assertion(scope: Scope, operation: Operation) -> None:
    condition = scope.operands(operation)[0]
    message = re.search(r'"([^"]*)"', operation.text)
    scope.program.messages[len(scope.program.instructions)] = message[1] if message else ""
    condition = condition if condition.uniform else scope.program.densely(condition)
    scope.program.emit("assert", None, whole(condition), shape=(1, 1 if condition.uniform else condition.count))


def nothing(scope: Scope, operation: Operation) -> None:
    """tt.print; `tl.assume`, which only promises something to the optimizer; barriers, since instructions run in order."""


TRANSLATIONS: dict[str, Translation] = {
    **CONTROL,
    **dots.TRANSLATIONS,
    **lanewise.TRANSLATIONS,
    **memory.TRANSLATIONS,
    **reductions.TRANSLATIONS,
    **shapes.TRANSLATIONS,
    "arith.constant": constant,
    "arith": arithmetic,
    "math": arithmetic,
    "tt.bitcast": bitcast,
    "tt.int_to_ptr": bitcast,
    "tt.ptr_to_int": bitcast,
    "tt.fp_to_fp": convert,
    "tt.clampf": clamp,
    "tt.mulhiui": _named("mulhiui"),
    "tt.precise_sqrt": _named("sqrt"),
    "tt.precise_divf": _named("divf"),
    "tt.extern_elementwise": libdevice.library_function,
    "tt.addptr": add_pointer,
    "tt.get_program_id": program_id,
    "tt.get_num_programs": program_id,
    "tt.assert": assertion,
    "tt.print": nothing,
    "llvm.intr.assume": nothing,
    "ttg.barrier": nothing,
    "gpu.barrier": nothing,
}
