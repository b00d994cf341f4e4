"""What a target is: any function `fn(q, k_cache, v_cache, block_table, seq_lens, scale, *, <options>) -> out | (out, lse)`.

The signature is the capability list: an option is generated and passed only if the function has a parameter of that name.
`@target(...)` narrows further. The first six arguments are passed by position, options by keyword.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.errors import TargetError

POSITIONAL = ("q", "k_cache", "v_cache", "block_table", "seq_lens", "scale")
GENERATED_OPTIONS = frozenset({"out", "window", "softcap", "alibi_slopes", "sinks", "k_scale", "v_scale", "q_len"})
DEVICES = ("cpu", "cuda")
COMPILED_FOR = ("dtype", "cache_dtype", "head_dim", "value_head_dim", "block_size", "group")  # and which options are used
CompilesFor = Callable[[Case], Hashable] | tuple[str, ...] | None
_LIMITS = ("head_dims", "value_head_dims", "block_sizes", "groups", "num_kv_heads")
_ATTRIBUTE = "__fuzz_decode_target__"

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a kernel rounds, so that the error bound is sound for it.

    `probabilities`: the dtype of P where it meets V, "input" for the dtype of q. `scores`: "input" if q * scale, or each product
    q_i * k_i, is rounded to the dtype of q; "float32" if nothing is. `score_sums`: "input" if q.k is summed in the dtype of q
    (`tl.sum(q * k)` in Triton). `dots`: what a matrix product makes of float32 operands on a GPU; `tl.dot` without
    input_precision makes them tf32. `tanh`: "approx" if softcap is tanh.approx.f32. `dequantised`: "input" if K * k_scale and
    V * v_scale of float8 caches are rounded to the dtype of q, "float32" if only scores and sums are scaled.
    `scaled_after_sum`: q.k is summed first and scaled then, so that data on an integer grid sums exactly (a sharper bound).
    `same_bits_anywhere`: the same values in another layout must give the same bits; otherwise both are held to the bound.
    `deterministic`: two runs must give the same bits.
    """

    probabilities: str = "input"
    scores: str = "float32"
    score_sums: str = "float32"
    dots: str = "tf32"
    tanh: str = "float32"
    dequantised: str = "input"
    scaled_after_sum: bool = False
    same_bits_anywhere: bool = False
    deterministic: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """A function under test and what it can do. `None` in a field means: everything that fuzz-decode generates. `may_allocate`:
    it takes `out`, and can do without."""

    name: str
    fn: Callable[..., Any]
    options: frozenset[str]
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
    arithmetic: Arithmetic | Callable[[Case], Arithmetic] = Arithmetic()
    devices: tuple[str, ...] = DEVICES
    compiles_for: CompilesFor = None
    may_allocate: bool = False

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
        return self.strides.why_not(case) or (self.supports(case) if self.supports else None)

    def arithmetic_of(self, case: Case) -> Arithmetic:
        """What the target rounds on this case; a kernel with several paths may differ from one to the other."""
        return self.arithmetic(case) if callable(self.arithmetic) else self.arithmetic

    def compile_key(self, case: Case) -> Hashable:
        """Cases with the same key are run by the same compiled kernels."""
        if callable(self.compiles_for):
            return self.compiles_for(case)
        if self.compiles_for is not None:
            return tuple(getattr(case, name) for name in self.compiles_for)
        return (*(getattr(case, name) for name in COMPILED_FOR), *sorted(case.options()))

    def generates(self) -> dict[str, Any]:
        """Arguments of `strategies.cases` that keep to what the target can do."""
        limits = {name: getattr(self, name) for name in _LIMITS}
        given = {name: values for name, values in limits.items() if values is not None}
        own = {
            "dtypes": self.dtypes,
            "cache_dtypes": self.cache_dtypes,
            "options": self.options,
            "min_seq_len": self.min_seq_len,
            "strides": self.strides,
        }
        return {**given, **own}


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
) -> Callable[[Function], Function]:
    """Declare what a decode function can do, beyond what its signature says.

    `cache_dtypes`: what a function that takes `k_scale` and `v_scale` can read beside caches of q's dtype.
    `value_head_dims="head_dim"`: V's rows are as long as K's. `strides` says which strides it assumes; cases keep to it.
    `supports(case)` returns None, or in a few words why the case is not for this kernel; such a case is drawn, and rejected.
    `arithmetic` may be a function of the case. `devices`: where it runs. `compiles_for`: names of the fields of a case that it
    compiles a kernel for, or a function of the case to what it does (plain values); None: COMPILED_FOR, and which options are
    used. The function itself is returned unchanged.
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
    }

    def declare(fn: Function) -> Function:
        setattr(fn, _ATTRIBUTE, limits)
        return fn

    return declare


def parameters(fn: Callable[..., Any]) -> tuple[list[str], list[inspect.Parameter]]:
    """Names of the parameters that take the first six arguments, fewer if the function takes fewer, and the other parameters.

    `*args` takes all that are left. Raises ValueError if the function has no signature.
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
    passed = ", ".join(sorted(GENERATED_OPTIONS))
    for parameter in rest:
        if parameter.default is parameter.empty and parameter.name not in GENERATED_OPTIONS:
            raise TargetError(f"target {name}: parameter {parameter.name!r} has no default, and only {passed} are passed")
    limits = {**_declared(fn), **limits}
    named = limits.get("compiles_for")
    for field in named if isinstance(named, tuple) else ():
        if not hasattr(Case, field):
            raise TargetError(f"target {name}: compiles_for names {field!r}, which no case has; dtype or head_dim would be right")
    options = frozenset(p.name for p in rest) & GENERATED_OPTIONS
    own_out = any(p.name == "out" and p.default is not p.empty for p in rest)
    return Target(name, fn, options, may_allocate=own_out, **limits)


def _declared(fn: Callable[..., Any]) -> dict[str, Any]:
    """What `@target` says of the function; of a partial, what it says of the function that it calls."""
    if isinstance(fn, functools.partial) and not hasattr(fn, _ATTRIBUTE):
        return _declared(fn.func)
    limits: dict[str, Any] = getattr(fn, _ATTRIBUTE, {})
    return limits
