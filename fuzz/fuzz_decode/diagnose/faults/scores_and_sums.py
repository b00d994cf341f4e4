"""Faults of scores, sums and what is returned: scale, softcap, dims, lse, empty rows (classes A2, H1, K2, Z1, S3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, replace
from fuzz_decode.diagnose.faults.fault import Change, Fault, simple
from fuzz_decode.problems.problem import Problem

LN_2 = math.log(2)


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
        (
            "softcap-of-base-2",
            "softcap is applied to scores times log2(e), and not multiplied by it",
            lambda s, cap: (s, cap * LN_2),
        ),
        ("softcap-times-log2", "softcap is multiplied by log2(e), and scores are not", lambda s, cap: (s, cap / LN_2)),
        ("softcap-exp2", "2**score is taken of capped scores instead of exp(score)", lambda s, cap: (s * LN_2, cap * LN_2)),
        ("softcap-log2", "capped scores are multiplied by log2(e), and then exp is taken", lambda s, cap: (s / LN_2, cap / LN_2)),
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
            "head-dim-multiple-of-32",
            "dims of q.k beyond a multiple of 32 are left out",
            lambda c: {"head_dim": max(1, c.head_dim // 32 * 32)},
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
        yield simple(name, words, _looked_up(changes))
    padded = _stored_beyond_row(lambda c: (1 << (c.value_head_dim - 1).bit_length()) - c.value_head_dim)
    wide = "rows of out are stored too wide"
    yield simple("out-store-too-wide", f"{wide}: one element past value_head_dim", _stored_beyond_row(lambda c: 1))
    yield simple("out-store-padded", f"{wide}: value_head_dim padded to a power of two", padded)
    floored = _stored_beyond_row(lambda c: c.value_head_dim // 16 * 16 - c.value_head_dim)
    yield simple("out-multiple-of-16", "dims of out beyond a multiple of 16 are never written", floored)
    of_head_dim = _stored_beyond_row(lambda c: c.head_dim - c.value_head_dim)
    yield simple("out-store-head-dim", "of each row of out head_dim elements are stored instead of value_head_dim", of_head_dim)


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
        yield simple(f"lse-{name.replace(' ', '-')}", f"lse is returned {words}", _output(lse=name))
    by_group = "lse is returned in the order of swapped group and KV head"
    for suffix, order in (
        ("", lambda c, h: h % c.num_kv_heads * c.group + h // c.num_kv_heads),
        ("-back", lambda c, h: h % c.group * c.num_kv_heads + h // c.group),
    ):
        yield simple(f"lse-gqa-order{suffix}", by_group, _lse_order(order))
    for name, words in (("+inf", "+inf"), ("0", "0"), ("nan", "NaN"), ("lowest", "the lowest float32"), ("-1e30", "-1e30")):
        text = f"lse of an empty sequence is {words} instead of -inf"
        yield simple(f"empty-lse-{name.replace('+', '')}", text, _if_empty(_output(empty_lse=name)))
    text = "rows of out of empty sequences are never written"
    yield simple("empty-rows-unwritten", text, _if_empty(_output(empty_out=None)))
    text = "rows of out of empty sequences are NaN instead of 0"
    yield simple("empty-rows-nan", text, _if_empty(_output(empty_out=math.nan)))
    text = "out and lse of empty sequences are NaN instead of 0 and -inf"
    yield simple("empty-rows-and-lse-nan", text, _if_empty(_output(empty_out=math.nan, empty_lse="nan")))


def _looked_up(changes: Callable[[Case], Mapping[str, Any]]) -> Change:
    """Fields of the lookup, computed from the case."""
    return lambda problem, model: replace(model, "lookup", **changes(problem.case))


def _output(**changes: Any) -> Change:
    return lambda problem, model: replace(model, "output", **changes)


def _stored_beyond_row(rule: Callable[[Case], int]) -> Change:
    """Another number of dims stored for each row of out."""
    return lambda problem, model: replace(model, "output", stored_beyond_row=rule(problem.case))


def _lse_order(rule: Callable[[Case, int], int]) -> Change:
    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        heads = range(problem.case.num_q_heads)
        order = tuple(rule(problem.case, head) for head in heads)
        return None if order == tuple(heads) else replace(model, "output", lse_head=order)

    return change


def _if_empty(change: Change) -> Change:
    """Only where some row has no visible tokens."""
    return lambda problem, model: None if all(model.visibility.spans) else change(problem, model)


def _scaled(rule: Callable[[Case, float], float]) -> Callable[[Problem, AccessModel], AccessModel]:
    return lambda problem, model: replace(model, "scores", scale=rule(problem.case, model.scores.scale))


def _capped(rule: Callable[[float, float], tuple[float, float | None]]) -> Callable[[Problem, AccessModel], AccessModel | None]:
    def change(problem: Problem, model: AccessModel) -> AccessModel | None:
        if model.scores.softcap is None:
            return None
        scale, softcap = rule(model.scores.scale, model.scores.softcap)
        return replace(model, "scores", scale=scale, softcap=softcap)

    return change


def _power_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)
