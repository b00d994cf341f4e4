"""What a launch passes to a kernel: types and values of its parameters, as Triton's binder finds them.

Without specialisation on values: no argument is constant because it is 1, and none is known to be divisible by 16.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fuzz_decode.triton_native.parameters import DESCRIPTOR, Constant, Kind, descriptor_values, like

OPTIONS = {"triton.backends.nvidia.compiler": "CUDAOptions", "triton.backends.amd.compiler": "HIPOptions"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one launch by name."""

    meta: dict[str, Any]
    """All of them, for a grid that is a function."""
    types: dict[str, Kind] = field(default_factory=dict)
    """Of those that are passed at run time: "*fp16", "i32", ..., and tuples of them."""
    values: dict[str, Any] = field(default_factory=dict)
    """Values of the kernel's parameters in Triton IR: tensors and numbers."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Values of all others."""


class Parameter(NamedTuple):
    """A parameter of a kernel, as its annotation declares it."""

    name: str
    is_constexpr: bool
    type: str
    """The annotated type; empty: that of the value."""
    pointer: str
    """What a type of a tensor begins with: "*", or "*k" for memory that is only read."""


def bind(function: Any, positional: tuple[Any, ...], named: Mapping[str, Any]) -> Arguments:
    """Raises TypeError or KeyError for arguments that the function does not take, as Triton does."""
    arguments, constants = Arguments(_by_name(function, positional, named)), _constants()
    for parameter in _parameters(function):
        name, value = parameter.name, arguments.meta[parameter.name]
        if parameter.is_constexpr or value is None or isinstance(value, constants):
            arguments.constants[name] = _constant(value)
        else:
            kind = arguments.types[name] = type_of(parameter, value)
            if isinstance(kind, tuple) or kind.startswith(DESCRIPTOR):
                arguments.values.update(_parts(name, kind, value))
                continue
            arguments.values[name] = _runtime_value(value)
            if parameter.type and isinstance(value, int):
                _check_range(parameter, value)
    return arguments


def _by_name(function: Any, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter with its value; options of the launch are left out."""
    parameters = function.signature.parameters
    if not named.keys() <= parameters.keys():
        options = named.keys() - parameters.keys()
        for name in options - _options():
            raise KeyError(f"Keyword argument {name} was specified but unrecognised")
        named = {name: value for name, value in named.items() if name not in options}
    given = {**dict(zip(parameters, positional, strict=False)), **named}
    if len(positional) + len(named) == len(given) == len(parameters):  # each parameter once: there is nothing to find out
        return {name: given[name] for name in parameters}
    bound = function.signature.bind(*positional, **named)
    bound.apply_defaults()
    return dict(bound.arguments)


def _parts(name: str, kind: Kind, value: Any) -> dict[str, Any]:
    """What a tuple or a tensor descriptor passes at run time."""
    if isinstance(kind, Constant):
        return {}
    if not isinstance(kind, tuple):
        if kind.startswith(DESCRIPTOR):
            return descriptor_values(name, value)
        return {name: _runtime_value(value)}
    values: dict[str, Any] = {}
    for number, (part, element) in enumerate(zip(kind, value, strict=True)):
        values.update(_parts(f"{name}.{number}", part, element))
    return values


def _part_type(parameter: Parameter, value: Any) -> Kind:
    if value is None or isinstance(value, _constants()):
        return Constant(_constant(value))
    return type_of(parameter, value)


def _constant(value: Any) -> Any:
    """What a constant stands for, if it is wrapped."""
    return getattr(value, "value", value) if isinstance(value, _constants()[0]) else value


def _runtime_value(value: Any) -> Any:
    """The tensor or number that is passed, without what is wrapped around a tensor."""
    return value if hasattr(value, "untyped_storage") else getattr(value, "base", value)


def type_of(parameter: Parameter, value: Any) -> Kind:
    """The type that Triton gives the argument. Raises TypeError if there is none."""
    if parameter.type:
        return parameter.type
    if isinstance(value, bool):
        return _names()["bool"]
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "u64" if value >= 2**63 else "i64"
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, tuple):
        return like(value, [_part_type(parameter, part) for part in value])
    if hasattr(value, "block_shape"):
        return f"{DESCRIPTOR}{_name_of(value.base.dtype)}{[int(length) for length in value.block_shape]}>"
    if not hasattr(value, "data_ptr"):
        raise TypeError(f"argument {parameter.name}: no kernel takes a {type(value).__name__}")
    return parameter.pointer + _name_of(value.dtype)


def _check_range(parameter: Parameter, value: int) -> None:
    """Raises OverflowError for a number that the annotated type does not hold, as the launcher does."""
    half = _half(parameter.type)
    if not -half <= value < half and not isinstance(value, bool):
        raise OverflowError(f"argument {parameter.name}: {value} does not fit into {parameter.type}")


@functools.cache
def _half(type: str) -> float:
    """The first number that is too large for an annotated integer type; other types are not checked."""
    return 2 ** (int(type[1:]) - 1) if type.startswith("i") else math.inf


@functools.lru_cache(1024)
def _parameters(function: Any) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(each.name, each.is_constexpr, each.annotation_type, "*k" if each.is_const else "*") for each in function.params
    )


@functools.cache
def _constants() -> tuple[type, ...]:
    """Types of values that Triton passes at compile time, whatever the parameter says: numbers of its own, dtypes, functions."""
    from triton.language import constexpr, dtype
    from triton.runtime import jit

    return constexpr, dtype, getattr(jit, "JITCallable", jit.JITFunction)


@functools.cache
def _names() -> dict[str, str]:
    """Triton's short names of dtypes."""
    from triton.runtime import jit

    return dict(jit.type_canonicalisation_dict)


@functools.cache
def _name_of(dtype: Any) -> str:
    return _names()[str(dtype).rpartition(".")[2]]


@functools.cache
def _options() -> frozenset[str]:
    """What can be passed to a launch although it is no parameter: `num_warps` and the like."""
    kinds = (getattr(importlib.import_module(module), name) for module, name in OPTIONS.items())
    return frozenset(option.name for kind in kinds for option in dataclasses.fields(kind))
