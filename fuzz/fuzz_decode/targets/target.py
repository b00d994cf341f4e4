"""A target: any function `fn(q, k_cache, v_cache, block_table, seq_lens, scale, *, <options>) -> out | (out, lse)`.

The signature is the capability list: an option is generated and passed only if the function has a parameter of that name.
`@target(...)` narrows further. The first six arguments are passed by position, options by keyword.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.case_space import CaseSpace
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES, FINITE_PLACES
from fuzz_decode.cases.finite_places import places_in_order, with_finite
from fuzz_decode.cases.optional_arguments import generated_parameters
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.errors import TargetError

POSITIONAL = ("q", "k_cache", "v_cache", "block_table", "seq_lens", "scale")
DEVICES = ("cpu", "cuda")
COMPILED_FOR = ("dtype", "cache_dtype", "head_dim", "value_head_dim", "block_size", "group")  # and which options are used
CompilesFor = Callable[[Case], Hashable] | tuple[str, ...] | None
_ATTRIBUTE = "__fuzz_decode_target__"

Function = TypeVar("Function", bound=Callable[..., Any])
Declared = TypeVar("Declared")


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Where a kernel rounds, so that the error bound is sound for it."""

    probabilities: str = "input"
    """dtype of P where it is multiplied with V; `input` is the dtype of q."""
    scores: str = "float32"
    """`input` if q * scale, or each product q_i * k_i, is rounded to the dtype of q."""
    score_sums: str = "float32"
    """`input` if q.k is summed in the dtype of q (`tl.sum(q * k)` in Triton)."""
    dots: str = "tf32"
    """What a matrix product makes of float32 operands on a GPU; `tl.dot` without input_precision makes them tf32."""
    tanh: str = "float32"
    """`approx` if softcap is tanh.approx.f32."""
    dequantised: str = "input"
    """`input` if K * k_scale and V * v_scale of float8 caches are rounded to the dtype of q, `float32` if only scores and sums
    are scaled."""
    scaled_after_sum: bool = False
    """q.k is summed first and scaled then, so that data on an integer grid sums exactly (a sharper bound)."""
    same_bits_anywhere: bool = False
    """The same values in another layout must give the same bits; otherwise both must be within the bound."""
    deterministic: bool = True
    """Two runs must give the same bits."""


@dataclass(frozen=True, slots=True)
class Target:
    """A function under test and what it can do. None in a limit: everything that is generated."""

    name: str
    fn: Callable[..., Any]
    options: frozenset[str]
    """Optional parameters that the function has."""
    dtypes: tuple[str, ...] = DTYPES
    cache_dtypes: tuple[str, ...] = CACHE_DTYPES
    head_dims: tuple[int, ...] | None = None
    value_head_dims: tuple[int, ...] | Literal["head_dim"] | None = None
    block_sizes: tuple[int, ...] | None = None
    groups: tuple[int, ...] | None = None
    num_kv_heads: tuple[int, ...] | None = None
    min_seq_len: int = 0
    strides: StrideRules = StrideRules()
    supports: Callable[[Case], str | None] | None = None
    """None, or in a few words why a case is not for this kernel."""
    arithmetic: Arithmetic | Callable[[Case], Arithmetic] = Arithmetic()
    devices: tuple[str, ...] = DEVICES
    compiles_for: CompilesFor = None
    """Fields of a case that a kernel is compiled for, or a function of the case; None: COMPILED_FOR, and the options used."""
    may_allocate: bool = False
    """Whether it takes `out` and also runs without."""
    needs_finite: tuple[str, ...] = ()
    """Places among FINITE_PLACES where it multiplies by 0 what should not matter, so that it needs finite numbers there."""

    def as_declared(self, case: Case) -> Case:
        """The case with finite numbers where the target needs them: one that was stored for another target may lack some."""
        return with_finite(case, self.needs_finite)

    def needing_finite(self, places: tuple[str, ...]) -> Target:
        """The target with more such places."""
        return dataclasses.replace(self, needs_finite=places_in_order((*self.needs_finite, *places)))

    def unsupported_reason(self, case: Case) -> str | None:
        """Why the target cannot take the case; None if it can."""
        value_head_dims = (case.head_dim,) if self.value_head_dims == "head_dim" else self.value_head_dims
        lists = (
            ("dtype", case.dtype, self.dtypes),
            ("cache_dtype", case.cache_dtype, (None, *self.cache_dtypes)),
            ("head_dim", case.head_dim, self.head_dims),
            ("value_head_dim", case.value_head_dim, value_head_dims),
            ("block_size", case.block_size, self.block_sizes),
            ("group", case.group, self.groups),
            ("num_kv_heads", case.num_kv_heads, self.num_kv_heads),
        )
        for name, value, allowed in lists:
            if allowed is not None and value not in allowed:
                return f"{name} {value}"
        for option in sorted(case.options() - self.options):
            return f"no {option}"
        if min(case.seq_lens) < self.min_seq_len:
            return f"sequence shorter than {self.min_seq_len}"
        reason = self.strides.violation(case) or (self._declared("supports", self.supports, case) if self.supports else None)
        return None if reason is None else str(reason)

    def arithmetic_of(self, case: Case) -> Arithmetic:
        """Where the target rounds on this case; a kernel's paths may differ."""
        return self._declared("arithmetic", self.arithmetic, case) if callable(self.arithmetic) else self.arithmetic

    def compile_key(self, case: Case) -> Hashable:
        """Cases with the same key are run by the same compiled kernels."""
        if callable(self.compiles_for):
            return self.compiles_for(case)
        if self.compiles_for is not None:
            return tuple(getattr(case, name) for name in self.compiles_for)
        return (*(getattr(case, name) for name in COMPILED_FOR), *sorted(case.options()))

    def _declared(self, name: str, fn: Callable[[Case], Declared], case: Case) -> Declared:
        """What a function of the declaration says of a case. Raises TargetError if it raises."""
        try:
            return fn(case)
        except (Exception, SystemExit) as error:
            raise TargetError(f"target {self.name}: {name} raised {type(error).__name__}: {error}"[:500]) from error

    def case_space(self) -> CaseSpace:
        """The cases to draw for the target: those that it declares to take."""
        return CaseSpace(
            dtypes=self.dtypes,
            cache_dtypes=self.cache_dtypes,
            head_dims=self.head_dims,
            value_head_dims=self.value_head_dims,
            block_sizes=self.block_sizes,
            groups=self.groups,
            num_kv_heads=self.num_kv_heads,
            options=self.options,
            min_seq_len=self.min_seq_len,
            strides=self.strides,
            finite=self.needs_finite,
        )


def target(
    *,
    dtypes: tuple[str, ...] = DTYPES,
    cache_dtypes: tuple[str, ...] = CACHE_DTYPES,
    head_dims: tuple[int, ...] | None = None,
    value_head_dims: tuple[int, ...] | Literal["head_dim"] | None = None,
    block_sizes: tuple[int, ...] | None = None,
    groups: tuple[int, ...] | None = None,
    num_kv_heads: tuple[int, ...] | None = None,
    min_seq_len: int = 0,
    strides: StrideRules = StrideRules(),
    supports: Callable[[Case], str | None] | None = None,
    arithmetic: Arithmetic | Callable[[Case], Arithmetic] = Arithmetic(),
    devices: tuple[str, ...] = DEVICES,
    compiles_for: CompilesFor = None,
    needs_finite: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Declare what a decode function can do, beyond what its signature says. The function itself is returned unchanged.

    `cache_dtypes`: dtypes of caches, other than that of q, that a function with parameters `k_scale` and `v_scale` can read.
    `value_head_dims="head_dim"`: V's rows are as long as K's. `strides`: its assumptions, which drawn cases keep.
    `supports(case)` returns None, or in a few words why the case is not for this kernel; such a case is drawn, and rejected.
    `arithmetic` may be a function of the case. `devices`: where it runs. `compiles_for`: names of the fields of a case that it
    compiles a kernel for, or a function of the case to the values that it compiles for (plain ones); None: COMPILED_FOR, and
    which options are used. `needs_finite`: places among FINITE_PLACES where memory that weighs nothing must hold finite numbers.
    """
    limits = {
        "dtypes": dtypes,
        "cache_dtypes": cache_dtypes,
        "head_dims": head_dims,
        "value_head_dims": value_head_dims,
        "block_sizes": block_sizes,
        "groups": groups,
        "num_kv_heads": num_kv_heads,
        "min_seq_len": min_seq_len,
        "strides": strides,
        "supports": supports,
        "arithmetic": arithmetic,
        "devices": devices,
        "compiles_for": compiles_for,
        "needs_finite": needs_finite,
    }

    def declare(fn: Function) -> Function:
        setattr(fn, _ATTRIBUTE, limits)
        return fn

    return declare


def parameters(fn: Callable[..., Any]) -> tuple[list[str], list[inspect.Parameter]]:
    """Names of the parameters that take the first six arguments, fewer if the function takes fewer, and the other parameters.

    `*args` takes the rest of the six. Raises ValueError if the function has no signature.
    """
    every = inspect.signature(fn).parameters.values()
    positional = [p for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in positional[: len(POSITIONAL)]]
    names += [f"*{p.name}" for p in every if p.kind is p.VAR_POSITIONAL for _ in POSITIONAL[len(names) :]]
    return names, [*positional[len(POSITIONAL) :], *(p for p in every if p.kind is p.KEYWORD_ONLY)]


def target_from_function(name: str, fn: Callable[..., Any], **limits: Any) -> Target:
    """The Target that a function's signature and declaration describe. Raises TargetError if it cannot be called as one."""
    try:
        first, rest = parameters(fn)
    except ValueError as error:
        raise TargetError(f"target {name}: has no signature to read; wrap it in a Python function") from error
    if len(first) < len(POSITIONAL):
        raise TargetError(
            f"target {name}: takes {len(first)} positional arguments; a target takes ({', '.join(POSITIONAL)}, *, <options>)"
        )
    generated = generated_parameters()
    passed = ", ".join(sorted(generated))
    for parameter in rest:
        if parameter.default is parameter.empty and parameter.name not in generated:
            raise TargetError(f"target {name}: parameter {parameter.name!r} has no default, and only {passed} are passed")
    limits = {**_declared(fn), **limits}
    named = limits.get("compiles_for")
    for field in named if isinstance(named, tuple) else ():
        if not hasattr(Case, field):
            raise TargetError(f"target {name}: compiles_for names {field!r}, which no case has; dtype or head_dim would be right")
    limits["needs_finite"] = _known_places(name, limits.get("needs_finite", ()))
    options = frozenset(p.name for p in rest) & generated
    may_allocate = any(p.name == "out" and p.default is not p.empty for p in rest)
    return Target(name, fn, options, may_allocate=may_allocate, **limits)


def _known_places(name: str, places: object) -> tuple[str, ...]:
    """The places of `needs_finite`, in order. Raises TargetError if they are no tuple of FINITE_PLACES."""
    if not isinstance(places, (tuple, list)) or not set(places) <= set(FINITE_PLACES):
        known = ", ".join(FINITE_PLACES)
        raise TargetError(f"target {name}: needs_finite is {places!r}, which is no tuple of names among {known}"[:500])
    return places_in_order(places)


def _declared(fn: Callable[..., Any]) -> dict[str, Any]:
    """The limits that `@target` declared for the function, or for the function that a partial calls."""
    if isinstance(fn, functools.partial) and not hasattr(fn, _ATTRIBUTE):
        return _declared(fn.func)
    limits: dict[str, Any] = getattr(fn, _ATTRIBUTE, {})
    return limits
