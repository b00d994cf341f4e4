"""What a launch passes to a kernel: types and values of its parameters, as Triton's binder finds them.

Without specialisation on values: no argument is constant because it is 1, and none is known to be divisible by 16.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fuzz_decode.triton_native.execute import Unsupported

OPTIONS = {"triton.backends.nvidia.compiler": "CUDAOptions", "triton.backends.amd.compiler": "HIPOptions"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one launch by name."""

    meta: dict[str, Any]
    """All of them, for a grid that is a function."""
    types: dict[str, str] = field(default_factory=dict)
    """Of those that are passed at run time: "*fp16", "i32", ..."""
    values: dict[str, Any] = field(default_factory=dict)
    """Their values: tensors and numbers."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Values of all others."""


def bind(function: Any, positional: tuple[Any, ...], named: Mapping[str, Any]) -> Arguments:
    """Raises TypeError or KeyError for arguments that the function does not take, as Triton does, and Unsupported."""
    parameters = function.signature.parameters
    for name in named:
        if name not in parameters and name not in _options():
            raise KeyError(f"Keyword argument {name} was specified but unrecognised")
    bound = function.signature.bind(*positional, **{name: value for name, value in named.items() if name in parameters})
    bound.apply_defaults()
    arguments = Arguments(dict(bound.arguments))
    for parameter in function.params:
        _add(arguments, parameter, bound.arguments[parameter.name])
    return arguments


def _add(arguments: Arguments, parameter: Any, value: Any) -> None:
    name = parameter.name
    if parameter.is_constexpr or _is_constant(value):
        arguments.constants[name] = _without_wrapper(value)
        return
    arguments.types[name] = type_of(parameter, value)
    arguments.values[name] = _checked(name, arguments.types[name], getattr(value, "base", value))


def type_of(parameter: Any, value: Any) -> str:
    """The type that Triton gives the argument. Raises TypeError if there is none, Unsupported."""
    if parameter.annotation_type:
        return str(parameter.annotation_type)
    if isinstance(value, bool):
        return _names()["bool"]
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "u64" if value >= 2**63 else "i64"
    if isinstance(value, float):
        return "fp32"
    if isinstance(value, tuple) or hasattr(value, "block_shape"):
        what = "a tuple" if isinstance(value, tuple) else "a tensor descriptor"
        raise Unsupported(f"{what} as the argument {parameter.name} is not translated")
    if not hasattr(value, "data_ptr"):
        raise TypeError(f"argument {parameter.name}: no kernel takes a {type(value).__name__}")
    return ("*k" if parameter.is_const else "*") + _names()[str(value.dtype).rpartition(".")[2]]


def _is_constant(value: Any) -> bool:
    """Whether Triton passes it at compile time, whatever the parameter says: nothing, a number of its own, a function, a type."""
    from triton.language import constexpr, dtype

    return value is None or isinstance(value, (constexpr, dtype)) or hasattr(value, "cache_key")


def _without_wrapper(value: Any) -> Any:
    from triton.language import constexpr

    return value.value if isinstance(value, constexpr) else value


def _checked(name: str, type: str, value: Any) -> Any:
    """The value, if a parameter of that type can hold it. Raises OverflowError, as the launcher does."""
    if type[0] == "i" and isinstance(value, int) and not -(2 ** (int(type[1:]) - 1)) <= value < 2 ** (int(type[1:]) - 1):
        raise OverflowError(f"argument {name}: {value} does not fit into {type}")
    return value


@functools.cache
def _names() -> dict[str, str]:
    """Triton's short names of dtypes."""
    from triton.runtime import jit

    return dict(jit.type_canonicalisation_dict)


@functools.cache
def _options() -> frozenset[str]:
    """What can be passed to a launch although it is no parameter: `num_warps` and the like."""
    kinds = (getattr(importlib.import_module(module), name) for module, name in OPTIONS.items())
    return frozenset(option.name for kind in kinds for option in dataclasses.fields(kind))
