"""Faults of optional arguments: ALiBi slopes, sinks and scales of float8 caches (classes A1, A3, Q1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from fuzz_decode.cases.case import Case
from fuzz_decode.diagnose.access_model import AccessModel, replace
from fuzz_decode.diagnose.faults.fault import Change, Fault, simple
from fuzz_decode.problems.problem import Problem

# another head for each q head, in words
HEADS: tuple[tuple[str, str, Callable[[Case, int], int]], ...] = (
    ("kv-head", "the KV head h // group", lambda c, h: h // c.group),
    ("head-in-group", "the head within its group", lambda c, h: h % c.group),
    ("head-modulo", "head h % num_kv_heads", lambda c, h: h % c.num_kv_heads),
    ("head-zero", "head 0", lambda c, h: 0),
    ("first-of-group", "the first head of its group", lambda c, h: h // c.group * c.group),
    (
        "heads-by-group",
        "head h % num_kv_heads * group + h // num_kv_heads",
        lambda c, h: h % c.num_kv_heads * c.group + h // c.num_kv_heads,
    ),
    ("next-head", "the next head", lambda c, h: (h + 1) % c.num_q_heads),
)


def alibi() -> Iterator[Fault]:
    yield simple("alibi-ignored", "alibi_slopes are ignored", _if("slope_head", lambda p, r: replace(r, "scores", slope_head=())))
    yield simple(
        "alibi-sign", "ALiBi has the wrong sign", _if("slope_head", lambda p, r: replace(r, "scores", alibi_factor=-1.0))
    )
    log2 = _if("slope_head", lambda p, r: replace(r, "scores", alibi_factor=1 / math.log(2)))
    yield simple("alibi-log2", "ALiBi is multiplied by log2(e)", log2)
    exp2 = _if("slope_head", lambda p, r: replace(r, "scores", alibi_factor=math.log(2)))
    yield simple("alibi-exp2", "ALiBi is added in base 2 without conversion", exp2)
    scaled = _if("slope_head", lambda p, r: replace(r, "scores", alibi_factor=r.scores.scale))
    yield simple("alibi-scaled", "ALiBi is multiplied by scale", scaled)
    for suffix, words, rule in HEADS:
        yield simple(
            f"alibi-of-{suffix}", f"query head h uses the ALiBi slope of {words}", _if("slope_head", _other("slope_head", rule))
        )
    for name, words, position in (
        ("alibi-from-first-query", "ALiBi counts from the first query token", lambda c, row, end: end - 1 - row % c.q_len),
        (
            "alibi-from-last-query",
            "ALiBi counts from the last query token",
            lambda c, row, end: end - 1 + c.q_len - 1 - row % c.q_len,
        ),
        ("alibi-from-start", "ALiBi adds slope * position of the key", lambda c, row, end: 0),
        ("alibi-off-by-one", "ALiBi counts from the end, not from the last token", lambda c, row, end: end),
    ):
        yield simple(name, words, _if("slope_head", _positioned(position)))


def sinks() -> Iterator[Fault]:
    yield simple("sinks-ignored", "sinks are ignored", _if("sink_head", lambda p, r: replace(r, "scores", sink_head=())))
    scaled = _if("sink_head", lambda p, r: replace(r, "scores", sink_factor=r.scores.scale))
    yield simple("sink-scaled", "sinks are multiplied by scale", scaled)
    for count in range(2, 17):
        words = f"sinks count {count} times" + ": once per split" * (count > 2)
        yield simple(f"sinks-count-{count}-times", words, _if("sink_head", _counting(count)))
    step = _if("sink_head", lambda p, r: replace(r, "scores", sink_step=p.case.num_q_heads))
    yield simple("sink-by-row", "sinks are read at row * num_q_heads + h, past their end", step)
    for suffix, words, rule in HEADS:
        yield simple(f"sink-of-{suffix}", f"query head h uses the sink of {words}", _if("sink_head", _other("sink_head", rule)))


def scales() -> Iterator[Fault]:
    for name, words, rule in (
        ("k-scale-ignored", "k_scale is ignored", lambda k, v: (1.0, v)),
        ("v-scale-ignored", "v_scale is ignored", lambda k, v: (k, 1.0)),
        ("k-and-v-scale-ignored", "k_scale and v_scale are ignored", lambda k, v: (1.0, 1.0)),
        ("k-scale-twice", "k_scale is applied twice", lambda k, v: (k * k, v)),
        ("v-scale-twice", "v_scale is applied twice", lambda k, v: (k, v * v)),
        ("k-and-v-scale-twice", "k_scale and v_scale are applied twice", lambda k, v: (k * k, v * v)),
        ("k-and-v-scale-swapped", "k_scale and v_scale are swapped", lambda k, v: (v, k)),
        ("k-scale-for-v", "k_scale is used for V, too", lambda k, v: (k, k)),
        ("v-scale-for-k", "v_scale is used for K, too", lambda k, v: (v, v)),
        ("k-scale-divides", "K is divided by k_scale", lambda k, v: (1 / k, v)),
        ("v-scale-divides", "V is divided by v_scale", lambda k, v: (k, 1 / v)),
    ):
        yield simple(name, words, _rescaled(rule))


def _if(field: str, change: Change) -> Change:
    """Only where the option is used."""
    return lambda problem, model: change(problem, model) if getattr(model.scores, field) else None


def _other(field: str, rule: Callable[[Case, int], int]) -> Change:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        heads = tuple(rule(problem.case, head) for head in range(problem.case.num_q_heads))
        return replace(model, "scores", **{field: heads})

    return change


def _positioned(rule: Callable[[Case, int, int], int]) -> Change:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        positions = (rule(problem.case, row, position + 1) for row, position in enumerate(model.scores.position))
        return replace(model, "scores", position=tuple(positions))

    return change


def _counting(count: int) -> Change:
    return lambda problem, model: replace(model, "scores", sink_count=count)


def _rescaled(rule: Callable[[float, float], tuple[float, float]]) -> Change:
    def change(problem: Problem, model: AccessModel) -> AccessModel:
        k, v = rule(model.scores.k_scale, model.scores.v_scale)
        return replace(model, "scores", k_scale=k, v_scale=v)

    return change
