"""A target in plain words, from its signature and declaration. Strings only, so that they cross processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES, FINITE_PLACES
from fuzz_decode.cases.optional_arguments import generated_parameters, option_of
from fuzz_decode.cases.stride_rules import StrideRules
from fuzz_decode.targets.target import COMPILED_FOR, POSITIONAL, Arithmetic, Target, parameters

Rows = tuple[tuple[str, str], ...]

SHAPES = {
    "q": "[num_seqs * q_len, num_q_heads, head_dim]",
    "k_cache": "[num_blocks, block_size, num_kv_heads, head_dim]",
    "v_cache": "[num_blocks, block_size, num_kv_heads, value_head_dim]",
    "block_table": "[num_seqs, width] int32",
    "seq_lens": "[num_seqs] int32, contiguous",
    "scale": "float: the softmax scale",
    "out": "[num_seqs * q_len, num_q_heads, value_head_dim]",
}
STRIDED = {"q": "q", "k_cache": "k", "v_cache": "v", "block_table": "table", "out": "out"}  # argument -> its name in Strides
FLOAT8_OPTIONS = {"k_scale", "v_scale"}


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that is known of a target before it runs."""

    arguments: Rows
    """(parameter, its shape, dtype and strides) of the first six."""
    options: Rows
    """(parameter, its value in words) of the optional ones."""
    never_passed: tuple[str, ...]
    """Parameters that keep their defaults."""
    limits: Rows
    """(limit, cases that are therefore never generated)."""
    arithmetic: tuple[str, ...]
    """Where it may round, a phrase each."""
    compiled_for: str
    """Fields of a case that a kernel is compiled for, in a line."""


def describe(target: Target) -> Description:
    """The target's signature and declaration in words."""
    names, rest = parameters(target.fn)
    generated = generated_parameters()
    return Description(
        arguments=tuple(
            (_shown(name, argument), _given(target, argument)) for name, argument in zip(names, POSITIONAL, strict=True)
        ),
        options=tuple((name, _option(target, name)) for name in sorted(target.options)),
        never_passed=tuple(p.name for p in rest if p.name not in generated),
        limits=(*_dtype_limit(target), *limits(target), *_option_limits(target)),
        arithmetic=_rounded(target),
        compiled_for=_compiled_for(target),
    )


def limits(target: Target) -> Rows:
    """Each limit of sizes and strides, and the cases that are therefore never generated."""
    decides = [("supports(case) decides", "nothing; what it refuses is rejected")] if target.supports else []
    return (*_size_limits(target), *_stride_limits(target.strides), *_memory_limits(target), *decides)


def _shown(name: str, argument: str) -> str:
    """The parameter, with the argument if it takes several."""
    return f"{argument} in {name}" if name.startswith("*") else name


def _given(target: Target, argument: str) -> str:
    """Shape, dtype and strides of an argument."""
    shape = SHAPES[argument]
    if argument not in STRIDED:
        return shape
    narrow = target.cache_dtypes if argument in ("k_cache", "v_cache") and target.options >= FLOAT8_OPTIONS else ()
    own = {"q": f", {' or '.join(target.dtypes)}", "block_table": ""}
    dtype = own.get(argument, f", {' or '.join(('dtype of q', *narrow))}")
    fixed = "contiguous last axis, else " if STRIDED[argument] in target.strides.contiguous else ""
    return f"{shape}{dtype}\nlogical order, {fixed}arbitrary strides"


def _option(target: Target, name: str) -> str:
    words = option_of(name).parameters[name]
    return words.format(out=_given(target, "out"), cache_dtypes=" or ".join(target.cache_dtypes))


def _dtype_limit(target: Target) -> Iterator[tuple[str, str]]:
    if missing := [dtype for dtype in DTYPES if dtype not in target.dtypes]:
        yield f"dtype {_listed(target.dtypes)}", _listed(missing)
    missing = [dtype for dtype in CACHE_DTYPES if dtype not in target.cache_dtypes]
    if missing and target.options >= FLOAT8_OPTIONS:
        yield f"cache_dtype {_listed(target.cache_dtypes) or 'that of q'}", _listed(missing)


def _option_limits(target: Target) -> Iterator[tuple[str, str]]:
    for name in sorted(generated_parameters() - target.options):
        yield f"no parameter {name}", option_of(name).without


def _size_limits(target: Target) -> Iterator[tuple[str, str]]:
    if target.value_head_dims == "head_dim":
        yield "value_head_dim = head_dim", "V with longer or shorter rows than K"
    sizes = {name: getattr(target, f"{name}s") for name in ("head_dim", "value_head_dim", "block_size", "group")}
    for name, values in {**sizes, "num_kv_heads": target.num_kv_heads}.items():
        if values is not None and values != "head_dim":
            yield f"{name} {_listed(values)}", f"any other {name}"
    if target.min_seq_len:
        shorter = "empty sequences" if target.min_seq_len == 1 else f"sequences shorter than {target.min_seq_len}"
        yield f"seq_len {target.min_seq_len} or more", shorter


def _stride_limits(strides: StrideRules) -> Iterator[tuple[str, str]]:
    if strides.contiguous:
        names = _listed(name for name in STRIDED if STRIDED[name] in strides.contiguous)
        yield f"contiguous last axis of {names}", "other strides there"
    if strides.one_slot_stride:
        yield "block stride = block_size * slot stride", "blocks with gaps between them (interleaved, padded)"
    if strides.v_like_k:
        yield "V strided like K", "V with strides of its own"
    if strides.multiple_of > 1:
        yield f"rows of q, k_cache, v_cache at multiples of {strides.multiple_of}", "other strides and offsets there"


def _memory_limits(target: Target) -> Iterator[tuple[str, str]]:
    for place in target.needs_finite:
        yield f"needs_finite {place}", f"NaN in {FINITE_PLACES[place]}"


def _rounded(target: Target) -> tuple[str, ...]:
    if not isinstance(target.arithmetic, Arithmetic):
        return ("a function of the case decides",)
    rounding = target.arithmetic
    weights = "the dtype of q" if rounding.probabilities == "input" else rounding.probabilities
    phrases = {
        f"P may be rounded to {weights} before it meets V": True,
        "q * scale, or each q_i * k_i, may be rounded to the dtype of q": rounding.scores == "input",
        "q.k may be summed in the dtype of q": rounding.score_sums == "input",
        "q.k is summed and scaled in float32": (rounding.scores, rounding.score_sums) == ("float32", "float32"),
        "matrix products of float32 may be tf32 on a GPU": rounding.dots == "tf32",
        "softcap may be tanh.approx": rounding.tanh == "approx",
        "K * k_scale and V * v_scale may be rounded to the dtype of q": rounding.dequantised == "input"
        and target.options >= FLOAT8_OPTIONS,
        "q.k is summed first and scaled then": rounding.scaled_after_sum,
        "the same values laid out otherwise give the same bits": rounding.same_bits_anywhere,
        "two runs give the same bits": rounding.deterministic,
        "two runs may differ within the bound": not rounding.deterministic,
    }
    return tuple(phrase for phrase, holds in phrases.items() if holds)


def _compiled_for(target: Target) -> str:
    if target.compiles_for is None:
        return f"{_listed(COMPILED_FOR)}, which options are used"
    if isinstance(target.compiles_for, tuple):
        return _listed(target.compiles_for) or "nothing: it is never compiled"
    return "a function of the case decides"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
