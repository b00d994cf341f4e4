"""What the arguments of a launch become as parameters in Triton IR: a tuple becomes its parts, and a tensor descriptor, which a
host made, becomes a pointer with sizes and strides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DESCRIPTOR = "tensordesc<"
FLAGS = ("padding", "round_f32_to_tf32")  # of a descriptor; how many of them are parameters depends on the release


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of a tuple whose value is known at compile time."""

    value: Any


Kind = Any  # "*fp16", "i32", "tensordesc<fp16[16, 32]>", a Constant, or a tuple of kinds


def passed(kinds: Mapping[str, Kind]) -> Iterator[tuple[str, str]]:
    """Name and type of each argument and each part of a tuple that is passed at run time."""
    for name, kind in kinds.items():
        if isinstance(kind, tuple):
            yield from passed({f"{name}.{number}": part for number, part in enumerate(kind)})
        elif not isinstance(kind, Constant):
            yield name, kind


def parameters(kinds: Mapping[str, Kind], count: int) -> list[str]:
    """The names of the `count` parameters that the kernel has in Triton IR."""
    arguments = list(passed(kinds))
    ranks = {name: kind.count(",") + 1 for name, kind in arguments if kind.startswith(DESCRIPTOR)}
    flags = (count - len(arguments) - sum(4 * rank for rank in ranks.values())) // (len(ranks) or 1)
    return [part for name, _ in arguments for part in (_parts(name, ranks[name], flags) if name in ranks else [name])]


def _parts(name: str, rank: int, flags: int) -> list[str]:
    """Sizes and strides come twice: the compiler splits the descriptor, and its author had passed them beside it."""
    numbers = [f"{name}.{what}.{axis}" for what in ("shape", "strides") for axis in range(rank)]
    return [name, *numbers, *(f"{name}.{flag}" for flag in FLAGS[:flags]), *(f"{number} beside" for number in numbers)]


def descriptor_values(name: str, descriptor: Any) -> dict[str, Any]:
    """The parameters that a tensor descriptor of the host becomes."""
    lists = {"shape": descriptor.shape, "strides": descriptor.strides}
    numbers = {f"{name}.{what}.{axis}": int(number) for what, values in lists.items() for axis, number in enumerate(values)}
    flags = {
        "padding": getattr(descriptor, "padding", "zero") == "nan",
        "round_f32_to_tf32": getattr(descriptor, "round_f32_to_tf32", False),
    }
    return {
        name: descriptor.base,
        **numbers,
        **{f"{name}.{flag}": value for flag, value in flags.items()},
        **{f"{number} beside": value for number, value in numbers.items()},
    }


def signature_of(kind: Kind) -> Any:
    """As the front end takes it: constants are "constexpr", and a named tuple keeps its names."""
    if not isinstance(kind, tuple):
        return "constexpr" if isinstance(kind, Constant) else kind
    return like(kind, [signature_of(part) for part in kind])


def constants_of(kind: Kind, path: tuple[int, ...]) -> dict[tuple[int, ...], Any]:
    """The constants in a tuple by their places."""
    if isinstance(kind, Constant):
        return {path: kind.value}
    parts = enumerate(kind) if isinstance(kind, tuple) else ()
    return {place: value for number, part in parts for place, value in constants_of(part, (*path, number)).items()}


def like(given: tuple[Any, ...], parts: Iterable[Any]) -> tuple[Any, ...]:
    """A tuple of the same type."""
    return type(given)(*parts) if hasattr(given, "_fields") else tuple(parts)
