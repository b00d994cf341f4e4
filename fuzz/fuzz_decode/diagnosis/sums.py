"""Faults of scores, sums and what is returned: scale, softcap, dims, lse, empty rows (classes A2, H1, K2, Z1, S3)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

from fuzz_decode.build import Problem
from fuzz_decode.case import Case
from fuzz_decode.diagnosis.fault import Fault, simple
from fuzz_decode.diagnosis.reading import Reading


def scores() -> Iterator[Fault]:
    for name, words, rule in (
        ("scale-missing", "scores are not scaled", lambda c, s: 1.0),
        ("scale-twice", "scores are scaled twice", lambda c, s: s * s),
        ("scale-ignored", "scores are scaled by 1 / sqrt(head_dim) instead of scale", lambda c, s: c.head_dim**-0.5),
        ("scale-of-value-dim", "scores are scaled by 1 / sqrt(value_head_dim)", lambda c, s: c.value_head_dim**-0.5),
        (
            "scale-of-padded-dim",
            "scores are scaled by 1 / sqrt(head_dim padded to a power of two)",
            lambda c, s: (1 << (c.head_dim - 1).bit_length()) ** -0.5,
        ),
        ("scale-log2", "scores are multiplied by log2(e), and then exp is taken", lambda c, s: s / math.log(2)),
        ("scale-exp2", "2**score is taken instead of exp(score)", lambda c, s: s * math.log(2)),
        ("scale-inverse", "scores are divided by scale", lambda c, s: 1 / s),
        ("scale-negative", "scores have the wrong sign", lambda c, s: -s),
    ):
        yield simple(name, words, _scaled(rule))
    for name, words, both in (
        ("softcap-ignored", "softcap is ignored", lambda s, cap: (s, None)),
        ("softcap-without-division", "softcap * tanh(score): not divided by softcap", lambda s, cap: (s * cap, cap)),
        ("softcap-without-product", "tanh(score / softcap): not multiplied by softcap", lambda s, cap: (s / cap, 1.0)),
        ("softcap-before-scale", "softcap is applied before scale", lambda s, cap: (s, cap * s)),
    ):
        yield simple(name, words, _capped(both))


def dims() -> Iterator[Fault]:
    below = _power_below
    for name, words, changes in (
        (
            "head-dim-power-of-two-below",
            "dims of q.k beyond the power of two below head_dim are left out",
            lambda c: {"head_dim": below(c.head_dim)},
        ),
        (
            "k-beyond-value-dim-dropped",
            "dims of q.k beyond value_head_dim are left out",
            lambda c: {"head_dim": min(c.head_dim, c.value_head_dim)},
        ),
        (
            "v-beyond-head-dim-dropped",
            "dims of V beyond head_dim are left out",
            lambda c: {"value_head_dim": min(c.head_dim, c.value_head_dim)},
        ),
        (
            "v-power-of-two-below",
            "dims of V beyond the power of two below value_head_dim are left out",
            lambda c: {"value_head_dim": below(c.value_head_dim)},
        ),
        (
            "head-dim-multiple-of-16",
            "dims of q.k beyond a multiple of 16 are left out",
            lambda c: {"head_dim": max(1, c.head_dim // 16 * 16)},
        ),
        (
            "v-multiple-of-16",
            "dims of V beyond a multiple of 16 are left out",
            lambda c: {"value_head_dim": c.value_head_dim // 16 * 16},
        ),
        ("head-dim-last-dropped", "the last dim of q.k is left out", lambda c: {"head_dim": max(1, c.head_dim - 1)}),
        ("v-last-dim-dropped", "the last dim of V is left out", lambda c: {"value_head_dim": c.value_head_dim - 1}),
    ):
        yield simple(name, words, _changed(changes))
    for name, words, extra in (
        ("out-store-too-wide", "one element past value_head_dim", lambda c: 1),
        (
            "out-store-padded",
            "value_head_dim padded to a power of two",
            lambda c: (1 << (c.value_head_dim - 1).bit_length()) - c.value_head_dim,
        ),
        ("out-store-head-dim", "head_dim elements instead of value_head_dim", lambda c: max(0, c.head_dim - c.value_head_dim)),
    ):
        yield simple(name, f"rows of out are stored too wide: {words}", _changed(lambda c, extra=extra: {"overhang": extra(c)}))  # type: ignore[misc]


def returned() -> Iterator[Fault]:
    """lse and empty rows."""
    for name, words in (
        ("base 2", "in base 2"),
        ("base 10", "in base 10"),
        ("ln 2 too much", "multiplied by ln 2"),
        ("without maximum", "without the largest score"),
        ("maximum only", "without the logarithm of the sum"),
        ("maximum twice", "with the largest score counted twice"),
        ("maximum in base 2", "with the largest score in base 2"),
        ("sum in base 2", "with the logarithm of the sum in base 2"),
        ("sum", "without the logarithm"),
        ("sum without maximum", "as the sum relative to the largest score"),
        ("negative", "with the wrong sign"),
    ):
        yield simple(f"lse-{name.replace(' ', '-')}", f"lse is returned {words}", _changed(lambda c, name=name: {"lse": name}))  # type: ignore[misc]
    for name in ("+inf", "0", "nan", "lowest", "-1e30"):
        words = {"lowest": "the lowest float32", "nan": "NaN"}.get(name, name)
        yield simple(
            f"empty-lse-{name.replace('+', '')}",
            f"lse of an empty sequence is {words} instead of -inf",
            _empty(lambda c, name=name: {"empty_lse": name}),
        )  # type: ignore[misc]
    unwritten, nan = {"empty_out": None}, {"empty_out": math.nan}
    yield simple("empty-rows-unwritten", "rows of out of empty sequences are never written", _empty(lambda c: unwritten))
    yield simple("empty-rows-nan", "rows of out of empty sequences are NaN instead of 0", _empty(lambda c: nan))
    both = {"empty_out": math.nan, "empty_lse": "nan"}
    yield simple("empty-rows-and-lse-nan", "out and lse of empty sequences are NaN instead of 0 and -inf", _empty(lambda c: both))


def _changed(changes: Callable[[Case], dict[str, object]]) -> Callable[[Problem, Reading], Reading]:
    return lambda problem, reading: dataclasses.replace(reading, **changes(problem.case))  # type: ignore[arg-type]


def _empty(changes: Callable[[Case], dict[str, object]]) -> Callable[[Problem, Reading], Reading | None]:
    return lambda problem, reading: None if all(problem.case.seq_lens) else _changed(changes)(problem, reading)


def _scaled(rule: Callable[[Case, float], float]) -> Callable[[Problem, Reading], Reading]:
    return lambda problem, reading: dataclasses.replace(reading, scale=rule(problem.case, reading.scale))


def _capped(rule: Callable[[float, float], tuple[float, float | None]]) -> Callable[[Problem, Reading], Reading | None]:
    def change(problem: Problem, reading: Reading) -> Reading | None:
        if reading.softcap is None:
            return None
        scale, softcap = rule(reading.scale, reading.softcap)
        return dataclasses.replace(reading, scale=scale, softcap=softcap)

    return change


def _power_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)
